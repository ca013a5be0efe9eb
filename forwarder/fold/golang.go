package fold

import "bytes"

// golang knows that a dying Go program writes its panic below whatever it logged last.
var golang = &language{name: "go", opens: goOpens, takes: goTakes, traits: goTraits}

const (
	_ uint8 = iota
	goCrash
)

var goTraits = []traits{
	goCrash: {rule: "go-crash", wait: waits, own: true},
}

func goOpens(l *line) uint8 {
	if len(l.msg) > 0 && (l.msg[0] == 'p' && bytes.HasPrefix(l.msg, []byte("panic: ")) || l.msg[0] == 'f' && bytes.HasPrefix(l.msg, []byte("fatal error: "))) {
		return goCrash
	}
	return 0
}

// goTakes: the goroutines, as runtime.Stack prints them. Lines of a panic's value are indented by a tab.
func goTakes(state uint8, l *line) (uint8, limit) {
	b := l.text
	switch {
	case len(b) == 0, b[0] == '\t', b[len(b)-1] == ')':
		return state, later
	}
	for _, p := range goLines {
		if bytes.HasPrefix(b, p) {
			return state, later
		}
	}
	return 0, never
}

var goLines = [][]byte{
	[]byte("goroutine "), []byte("panic: "), []byte("[signal "), []byte("created by "), []byte("exit status "), []byte("runtime stack:"),
	[]byte("fatal error: "), []byte("...additional frames elided..."),
}
