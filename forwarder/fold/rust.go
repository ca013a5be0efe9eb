package fold

import "bytes"

// rust knows panics, with or without a backtrace, and the causes that main's error is printed with.
var rust = &language{name: "rust", opens: rustOpens, first: "t", takes: rustTakes, joins: rustJoins, afterBlank: rustPanics, traits: rustTraits}

// Add new states at the end: they are saved.
const (
	_             uint8 = iota
	rustPlace           // "thread 'main' panicked at src/main.rs:2:5:": the message comes next
	rustMessage         // the message, which may go on
	rustBacktrace       // "stack backtrace:" and frames
	rustDone            // "note: run with `RUST_BACKTRACE=1`..."
	rustCauses          // "Caused by:" and what is indented below it
	rustCausesGap
)

var rustTraits = []traits{
	rustPlace:     {rule: "rust-panic", wait: waits, own: true},
	rustMessage:   {rule: "rust-panic", wait: waits, own: true, head: true},
	rustBacktrace: {rule: "rust-panic", wait: waits},
	rustDone:      {rule: "rust-panic", wait: later},
	rustCauses:    {rule: "rust-error", wait: later},
	rustCausesGap: {rule: "rust-error", wait: soon, loose: true},
}

func rustOpens(l *line) uint8 {
	if len(l.msg) > 20 && l.msg[0] == 't' {
		return rustPanics(l)
	}
	return 0
}

// rustPanics: from 1.88 on, an empty line comes first.
func rustPanics(l *line) uint8 {
	b := bytes.TrimSuffix(l.msg, []byte("\r"))
	if !bytes.HasPrefix(b, []byte("thread '")) && !bytes.HasPrefix(b, []byte("thread <unnamed>")) || !bytes.Contains(b, []byte(" panicked at ")) {
		return 0
	}
	if b[len(b)-1] == ':' { // from 1.73 on
		return rustPlace
	}
	return rustMessage
}

func rustJoins(l *line) uint8 {
	switch string(bytes.TrimSuffix(l.msg, []byte("\r"))) {
	case "Caused by:":
		return rustCauses
	case "stack backtrace:", "Stack backtrace:":
		return rustBacktrace
	}
	return 0
}

func rustTakes(state uint8, l *line) (uint8, limit) {
	b := l.msg
	switch {
	case bytes.HasPrefix(b, []byte("note: ")) && state != rustCauses && state != rustCausesGap:
		return rustDone, waits
	case bytes.HasPrefix(b, []byte("fatal runtime error: ")), bytes.HasPrefix(b, []byte("thread panicked while ")):
		return rustDone, later
	}
	switch state {
	case rustPlace:
		return rustMessage, waits
	case rustMessage: // of assert_eq
		if bytes.HasPrefix(b, []byte("  left: ")) || bytes.HasPrefix(b, []byte(" right: ")) {
			return rustMessage, soon
		}
	case rustBacktrace:
		if indented(l) {
			return rustBacktrace, waits
		}
	case rustCauses, rustCausesGap:
		switch {
		case l.shape == shapeEmpty:
			return rustCausesGap, soon
		case indented(l) && state == rustCauses:
			return rustCauses, later
		case bytes.HasPrefix(b, []byte("Location:")):
			return rustCauses, later
		}
	}
	if state := rustJoins(l); state != 0 {
		return state, waits
	}
	return 0, never
}
