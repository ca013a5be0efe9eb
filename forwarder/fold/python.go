package fold

import "bytes"

// python knows tracebacks with their chains and groups, what announces them, and the warnings of two lines.
var python = &language{name: "python", opens: pythonOpens, first: " TEPFI-/<s.Smc", takes: pythonTakes, joins: pythonJoins, traits: pythonTraits}

// The states are saved: add new ones at the end.
const (
	_ uint8 = iota
	pythonFrames
	pythonDone
	pythonEnd       // "KeyError: 'b-2'": a chain may follow
	pythonGap       // an empty line, perhaps before the heading of a chain
	pythonChain     // "During handling of the above exception, another exception occurred:"
	pythonGroup     // the lines of an exception group, each with its bars
	pythonAnnounced // "Exception in thread Thread-1:": a traceback must follow
	pythonWarning   // "/app/x.py:12: DeprecationWarning: text": the line of source follows
	pythonFatal     // "Fatal Python error: Segmentation fault"
	pythonStack     // "Stack (most recent call last):", "Call stack:": frames without an exception below
	pythonWarned    // the line of source came
	pythonRemote    // "multiprocessing.pool.RemoteTraceback:": another process's traceback, in quotes
	pythonSource    // "  File "/app/x.py", line 3": of a program that cannot be compiled, or of a printed stack
	pythonTail      // what is indented directly below "KeyError: 'b-2'", or known to be the rest of a message
)

var pythonTraits = []traits{
	pythonFrames:    {rule: "python-traceback", wait: waits},
	pythonDone:      {rule: "python-traceback", wait: soon, done: true},
	pythonEnd:       {rule: "python-traceback", wait: later, head: true},
	pythonGap:       {rule: "python-traceback", wait: later, loose: true},
	pythonChain:     {rule: "python-traceback", wait: waits},
	pythonGroup:     {rule: "python-traceback", wait: later},
	pythonAnnounced: {rule: "python-traceback", wait: later, own: true},
	pythonWarning:   {rule: "python-warning", wait: soon, apart: true},
	pythonFatal:     {rule: "python-crash", wait: waits, own: true},
	pythonStack:     {rule: "python-traceback", wait: later},
	pythonWarned:    {rule: "python-warning", wait: soon, done: true},
	pythonRemote:    {rule: "python-traceback", wait: later, own: true},
	pythonSource:    {rule: "python-traceback", wait: waits},
	pythonTail:      {rule: "python-traceback", wait: later, head: true, tight: true},
}

var (
	tracebackHead = []byte("Traceback (most recent call last):")
	groupHead     = []byte("  + Exception Group Traceback (most recent call last):")
)

func pythonOpens(l *line) uint8 {
	b := l.msg
	if len(b) < 10 {
		return 0
	}
	switch b[0] {
	case ' ':
		if bytes.HasPrefix(b, groupHead) {
			return pythonGroup
		}
		if bytes.HasPrefix(b, []byte("  File \"")) && bytes.Contains(b, []byte("\", line ")) {
			return pythonSource
		}
	case 'T':
		if bytes.HasPrefix(b, tracebackHead) {
			return pythonFrames
		}
		if bytes.HasPrefix(b, []byte("Task exception was never retrieved")) {
			return pythonAnnounced
		}
	case 'E':
		if bytes.HasPrefix(b, []byte("Exception in thread ")) && endsInColon(b) && b[20] != '"' || bytes.HasPrefix(b, []byte("Exception ignored ")) ||
			bytes.HasPrefix(b, []byte("Exception in callback ")) || bytes.HasPrefix(b, []byte("Error handling request")) { // asyncio, aiohttp
			return pythonAnnounced
		}
	case 'I':
		if bytes.HasPrefix(b, []byte("Internal Server Error: /")) { // Django
			return pythonAnnounced
		}
	case 'P':
		if bytes.HasPrefix(b, []byte("Process ")) && endsInColon(b) && bytes.Count(b, []byte(" ")) == 1 && bytes.IndexByte(b, '-') > 0 {
			return pythonAnnounced
		}
	case 'F':
		if bytes.HasPrefix(b, []byte("Fatal Python error: ")) {
			return pythonFatal
		}
	case '-':
		if bytes.HasPrefix(b, []byte("--- Logging error ---")) {
			return pythonAnnounced
		}
	case '/', '<', 's', '.':
		if isPythonWarning(b) {
			return pythonWarning
		}
	case 'm', 'c':
		if bytes.HasSuffix(bytes.TrimRight(b, " \r"), []byte("RemoteTraceback:")) {
			return pythonRemote
		}
	case 'S':
		if bytes.HasPrefix(b, []byte("Stack (most recent call last):")) {
			return pythonStack
		}
	}
	return 0
}

