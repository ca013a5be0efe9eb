package fold

import "bytes"

// python knows a single traceback. Chains of causes and exception groups begin an event each.
var python = &language{name: "python", opens: pythonOpens, takes: pythonTakes, traits: pythonTraits}

const (
	_ uint8 = iota
	pythonFrames
	pythonDone
)

var pythonTraits = []traits{
	pythonFrames: {rule: "python-traceback", wait: waits},
	pythonDone:   {rule: "python-traceback", wait: soon, done: true},
}

func pythonOpens(l *line) uint8 {
	if len(l.msg) > 0 && l.msg[0] == 'T' && bytes.HasPrefix(l.msg, []byte("Traceback (most recent call last):")) {
		return pythonFrames
	}
	return 0
}

// pythonTakes: indented lines, then one that is not: the exception.
func pythonTakes(state uint8, l *line) (uint8, limit) {
	switch {
	case state != pythonFrames || len(l.msg) == 0:
		return 0, never
	case l.msg[0] == ' ' || l.msg[0] == '\t':
		return pythonFrames, waits
	}
	return pythonDone, waits
}
