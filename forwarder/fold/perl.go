package fold

// perl knows the stacks that Carp writes below a message: cluck, confess, longmess.
var perl = &language{name: "perl", opens: perlOpens, last: ".0123456789", takes: perlTakes, joins: perlJoins, traits: perlTraits}

const (
	_          uint8 = iota
	perlHead         // "no such bucket at /app/job.pl line 6."
	perlFrames       // TAB "main::inner("y") called at /app/job.pl line 7"
)

var perlTraits = []traits{
	perlHead:   {rule: "perl-trace", wait: soon, apart: true},
	perlFrames: {rule: "perl-trace", wait: waits},
}

func perlOpens(l *line) uint8 {
	b := l.msg
	switch {
	case len(b) < 12 || b[len(b)-1] != '.' && !isDigit(b[len(b)-1]):
	case l.shape == shapePerlFrame:
		return perlFrames
	case b[0] != ' ' && b[0] != '\t' && endsInLine(b) && isAt(b):
		return perlHead
	}
	return 0
}

// isAt knows " at /app/job.pl line 6" within a message.
func isAt(b []byte) bool {
	for i := len(b) - 8; i > 0; i-- {
		if b[i] == ' ' && b[i+1] == 'a' && b[i+2] == 't' && b[i+3] == ' ' {
			return true
		}
	}
	return false
}

func perlJoins(l *line) uint8 {
	if l.shape == shapePerlFrame {
		return perlFrames
	}
	return 0
}

func perlTakes(_ uint8, l *line) (uint8, limit) {
	if l.shape == shapePerlFrame {
		return perlFrames, waits
	}
	return 0, never
}
