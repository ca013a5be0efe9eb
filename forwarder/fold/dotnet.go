package fold

import "bytes"

// dotnet knows the exceptions of .NET, uncaught or logged, with those within them.
var dotnet = &language{name: "dotnet", opens: dotnetOpens, first: "UPS", shapes: []shape{shapeNetFrame}, takes: dotnetTakes, joins: dotnetJoins, traits: dotnetTraits}

// Add new states at the end: they are saved.
const (
	_            uint8 = iota
	dotnetHead         // "Unhandled exception. System.X: message"
	dotnetInner        // " ---> System.Y: message"
	dotnetFrames       // the stack
	dotnetGap          // an empty line between the exceptions of an AggregateException
	dotnetLast         // "...<---": the last frame of one of them, after which an empty line comes
	dotnetDied         // "Process terminated. ...", "Stack overflow."
)

var dotnetTraits = []traits{
	dotnetHead:   {rule: "dotnet-exception", wait: waits, own: true, head: true},
	dotnetInner:  {rule: "dotnet-exception", wait: waits, head: true},
	dotnetFrames: {rule: "dotnet-exception", wait: waits},
	dotnetGap:    {rule: "dotnet-exception", wait: soon, loose: true},
	dotnetLast:   {rule: "dotnet-exception", wait: later},
	dotnetDied:   {rule: "dotnet-crash", wait: later, head: true},
}

func dotnetOpens(l *line) uint8 {
	switch {
	case l.shape == shapeNetFrame:
		return dotnetFrames
	case len(l.msg) > 20 && l.msg[0] == 'U' && (bytes.HasPrefix(l.msg, []byte("Unhandled exception. ")) || bytes.HasPrefix(l.msg, []byte("Unhandled Exception: "))):
		return dotnetHead
	case bytes.HasPrefix(l.msg, []byte("Process terminated. ")), string(bytes.TrimSuffix(l.msg, []byte("\r"))) == "Stack overflow.":
		return dotnetDied
	}
	return 0
}

func dotnetJoins(l *line) uint8 {
	switch {
	case l.shape == shapeNetFrame:
		if bytes.HasSuffix(bytes.TrimSuffix(l.msg, []byte("\r")), []byte("<---")) {
			return dotnetLast
		}
		return dotnetFrames
	case len(l.msg) < 6:
		return 0
	}
	switch t := bytes.TrimLeft(l.msg, " "); {
	case bytes.HasPrefix(t, []byte("---> ")) && (isClass(t[5:]) || bytes.HasPrefix(t[5:], []byte("(Inner Exception #"))):
		return dotnetInner
	case bytes.HasPrefix(t, []byte("--- End of inner exception")), bytes.HasPrefix(t, []byte("--- End of stack trace")):
		return dotnetFrames
	}
	return 0
}

func dotnetTakes(state uint8, l *line) (uint8, limit) {
	if state := dotnetJoins(l); state != 0 {
		return state, waits
	}
	if state == dotnetLast && l.shape == shapeEmpty {
		return dotnetFrames, soon
	}
	if state == dotnetDied && (bytes.HasPrefix(l.msg, []byte("Repeat ")) || bytes.HasPrefix(l.msg, []byte("----"))) { // of a stack that overflowed
		return dotnetDied, soon
	}
	if state != dotnetFrames {
		return 0, never
	}
	switch {
	case l.shape == shapeEmpty:
		return dotnetGap, soon
	case indented(l), bytes.HasPrefix(l.msg, []byte("<---")), bytes.HasPrefix(l.msg, []byte("--------")), bytes.HasPrefix(l.msg, []byte("ClientConnectionId:")), bytes.HasPrefix(l.msg, []byte("Error Number:")):
		return dotnetFrames, soon
	}
	return 0, never
}
