package forwarder

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// corpus opens a file of fold's corpora, packed or not.
func corpus(t *testing.T, dir, name string) io.Reader {
	t.Helper()
	path := filepath.Join("fold/testdata/corpora", dir, name)
	if f, err := os.ReadFile(path + ".gz"); err == nil {
		r, err := gzip.NewReader(bytes.NewReader(f))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(f)
}

func foldAll(t *testing.T, in io.Reader, change func(*Config)) []*Folded {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	var all []*Folded
	if err := FoldFile(in, cfg, "app", true, func(e *Folded) error { all = append(all, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// What FoldFile prints of a real log is what the corpus says: record numbers and text.
func TestFoldFileOnACorpus(t *testing.T) {
	truth := map[int]string{}
	sc := bufio.NewScanner(corpus(t, "rails61-default-tags", "events.jsonl"))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var e struct {
			First  int    `json:"first"`
			SHA256 string `json:"sha256"`
			Ideal  bool   `json:"ideal"`
		}
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Ideal {
			truth[e.First] = e.SHA256
		}
	}
	seen := map[int]int{}
	for _, e := range foldAll(t, corpus(t, "rails61-default-tags", "json.log"), nil) {
		records := e.Records
		for n := e.First; e.Records == nil && n <= e.Last; n++ {
			records = append(records, n)
		}
		for _, n := range records {
			seen[n]++
		}
		sum := sha256.Sum256([]byte(e.Log))
		if want, ok := truth[e.First]; ok && want != hex.EncodeToString(sum[:]) {
			t.Errorf("event at record %d: %.80q... is not what the program wrote", e.First, e.Log)
		}
		var lines []string
		for _, l := range e.Lines {
			lines = append(lines, l.Text)
		}
		if strings.Join(lines, "\n") != e.Log {
			t.Errorf("event at record %d: the explained lines are not its text", e.First)
		}
	}
	for n := 1; n <= len(seen); n++ {
		if seen[n] != 1 {
			t.Errorf("record %d is in %d events", n, seen[n])
		}
	}
}

func TestFoldFile(t *testing.T) {
	long := strings.Repeat("x", 3*bufferBytes+5)
	docker := func(stream, text, time string) string {
		b, err := json.Marshal(map[string]string{"log": text, "stream": stream, "time": time})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	const at = "2026-11-21T09:00:00.1Z"
	type event struct {
		stream      string
		first, last int
		log         string
	}
	for _, c := range []struct {
		name, in string
		want     []event
	}{
		{"nothing", "", nil},
		{"no last newline", "a\nb", []event{{"", 1, 1, "a"}, {"", 2, 2, "b"}}},
		{"blank lines", "a\n\nb\n", []event{{"", 1, 1, "a"}, {"", 2, 2, ""}, {"", 3, 3, "b"}}},
		{"a line longer than the buffer", "a\n" + long + "\nb\n", []event{{"", 1, 1, "a"}, {"", 2, 2, long}, {"", 3, 3, "b"}}},
		{"a longer one first, without newline", long, []event{{"", 1, 1, long}}},
		{"pieces of a docker line", docker("stdout", "one ", at) + docker("stderr", "x\n", at) + docker("stdout", "line\n", at), []event{
			{"stderr", 2, 2, "x"}, {"stdout", 1, 3, "one line"}}},
		{"an unfinished record", docker("stdout", "a\n", at) + `{"log":"b`, []event{{"stdout", 1, 1, "a"}, {"stdout", 2, 2, `{"log":"b`}}},
		{"a torn record before a whole one", docker("stdout", "a\n", at) + `{"log":"b` + docker("stdout", "c\n", at), []event{
			{"stdout", 1, 1, "a"}, {"stdout", 2, 2, `{"log":"b`}, {"stdout", 2, 2, "c"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []event
			for _, e := range foldAll(t, strings.NewReader(c.in), nil) {
				got = append(got, event{e.Stream, e.First, e.Last, e.Log})
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %.300v\nwant %.300v", got, c.want)
			}
		})
	}
}

func TestFoldFileParts(t *testing.T) {
	in := "/a.rb:1:in `x': first (E)\n" + strings.Repeat("\tfrom /a.rb:2:in `y'\n", 100)
	all := foldAll(t, strings.NewReader(in), func(c *Config) { c.Fold.MaxBytes = 1024 })
	var text strings.Builder
	for i, e := range all {
		if e.Part != i+1 || e.PartLast != (i == len(all)-1) {
			t.Errorf("piece %d of %d is part %d, last %v", i+1, len(all), e.Part, e.PartLast)
		}
		text.WriteString(e.Log)
	}
	if len(all) < 2 || text.String() != strings.TrimSuffix(in, "\n") {
		t.Errorf("%d parts of %d bytes, want %d bytes", len(all), text.Len(), len(in)-1)
	}
}

func TestFoldFileStopsAtAnError(t *testing.T) {
	full := errors.New("disk full")
	n := 0
	err := FoldFile(strings.NewReader("a\nb\nc\n"), DefaultConfig(), "", false, func(*Folded) error { n++; return full })
	if !errors.Is(err, full) || n != 1 {
		t.Errorf("%v after %d events, want %v after 1", err, n, full)
	}
}
