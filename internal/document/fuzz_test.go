package document

import (
	"bytes"
	"reflect"
	"testing"
)

// Whatever the text: no panic, every finding has a place in it, and a text that is right says the same when read again.
func FuzzDocument(f *testing.F) {
	for _, text := range []string{
		"section: {text: a, wait: 5s, max_bytes: 1MiB}\nnames: [a, b]\n", "list:\n- &a {path: /a}\n- {<<: *a, fold: true}\n", "a:\n\tb", "names: &a [*a]",
		"? a\n: b\n", "section: !!str", "{", "- - -", "section: |\n  x\n", "\xef\xbb\xbf---\n...\n", "x: \"\\u00e9", "section: &a {<<: [*a, *b]}", "%YAML 1.2\n---\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v := defaults()
		r := NewReader(&v)
		r.Document("d", text)
		last := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + 1
		for _, f := range r.Findings() {
			if f.Line < 0 || f.Line > last || f.Line > 0 && f.Column < 1 {
				t.Errorf("%s: the text has %d lines", f, last)
			}
		}
		if Count(r.Findings(), Error) > 0 {
			return
		}
		first := v
		r.Document("d", text)
		if Count(r.Findings(), Error) > 0 || !reflect.DeepEqual(v, first) {
			t.Errorf("read again: %+v, want %+v; %v", v, first, r.Findings())
		}
	})
}
