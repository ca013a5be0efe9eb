package fold

import "bytes"

// php knows what PHP itself reports, and exceptions as they are printed: a message with its place, "Stack trace:", numbered frames, and
// "Next ..." for each exception that one is the cause of.
var php = &language{name: "php", opens: phpOpens, first: "PF", last: "0123456789", takes: phpTakes, joins: phpJoins, afterBlank: phpAfterBlank, traits: phpTraits}

// Add new states at the end: they are saved.
const (
	_           uint8 = iota
	phpReport         // "PHP Fatal error:  Uncaught ..."
	phpHead           // "Class: message in /app/index.php:5"
	phpTrace          // "Stack trace:" and frames
	phpGap            // an empty line before "Next ..."
	phpNext           // "Next Class: message"
	phpThrown         // "  thrown in /app/index.php on line 6"
	phpCalls          // "PHP Stack trace:", "Call Stack:": xdebug
	phpUncaught       // "PHP Fatal error:  Uncaught X: text": the message ends with its place
)

var phpTraits = []traits{
	phpReport:   {rule: "php-error", wait: later, own: true, head: true},
	phpHead:     {rule: "php-trace", wait: later, head: true},
	phpTrace:    {rule: "php-trace", wait: waits},
	phpGap:      {rule: "php-trace", wait: soon, loose: true},
	phpNext:     {rule: "php-trace", wait: waits, head: true},
	phpThrown:   {rule: "php-error", wait: soon},
	phpCalls:    {rule: "php-error", wait: waits},
	phpUncaught: {rule: "php-error", wait: waits, own: true, head: true},
}

func phpOpens(l *line) uint8 {
	state := phpBegins(l)
	if state == phpReport && bytes.Contains(l.msg[:min(len(l.msg), 60)], []byte(" Uncaught ")) {
		return phpUncaught
	}
	return state
}

func phpBegins(l *line) uint8 {
	b := l.msg
	switch {
	case len(b) < 8:
		return 0
	case b[0] == 'P' && b[1] == 'H' && bytes.HasPrefix(b, []byte("PHP ")) && isReport(b[4:], true):
		return phpReport
	case isDigit(b[len(b)-1]) && isReport(b, false):
		return phpReport
	case b[0] == 'F' && bytes.HasPrefix(b, []byte("Fatal error: Uncaught ")), b[0] == 'P' && bytes.HasPrefix(b, []byte("PHP Stack trace:")):
		return phpReport
	case isDigit(b[len(b)-1]) && b[0] != ' ' && endsInPlace(b):
		return phpHead
	}
	return 0
}

// phpAfterBlank: with display_errors, PHP writes an empty line before each report.
func phpAfterBlank(l *line) uint8 {
	if len(l.msg) > 8 && isReport(l.msg, false) {
		return phpOpens(l)
	}
	return 0
}

func phpJoins(l *line) uint8 {
	switch l.shape {
	case shapeStackTrace, shapePHPFrame:
		return phpTrace
	}
	return 0
}

func phpTakes(state uint8, l *line) (uint8, limit) {
	if state := phpJoins(l); state != 0 {
		return state, waits
	}
	b := l.msg
	switch state {
	case phpUncaught:
		if len(b) > 8 && endsInPlace(b) {
			return phpHead, soon
		}
	case phpReport, phpThrown, phpCalls:
		switch {
		case bytes.HasPrefix(b, []byte("PHP Stack trace:")), bytes.HasPrefix(b, []byte("Call Stack:")):
			return phpCalls, later
		case state == phpCalls && (bytes.HasPrefix(b, []byte("PHP  ")) || indented(l)):
			return phpCalls, later
		}
	case phpTrace:
		switch {
		case l.shape == shapeEmpty:
			return phpGap, soon
		case bytes.HasPrefix(b, []byte("  thrown in ")):
			return phpThrown, later
		}
	case phpGap:
		if bytes.HasPrefix(b, []byte("Next ")) {
			return phpNext, later
		}
	}
	return 0, never
}

// isReport knows "Fatal error:  Uncaught ..." and "Warning:  text in /app/index.php on line 14". In a log, two blanks follow the colon;
// on the screen one does, and the end must tell that it is PHP which writes.
func isReport(b []byte, logged bool) bool {
	if len(b) == 0 || b[0] < 'C' || b[0] > 'W' {
		return false
	}
	for _, kind := range phpKinds {
		if !bytes.HasPrefix(b, kind) {
			continue
		}
		rest := b[len(kind):]
		return logged && len(rest) > 2 && rest[0] == ':' ||
			bytes.HasPrefix(rest, []byte(": ")) && (bytes.HasPrefix(rest[2:], []byte("Uncaught ")) || onLine(rest))
	}
	return false
}

var phpKinds = [][]byte{
	[]byte("Fatal error"), []byte("Warning"), []byte("Notice"), []byte("Deprecated"), []byte("Parse error"), []byte("Recoverable fatal error"),
	[]byte("Catchable fatal error"), []byte("Strict Standards"), []byte("Core error"), []byte("Core warning"), []byte("Compile error"), []byte("Compile warning"),
}

// onLine knows "... in /app/index.php on line 14" at the end.
func onLine(b []byte) bool {
	if !bytes.Contains(b, []byte(" in ")) {
		return false
	}
	n := len(bytes.TrimSuffix(b, []byte("\r")))
	d := n
	for n > 0 && isDigit(b[n-1]) {
		n--
	}
	return n < d && bytes.HasSuffix(b[:n], []byte(" on line "))
}

// endsInPlace knows "... in /app/index.php:5" at the end.
func endsInPlace(b []byte) bool {
	i := numbered(b)
	if i <= 0 || !bytes.HasSuffix(b[:i], []byte(".php")) && !bytes.HasSuffix(b[:i], []byte("'d code")) && !bytes.HasSuffix(b[:i], []byte(".phtml")) {
		return false
	}
	return bytes.LastIndex(b[:i], []byte(" in ")) > 0
}