// pythonJoins: below a logger's line.
func pythonJoins(l *line) uint8 {
	switch b := l.msg; {
	case len(b) < 10:
	case bytes.HasPrefix(b, tracebackHead):
		return pythonFrames
	case bytes.HasPrefix(b, groupHead):
		return pythonGroup
	case bytes.HasPrefix(b, []byte("Stack (most recent call last):")):
		return pythonStack
	}
	return 0
}

func pythonTakes(state uint8, l *line) (uint8, limit) {
	b := l.msg
	switch state {
	case pythonFrames:
		switch {
		case len(b) == 0:
		case b[0] == ' ' || b[0] == '\t':
			return pythonFrames, waits
		default:
			return pythonEnd, waits
		}
	case pythonStack:
		if indented(l) {
			return pythonStack, waits
		}
	case pythonSource:
		switch {
		case indented(l):
			return pythonSource, waits
		case bytes.HasPrefix(b, []byte("SyntaxError: ")), bytes.HasPrefix(b, []byte("IndentationError: ")), bytes.HasPrefix(b, []byte("TabError: ")):
			return pythonEnd, waits
		}
	case pythonRemote:
		switch {
		case isQuotes(b):
			return pythonRemote, later
		case bytes.HasPrefix(b, tracebackHead):
			return pythonFrames, waits
		}
	case pythonEnd, pythonGap, pythonTail:
		switch {
		case len(b) == 0:
			return pythonGap, soon
		case state != pythonGap && (indented(l) || isQuotes(b)), isDetail(b):
			return pythonTail, soon
		case isChain(b):
			return pythonChain, waits
		case state == pythonEnd && bytes.HasPrefix(b, []byte("Call stack:")):
			return pythonFrames, later
		case state == pythonEnd && bytes.HasPrefix(b, []byte("Arguments: ")):
			return pythonDone, later
		}
	case pythonChain:
		switch {
		case len(b) == 0:
			return pythonChain, later
		case bytes.HasPrefix(b, tracebackHead):
			return pythonFrames, waits
		case bytes.HasPrefix(b, groupHead):
			return pythonGroup, waits
		}
	case pythonGroup:
		switch t := bytes.TrimLeft(b, " "); {
		case len(b) == 0:
			return pythonGap, soon
		case len(t) < len(b) && len(t) > 0 && (t[0] == '|' || t[0] == '+'):
			return pythonGroup, waits
		}
	case pythonAnnounced:
		switch {
		case bytes.HasPrefix(b, tracebackHead):
			return pythonFrames, waits
		case bytes.HasPrefix(b, groupHead):
			return pythonGroup, waits
		case bytes.HasPrefix(b, []byte("future: ")), bytes.HasPrefix(b, []byte("handle: <")):
			return pythonAnnounced, later
		}
	case pythonWarning:
		if bytes.HasPrefix(b, []byte("  ")) && len(b) > 2 && b[2] != ' ' {
			return pythonWarned, soon
		}
	case pythonFatal:
		if len(b) == 0 || indented(l) || bytes.HasPrefix(b, []byte("Python runtime state:")) || bytes.HasPrefix(b, []byte("Current thread 0x")) ||
			bytes.HasPrefix(b, []byte("Thread 0x")) || bytes.HasPrefix(b, []byte("Extension modules:")) {
			return pythonFatal, later
		}
	}
	return 0, never
}

// isChain knows what stands between two tracebacks of one report.
func isChain(b []byte) bool {
	return bytes.HasPrefix(b, []byte("During handling of the above exception, another exception occurred:")) ||
		bytes.HasPrefix(b, []byte("The above exception was the direct cause of the following exception:"))
}

// isQuotes knows what stands around the traceback of another process.
func isQuotes(b []byte) bool { return string(bytes.TrimSuffix(b, []byte("\r"))) == `"""` }

// isDetail knows how the messages of SQLAlchemy and psycopg go on.
func isDetail(b []byte) bool {
	for _, p := range pythonDetails {
		if bytes.HasPrefix(b, p) {
			return true
		}
	}
	return false
}

var pythonDetails = [][]byte{
	[]byte("[SQL: "), []byte("[parameters: "), []byte("(Background on this error at: "), []byte("DETAIL:  "), []byte("HINT:  "), []byte("CONTEXT:  "), []byte("LINE 1: "),
}

// isPythonWarning knows "/app/x.py:12: DeprecationWarning: text", as the module warnings writes it.
func isPythonWarning(b []byte) bool {
	i := bytes.Index(b[:min(len(b), maxNamed)], []byte("Warning: "))
	if i < 4 {
		return false
	}
	for i > 0 && isWord(b[i-1]) || i > 0 && b[i-1] == '.' {
		i--
	}
	if i < 5 || b[i-1] != ' ' || b[i-2] != ':' {
		return false
	}
	n := numbered(b[:i-2])
	return n > 0 && (bytes.HasSuffix(b[:n], []byte(".py")) || b[n-1] == '>' || string(b[:n]) == "sys") && bytes.IndexByte(b[:n], ' ') < 0
}
