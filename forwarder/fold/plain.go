package fold

import "bytes"

// plain is what holds for any text without prefix: a line that announces a trace, or says what to write instead of something deprecated,
// takes what is indented below it; one that names an exception is the head of a report, if frames follow.
var plain = &language{name: "", takes: plainTakes, traits: plainTraits}

const (
	_          uint8 = iota
	plainBlock       // "deprecated, use this instead:" and indented lines
	plainTrace       // "slow trace" and indented lines, perhaps slowly
	plainHead        // a line that names an exception, whose language the next line may tell
	plainClass       // the same, surely: it begins with a class and its package
)

var plainTraits = []traits{
	plainBlock: {rule: "announced-block", wait: soon},
	plainTrace: {rule: "announced-trace", wait: waits},
	plainHead:  {rule: "exception-head", wait: later, head: true},
	plainClass: {rule: "exception-head", wait: waits, head: true},
}

func plainOpens(l *line, prefixed bool) uint8 {
	if len(l.msg) == 0 || indented(l) {
		return 0
	}
	switch {
	case prefixed:
	case isQualified(l.msg):
		return plainClass
	case names(l.msg), isClassName(l.msg):
		return plainHead
	}
	switch {
	case announces(l.msg):
		return plainTrace
	case endsInColon(l.msg) && bytes.Contains(l.msg, []byte("deprecat")):
		return plainBlock
	}
	return 0
}

func plainTakes(state uint8, l *line) (uint8, limit) {
	if !indented(l) || state > plainTrace {
		return 0, never
	}
	if state == plainTrace {
		return plainTrace, waits
	}
	return plainBlock, soon
}

// indented says that the line is the body of something. Two spaces alone begin a report of Rails.
func indented(l *line) bool {
	return l.shape >= shapeIndented && l.shape < shapeIndentedLast && (l.bare[0] == ' ' || l.bare[0] == '\t')
}
