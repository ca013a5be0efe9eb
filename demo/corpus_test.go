package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCorpora(t *testing.T) {
	for _, cast := range casts {
		t.Run(cast.role, func(t *testing.T) {
			c, err := loadCorpus(cast.corpus)
			if err != nil {
				t.Fatal(err)
			}
			events, traces := 0, 0
			for _, g := range append(c.boot, c.loop...) {
				lines := 0
				for _, e := range g.events {
					events++
					lines += e.lines
					if e.lines > 1 {
						traces++
					}
					first := g.records[e.first]
					if !strings.HasPrefix(e.text+"\n", first.text) || first.stderr != e.stderr {
						t.Errorf("event %q begins with %q", e.text, first.text)
					}
					if strings.Count(e.text, "\n")+1 != e.lines {
						t.Errorf("event of %d lines: %q", e.lines, e.text)
					}
				}
				if lines != len(g.records) {
					t.Errorf("a group of %d records has %d lines in events", len(g.records), lines)
				}
			}
			if events < 150 || traces < 40 {
				t.Errorf("only %d events, %d traces", events, traces)
			}
		})
	}
}

// What a real container writes is what the demo expects of it, as far as it says that it came.
func TestWrite(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	if err := os.WriteFile(count, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	p := part{Corpus: "rails61-default-tags", Began: now, Until: now.Add(2 * time.Second), Count: count}
	var out, errs bytes.Buffer
	if err := Write(context.Background(), nil, p.String(), &out, &errs); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(count)
	if err != nil || len(b) != 8 {
		t.Fatalf("count: %q, %v", b, err)
	}
	c, err := loadCorpus(p.Corpus)
	if err != nil {
		t.Fatal(err)
	}
	words := player{c: c}
	var wantOut, wantErrs strings.Builder
	n := binary.BigEndian.Uint64(b)
	for range n {
		for _, r := range words.group().records {
			if r.stderr {
				wantErrs.WriteString(r.text)
			} else {
				wantOut.WriteString(r.text)
			}
		}
	}
	if n < 10 || out.String() != wantOut.String() || errs.String() != wantErrs.String() {
		t.Errorf("%d groups: wrote %d and %d bytes, want %d and %d", n, out.Len(), errs.Len(), wantOut.Len(), wantErrs.Len())
	}
}
