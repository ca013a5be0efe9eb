package fold

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseCase reads a case made by hand: "N|line" says that the line belongs to event N, "+20ms" that time passes, # is a comment.
// Lines of one event lie a hundredth of a millisecond apart.
func parseCase(t testing.TB, name string) ([]Line, map[string]string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []Line
	want := map[string]string{}
	now := int64(time.Hour)
	for _, text := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if text[0] == '#' {
			continue
		}
		if text[0] == '+' {
			d, err := time.ParseDuration(text[1:])
			if err != nil {
				t.Fatal(err)
			}
			now += int64(d)
			continue
		}
		now += int64(10 * time.Microsecond)
		n, text, ok := strings.Cut(text, "|")
		if !ok {
			t.Fatalf("%s: not a line: %q", name, text)
		}
		if old, ok := want[n]; ok {
			want[n] = old + "\n" + text
		} else {
			want[n] = text
		}
		lines = append(lines, Line{Text: []byte(text), Time: now, Read: now, Pos: Pos{Start: int64(len(lines)), End: int64(len(lines)) + 1}})
	}
	return lines, want
}

// TestCases folds what was made by hand: layouts that the corpora do not have, and lines that must not be joined.
func TestCases(t *testing.T) {
	names, err := filepath.Glob("testdata/cases/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			lines, want := parseCase(t, name)
			var got []string
			emit := func(e *Event) { got = append(got, copyOf("", e).Text) }
			s := newFolder(t, nil).Stream("app")
			for _, l := range lines {
				s.Add(l, emit)
			}
			s.Flush(emit)
			for n, text := range want {
				if !slices.Contains(got, text) {
					t.Errorf("event %s is missing:\n%s", n, text)
				}
			}
			if t.Failed() || len(got) != len(want) {
				t.Errorf("got %d events, want %d:\n%s", len(got), len(want), strings.Join(got, "\n----\n"))
			}
		})
	}
}
