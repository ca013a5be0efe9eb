package fold

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLookalikes folds what only looks like reports: every line is an event of its own, however close together they were written.
func TestLookalikes(t *testing.T) {
	names, err := filepath.Glob("testdata/lookalikes/*")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d files of look-alikes: %v", len(names), err)
	}
	all := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
		all += len(lines)
		for _, gap := range []time.Duration{0, 20 * time.Microsecond, 2 * time.Millisecond} {
			t.Run(filepath.Base(name)+"/"+gap.String(), func(t *testing.T) {
				s := newFolder(t, nil).Stream("app")
				now, n := int64(time.Hour), 0
				emit := func(e *Event) {
					if n >= len(lines) || len(e.Lines) != 1 || !bytes.Equal(e.Lines[0], lines[n]) {
						t.Fatalf("line %d: got by %s:\n%s", n+1, e.Rule, bytes.Join(e.Lines, []byte("\n")))
					}
					n++
				}
				for i, text := range lines {
					now += int64(gap)
					s.Add(Line{Text: text, Time: now, Read: now, Pos: Pos{Start: int64(i), End: int64(i) + 1}}, emit)
				}
				s.Flush(emit)
				if n != len(lines) {
					t.Errorf("%d events of %d lines", n, len(lines))
				}
			})
		}
	}
	if all < 500 {
		t.Errorf("only %d lines", all)
	}
}
