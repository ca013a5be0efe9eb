package fold

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A language that opens something with a line must be asked about it: over every line there is, whole, cut and with another
// last byte.
func TestOpeners(t *testing.T) {
	o := openersOf(languages)
	opened := make([]int, len(languages))
	check := func(text []byte) {
		for _, tid := range []span{{}, {0, 3}} {
			for _, msg := range [][]byte{text, text[min(len(text), tags(text)):]} {
				l := line{text: text, bare: text, msg: msg, shape: shapeOf(msg), pre: prefix{sev: 'W', tid: tid}}
				if l.shape == shapeRequest {
					continue
				}
				for i, lang := range languages {
					if lang.opens(&l) == 0 {
						continue
					}
					opened[i]++
					if o.of(&l)&(1<<i) == 0 {
						t.Fatalf("%s opens something with %q, shape %d, and is not asked", lang.name, msg, l.shape)
					}
				}
			}
		}
	}
	for _, text := range everyLine(t) {
		check(text)
		check(append(bytes.Clone(text), '\r'))
		for i := 0; i < len(text) && i < 48; i++ {
			check(text[i:])
			check(text[:i])
		}
	}
	for i, n := range opened {
		if n == 0 {
			t.Errorf("%s opened nothing", languages[i].name)
		}
	}
}

// everyLine is every line of the corpora, the cases and the look-alikes once.
func everyLine(t *testing.T) (lines [][]byte) {
	t.Helper()
	seen := map[string]bool{}
	add := func(text []byte) {
		if len(text) < 4096 && !seen[string(text)] {
			seen[string(text)] = true
			lines = append(lines, text)
		}
	}
	for _, dir := range corpusCases(t) {
		for _, r := range readJSONLines[record](t, dir+"/json.log") {
			add(bytes.TrimSuffix([]byte(r.Log), []byte("\n")))
		}
	}
	for _, pattern := range []string{"testdata/cases/*", "testdata/lookalikes/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			if strings.HasPrefix(pattern, "testdata/cases") {
				made, _ := parseCase(t, name)
				for _, l := range made {
					add(l.Text)
				}
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for text := range bytes.Lines(b) {
				add(bytes.TrimSuffix(text, []byte("\n")))
			}
		}
	}
	return lines
}
