package main

import "testing"

// A log must not do to a terminal what it likes; colours it may have.
func TestVisible(t *testing.T) {
	for _, c := range []struct{ line, plain, coloured string }{
		{"plain é → 日本", "plain é → 日本", "plain é → 日本"},
		{"a\tb\r", "a\tb", "a\tb"},
		{"\x1b[1m\x1b[36mSELECT\x1b[0m x", "SELECT x", "\x1b[1m\x1b[36mSELECT\x1b[0m x\x1b[0m"},
		{"\x1b[2J\x1b]0;title\x07\x00\x7f", `\x1b[2J\x1b]0;title\x07\x00\x7f`, `\x1b[2J\x1b]0;title\x07\x00\x7f`},
		{"a\rb\u009b5m", `a\x0db\x9b5m`, `a\x0db\x9b5m`},
		{"\x1b[31", `\x1b[31`, `\x1b[31`},
		{"", "", ""},
	} {
		if got := visible(c.line, false); got != c.plain {
			t.Errorf("%q: got %q, want %q", c.line, got, c.plain)
		}
		if got := visible(c.line, true); got != c.coloured {
			t.Errorf("%q in colour: got %q, want %q", c.line, got, c.coloured)
		}
	}
}
