package fold

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// record is a line of Docker's json-file.
type record struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
}

// truth is an event as the corpus says it is.
type truth struct {
	N       int    `json:"n"`
	Stream  string `json:"stream"`
	First   int    `json:"first"`
	Last    int    `json:"last"`
	Records []int  `json:"records"`
	Kind    string `json:"kind"`
	Text    string `json:"first_line"`
	SHA     string `json:"sha256"`
	SHATrim string `json:"sha256_trim"`
	Ideal   bool   `json:"ideal"`
	Soft    bool   `json:"soft"`
}

// corpusCases are the folders below testdata/corpora, each with a json.log and an events.jsonl (either may have .gz).
func corpusCases(t testing.TB) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/corpora/*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no corpora: %v", err)
	}
	return dirs
}

func readJSONLines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(name + ".gz")
	var r io.Reader = f
	if err == nil {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	} else if f, err = os.Open(name); err != nil {
		t.Fatal(err)
	} else {
		r = f
	}
	defer f.Close()
	var all []T
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, v)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// lineOf makes the i-th record (from 1) a Line; its position is its number.
func (r *record) lineOf(i int) Line {
	text, whole := bytes.CutSuffix([]byte(r.Log), []byte("\n"))
	ns := r.Time.UnixNano()
	return Line{Text: text, Time: ns, Read: ns, More: !whole, Pos: Pos{Start: int64(i), End: int64(i) + 1}}
}

func newFolder(t testing.TB, change func(*Config)) *Folder {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// folded is a copy of an event.
type folded struct {
	Stream   string
	Records  []int
	Time     int64
	Text     string
	Part     int
	PartLast bool
	Rule     string
}

func copyOf(stream string, e *Event) folded {
	c := folded{Stream: stream, Time: e.Time, Text: string(bytes.Join(e.Lines, []byte("\n"))), Part: e.Part, PartLast: e.PartLast, Rule: e.Rule}
	for _, p := range e.Pos {
		c.Records = append(c.Records, int(p.Start))
	}
	return c
}

// TestCorpora folds real logs and counts the events that come out exactly as they were written. The share of the ideal ones
// must not fall below what was reached.
func TestCorpora(t *testing.T) {
	for _, dir := range corpusCases(t) {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			records := readJSONLines[record](t, filepath.Join(dir, "json.log"))
			truths := readJSONLines[truth](t, filepath.Join(dir, "events.jsonl"))
			got := map[int]folded{} // by first record
			f := newFolder(t, nil)
			for _, stream := range []string{"stdout", "stderr"} {
				s := f.Stream("docker.app")
				emit := func(e *Event) {
					c := copyOf(stream, e)
					got[c.Records[0]] = c
				}
				for i := range records {
					if records[i].Stream == stream {
						s.Add(records[i].lineOf(i+1), emit)
					}
				}
				s.Flush(emit)
			}
			ideal, right, others, othersRight := 0, 0, 0, 0
			for _, want := range truths {
				g := got[want.First]
				sum := sha256.Sum256([]byte(g.Text))
				hash := hex.EncodeToString(sum[:])
				trim := sha256.Sum256(bytes.TrimRight([]byte(g.Text), " \r\n\t"))
				ok := hash == want.SHA
				_ = trim
				if !want.Ideal {
					others++
					if ok {
						othersRight++
					}
					continue
				}
				ideal++
				if ok {
					right++
				} else if testing.Verbose() {
					t.Logf("event %d (%s, records %d..%d %v) %.80q: got %d records %v by %s", want.N, want.Kind, want.First, want.Last, want.Records, want.Text, len(g.Records), ends(g.Records), g.Rule)
				}
			}
			t.Logf("%-24s ideal %d of %d right, others %d of %d", name, right, ideal, othersRight, others)
		})
	}
}

func ends(r []int) []int {
	if len(r) < 3 {
		return r
	}
	return []int{r[0], r[len(r)-1]}
}
