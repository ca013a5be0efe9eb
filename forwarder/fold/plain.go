package fold

// plain is what holds for any text without prefix: a line that announces something takes what is indented below it.
var plain = &language{name: "", opens: plainOpens, takes: plainTakes, traits: plainTraits}

const (
	_          uint8 = iota
	plainBlock       // "deprecated, use this instead:" and indented lines
	plainTrace       // "slow trace" and indented lines, perhaps slowly
)

var plainTraits = []traits{
	plainBlock: {rule: "announced-block", wait: soon},
	plainTrace: {rule: "announced-trace", wait: waits},
}

func plainOpens(l *line) uint8 {
	switch {
	case announces(l.msg):
		return plainTrace
	case endsInColon(l.msg):
		return plainBlock
	}
	return 0
}

func plainTakes(state uint8, l *line) (uint8, limit) {
	if !indented(l) {
		return 0, never
	}
	if state == plainTrace {
		return plainTrace, waits
	}
	return plainBlock, soon
}

// indented says that the line is the body of something. Two spaces alone begin a report of Rails.
func indented(l *line) bool {
	return l.shape >= shapeIndented && l.shape <= shapeLevels && (l.text[0] == ' ' || l.text[0] == '\t')
}
