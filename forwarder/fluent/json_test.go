package fluent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// addJSON builds an event with the text's keys and decodes its record.
func addJSON(t *testing.T, text string, fields *Fields, x Extra) map[string]any {
	t.Helper()
	var b Builder
	b.Reset("t", 0)
	x.JSON = []byte(text)
	b.Add(1, [][]byte{[]byte(text)}, fields, x)
	b.Seal()
	_, entries, _ := decodeFrame(t, b.Frame())
	if len(entries) != 1 {
		t.Fatalf("%d entries", len(entries))
	}
	return entries[0].record
}

func TestJSONFields(t *testing.T) {
	ours := &Fields{}
	ours.Add("source", "stdout")
	got := addJSON(t, ` {"msg":"a\u00e9\ud83d\ude00\n","n":-3,"big":18446744073709551615,"f":1.5,"ok":true,"no":null,"l":[1,"x",{}],"o":{"a":{"b":[]}},"source":"theirs","log":"theirs","level":"info","msg":"again","exception.class":"X","":1} `,
		ours, Extra{Level: "error", Part: 0, Fields: []Field{{"exception.class", []byte("Y\xff")}}})
	delete(got, "log")
	want := map[string]any{"msg": "aé😀\n", "n": int64(-3), "big": uint64(math.MaxUint64), "f": 1.5, "ok": true, "no": nil, "l": []any{int64(1), "x", map[string]any{}},
		"o": map[string]any{"a": map[string]any{"b": []any{}}}, "source": "stdout", "level": "error", "exception.class": "Y\ufffd", "": int64(1)}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, text := range []string{"", "x", "{", `{"a":1}x`, `{"a":1,}`, `{a:1}`, `["a"]`, `"a"`, `{"a":01}`, `{"a":.5}`, `{"a":"` + "\x01" + `"}`, `{"a":"\x"}`, `{"a":tru}`, `{"a" 1}`, `{"a":1}{"b":2}`,
		`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, `{"a":1e999}`} {
		if got := addJSON(t, text, nil, Extra{}); len(got) != 1 {
			t.Errorf("%q: got %v", text, got)
		}
	}
	var many bytes.Buffer
	for i := range maxJSONKeys {
		fmt.Fprintf(&many, `,"k%d":%d`, i, i)
	}
	if got := addJSON(t, "{"+many.String()[1:]+"}", nil, Extra{}); len(got) != maxJSONKeys+1 {
		t.Errorf("%d keys", len(got))
	}
	if got := addJSON(t, "{"+many.String()[1:]+`,"more":1}`, nil, Extra{}); len(got) != 1 {
		t.Errorf("%d keys of too many", len(got))
	}
}

// FuzzJSON: what is taken is what encoding/json reads, and nothing else is taken.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u0041\ud800"],"b":{"c":null}}`, `{"a":1,"a":2}`, `{"log":1,"x":-0}`, `{}`, `{"a":9007199254740993}`, "{\"a\":\"\xff\"}", `{"\ud83d\ude00":" "}`, `[1]`, `{"a":"\/"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		pairs, n := appendJSON(nil, nil, &Extra{JSON: text})
		if n == 0 && len(pairs) != 0 {
			t.Fatal("bytes without pairs")
		}
		if !utf8.Valid(text) {
			return // encoding/json counts bad bytes otherwise
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if n > 0 && !json.Valid(text) {
			t.Fatalf("took %q", text)
		}
		if err := dec.Decode(&want); err != nil || n == 0 {
			return
		}
		got, rest, err := msgp.ReadMapStrIntfBytes(append(appendMapHeader(nil, n), pairs...), nil)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%v, %d bytes behind", err, len(rest))
		}
		twice := topKeys(text) != len(want)
		for k, v := range got {
			theirs, ok := want[k]
			if !ok {
				t.Fatalf("key %q of %q", k, text)
			}
			if twice { // the first counts here, the last there
				continue
			}
			if num, ok := theirs.(json.Number); ok {
				a, _ := num.Float64()
				b := reflect.ValueOf(v)
				var f float64
				switch {
				case b.CanInt():
					f = float64(b.Int())
				case b.CanUint():
					f = float64(b.Uint())
				default:
					f = b.Float()
				}
				if a != f {
					t.Fatalf("%q: got %v, want %v", k, v, theirs)
				}
			}
		}
	})
}

// topKeys counts the keys of an object, those that come twice too.
func topKeys(text []byte) (n int) {
	dec := json.NewDecoder(bytes.NewReader(text))
	depth, key := 0, false
	for {
		tok, err := dec.Token()
		if err != nil {
			return n
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth == 1 {
				key = true
				continue
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 1 {
			if key {
				n++
			}
			key = !key
		}
	}
}
