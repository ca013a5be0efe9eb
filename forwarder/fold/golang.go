package fold

import "bytes"

// golang knows that a dying Go program writes its panic below whatever it logged last; and the reports of the race detector.
var golang = &language{name: "go", opens: goOpens, first: "pfrSghu=", takes: goTakes, joins: goJoins, traits: goTraits}

const (
	_ uint8 = iota
	goCrash
	goDump  // "goroutine 1 [running]:"
	goRule  // "==================": the first line of a data race, or not
	goRace  // "WARNING: DATA RACE"
	goRaced // the rule that ends it
	goServe // "http: panic serving 10.0.0.1:1234: text"
)

var goTraits = []traits{
	goCrash: {rule: "go-crash", wait: waits, own: true},
	goDump:  {rule: "go-goroutines", wait: waits},
	goRule:  {rule: "go-race", wait: soon},
	goRace:  {rule: "go-race", wait: waits},
	goRaced: {rule: "go-race", wait: soon, done: true},
	goServe: {rule: "go-crash", wait: soon, head: true},
}

func goOpens(l *line) uint8 {
	b := l.msg
	if len(b) < 7 {
		return 0
	}
	switch b[0] {
	case 'p':
		if bytes.HasPrefix(b, []byte("panic: ")) {
			return goCrash
		}
	case 'f':
		if bytes.HasPrefix(b, []byte("fatal error: ")) {
			return goCrash
		}
	case 'r':
		if bytes.HasPrefix(b, []byte("runtime: goroutine stack exceeds ")) || bytes.HasPrefix(b, []byte("runtime: program exceeds ")) || bytes.HasPrefix(b, []byte("runtime: out of memory")) {
			return goCrash
		}
	case 'S':
		if bytes.HasPrefix(b, []byte("SIG")) && isSignal(b) {
			return goCrash
		}
	case 'g':
		return goJoins(l)
	case 'u':
		if bytes.HasPrefix(b, []byte("unexpected fault address 0x")) {
			return goCrash
		}
	case 'h':
		if bytes.HasPrefix(b, []byte("http: panic serving ")) {
			return goServe
		}
	case '=':
		if isRaceRule(b) {
			return goRule
		}
	}
	return 0
}

// isSignal knows "SIGQUIT: quit", "SIGSEGV: segmentation violation".
func isSignal(b []byte) bool {
	i := 3
	for i < len(b) && b[i] >= 'A' && b[i] <= 'Z' {
		i++
	}
	return i > 5 && i < 10 && bytes.HasPrefix(b[i:], []byte(": "))
}

func isRaceRule(b []byte) bool {
	return string(bytes.TrimSuffix(b, []byte("\r"))) == "=================="
}

// goJoins: "goroutine 1 [running]:", below whatever was said of it.
func goJoins(l *line) uint8 {
	b := bytes.TrimSuffix(l.msg, []byte("\r"))
	if len(b) > 14 && bytes.HasPrefix(b, []byte("goroutine ")) && isDigit(b[10]) && bytes.HasSuffix(b, []byte("]:")) {
		return goDump
	}
	return 0
}

// goTakes: the goroutines, as runtime.Stack prints them. Lines of a panic's value are indented by a tab.
func goTakes(state uint8, l *line) (uint8, limit) {
	b := bytes.TrimSuffix(l.bare, []byte("\r"))
	switch state {
	case goServe:
		return 0, never
	case goRule:
		if string(b) == "WARNING: DATA RACE" {
			return goRace, later
		}
		return 0, never
	case goRace:
		switch {
		case isRaceRule(b):
			return goRaced, later
		case len(b) == 0, indented(l):
			return state, later
		}
		for _, p := range raceLines {
			if bytes.HasPrefix(b, p) {
				return state, later
			}
		}
		return 0, never
	}
	switch {
	case len(b) == 0, b[0] == '\t', b[len(b)-1] == ')' && bytes.IndexByte(b, ' ') < 0 || isGoCall(b), isElided(b):
		return state, later
	}
	for _, p := range goLines {
		if bytes.HasPrefix(b, p) {
			return state, later
		}
	}
	if state == goCrash && isRegister(b) {
		return state, later
	}
	return 0, never
}

// isGoCall knows a line of a goroutine: "main.(*pump).run(0x4b6960?, 0x4f1ce324280?)".
func isGoCall(b []byte) bool {
	i := bytes.LastIndexByte(b, '(')
	if i < 1 || b[len(b)-1] != ')' {
		return false
	}
	if j := bytes.IndexByte(b, ' '); j >= 0 && j < i { // a struct among the arguments: panic({0x4c9720?, 0x3661731bc000?})
		i = bytes.IndexByte(b, '(')
		return i > 0 && j > i && bytes.IndexByte(b[:i], '.') > 0
	}
	return true
}

// isElided knows "...87143 frames elided...", in the middle of a stack that overflowed; before Go 1.21, "...additional frames elided...".
func isElided(b []byte) bool {
	return len(b) > 20 && b[0] == '.' && bytes.HasPrefix(b, []byte("...")) && bytes.HasSuffix(b, []byte(" frames elided..."))
}

// isRegister knows "rax    0xfffffffffffffffc", of a signal's report.
func isRegister(b []byte) bool {
	i := bytes.IndexByte(b, ' ')
	return i >= 2 && i < 7 && bytes.HasPrefix(bytes.TrimLeft(b[i:], " "), []byte("0x")) && len(b) < 40
}

var goLines = [][]byte{
	[]byte("goroutine "), []byte("panic: "), []byte("[signal "), []byte("created by "), []byte("exit status "), []byte("runtime stack:"),
	[]byte("fatal error: "), []byte("runtime: "), []byte("stack: frame={"), []byte("PC="), []byte("signal arrived during "),
	[]byte("[originating from goroutine "), []byte("unexpected fault address "), []byte("-----"), []byte("SIG"),
}

var raceLines = [][]byte{
	[]byte("Read at "), []byte("Write at "), []byte("Previous "), []byte("Goroutine "), []byte("Location is "), []byte("Mutex "), []byte("Atomic "), []byte("Concurrent "),
}
