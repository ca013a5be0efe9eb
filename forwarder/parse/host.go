package parse

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// Host is what a line of a host log says beside its text. The zero value is ready; used again for the next line, it keeps its memory.
type Host struct {
	Time   int64   // Unix ns; 0: it does not say
	Level  string  // a name that LevelName knows; "": it does not say
	Fields []Field // keys are unique. Values lie in the line, or in memory that the next line overwrites

	scratch []byte
}

// Field is a pair that a line holds.
type Field struct {
	Key   string
	Value []byte
}

// Bounds of what becomes a field. What is beyond them stays in the text alone.
const (
	maxHostFields = 64
	maxHostKey    = 100
)

// reset forgets the line before.
func (h *Host) reset() {
	h.Time, h.Level = 0, ""
	h.Fields, h.scratch = h.Fields[:0], h.scratch[:0]
}

// refuse forgets what was read of a line that has another form after all.
func (h *Host) refuse() bool {
	h.reset()
	return false
}

// add adds a pair, unless there is one of that key.
func (h *Host) add(key string, value []byte) {
	if key == "" || len(key) > maxHostKey || len(h.Fields) >= maxHostFields || !utf8.ValidString(key) {
		return
	}
	for i := range h.Fields {
		if h.Fields[i].Key == key {
			return
		}
	}
	h.Fields = append(h.Fields, Field{key, value})
}

// column adds a column of a table, where "-" stands for nothing.
func (h *Host) column(key string, value []byte) {
	if len(value) > 0 && string(value) != "-" {
		h.add(key, value)
	}
}

// unquoteGo undoes the quotes of Go's %q, which is what ECS and Docker print, not JSON. Of what is no such text the quotes are taken off.
func (h *Host) unquoteGo(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	start := len(h.scratch)
	for rest := string(inner); rest != ""; {
		c, multibyte, tail, err := strconv.UnquoteChar(rest, '"')
		if err != nil {
			h.scratch = h.scratch[:start]
			return inner
		}
		if multibyte {
			h.scratch = utf8.AppendRune(h.scratch, c)
		} else {
			h.scratch = append(h.scratch, byte(c))
		}
		rest = tail
	}
	return h.scratch[start:len(h.scratch):len(h.scratch)]
}

// quotedEnd is where the text in double quotes at the start of b ends, behind its closing quote; 0 if it does not.
func quotedEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// cutBlank cuts b at its first blank.
func cutBlank(b []byte) (word, rest []byte, ok bool) {
	return bytes.Cut(b, []byte(" "))
}
