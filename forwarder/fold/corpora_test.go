package fold

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	Ideal   bool   `json:"ideal"`
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

// readJSONLines reads a file once for all tests; they must not change what it returns.
func readJSONLines[T any](t testing.TB, name string) []T {
	t.Helper()
	if all, ok := alreadyRead[name]; ok {
		return all.([]T)
	}
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
	alreadyRead[name] = all
	return all
}

var alreadyRead = map[string]any{}

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

var update = flag.Bool("update", false, "write testdata/reached from what is reached now")

// reached is, for each corpus, ideal events exactly right, and events that hold lines of several: these must not become more.
const reachedFile = "testdata/reached"

type score struct{ right, merged int }

func readReached(t *testing.T) map[string]score {
	t.Helper()
	b, err := os.ReadFile(reachedFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	all := map[string]score{}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		var name string
		var sc score
		if _, err := fmt.Sscan(line, &name, &sc.right, &sc.merged); err == nil {
			all[name] = sc
		}
	}
	return all
}

// TestCorpora folds real logs: every event that a folder can know must come out exactly as it was written. A new corpus is a folder
// with json.log and events.jsonl.
func TestCorpora(t *testing.T) {
	floors := readReached(t)
	var now strings.Builder
	for _, dir := range corpusCases(t) {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			records := readJSONLines[record](t, filepath.Join(dir, "json.log"))
			truths := readJSONLines[truth](t, filepath.Join(dir, "events.jsonl"))
			owner := make([]int, len(records)+1) // which event a record belongs to
			for _, want := range truths {
				for _, r := range want.records() {
					owner[r] = want.N
				}
			}
			got := map[int]folded{} // by first record
			var sc score
			f := newFolder(t, nil)
			for _, stream := range []string{"stdout", "stderr"} {
				s := f.Stream("docker.app")
				emit := func(e *Event) {
					c := copyOf(stream, e)
					got[c.Records[0]] = c
					if slices.ContainsFunc(c.Records, func(r int) bool { return owner[r] != owner[c.Records[0]] }) {
						sc.merged++
					}
				}
				for i := range records {
					if records[i].Stream == stream {
						s.Add(records[i].lineOf(i+1), emit)
					}
				}
				s.Flush(emit)
			}
			ideal, others, othersRight := 0, 0, 0
			for _, want := range truths {
				g := got[want.First]
				sum := sha256.Sum256([]byte(g.Text))
				ok := hex.EncodeToString(sum[:]) == want.SHA
				switch {
				case !want.Ideal:
					others++
					if ok {
						othersRight++
					}
					continue
				case ok:
					sc.right++
				case testing.Verbose():
					t.Logf("event %d (%s, records %d..%d %v) %.80q: got records %v by %s", want.N, want.Kind, want.First, want.Last, want.Records, want.Text, g.Records, g.Rule)
				}
				ideal++
			}
			t.Logf("%-22s %5.1f %% of the ideal events exactly right (%d of %d); of the others %d of %d; %d merged", name,
				100*float64(sc.right)/float64(max(ideal, 1)), sc.right, ideal, othersRight, others, sc.merged)
			fmt.Fprintln(&now, name, sc.right, sc.merged)
			if sc.right != ideal {
				t.Errorf("got %d of %d ideal events right (-v tells which are not)", sc.right, ideal)
			}
			if floor, ok := floors[name]; ok && !*update && sc.merged > floor.merged {
				t.Errorf("got %d events that hold lines of several, had come down to %d", sc.merged, floor.merged)
			}
		})
	}
	if *update {
		if err := os.WriteFile(reachedFile, []byte(now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVersions rewrites the real logs as other versions and programs would have written them: what was right stays right.
func TestVersions(t *testing.T) {
	for _, v := range []struct{ name, from, to string }{
		{"quotes of Ruby 3.4", ":in `([^']*)'", ":in 'Shop::Thing#$1'"},
		{"report at ERROR, as from Rails 7.1 on", "^F, (.*) FATAL --", "E, $1 ERROR --"},
		{"other exceptions", "RuntimeError|PaymentError|ArgumentError|KeyError|IOError|ActionView::Template::Error", "Shop::V2::Refused"},
		{"other paths", "(/usr/share/rubygems-integration/all|/app)/", "/srv/www/releases/20260102/"},
		{"other request ids", `\[([0-9a-f]{8})-([0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{4}-([0-9a-f]{12})\]`, "[Root1-$1-$2$3]"},
		{"another tag", `(-- : |^)(\[[0-9a-f]{8}-[0-9a-f-]{27}\])`, "$1$2 [10.0.0.7]"},
		{"a terminal", "$", "\r"},
	} {
		t.Run(v.name, func(t *testing.T) {
			re := regexp.MustCompile(v.from)
			for _, dir := range corpusCases(t) {
				name := filepath.Base(dir)
				if !strings.HasPrefix(name, "r") || name == "rust-panic" {
					continue
				}
				records := slices.Clone(readJSONLines[record](t, filepath.Join(dir, "json.log")))
				truths := readJSONLines[truth](t, filepath.Join(dir, "events.jsonl"))
				for i, r := range records {
					if text, ok := strings.CutSuffix(r.Log, "\n"); ok {
						records[i].Log = re.ReplaceAllString(text, v.to) + "\n"
					}
				}
				got := map[int]folded{}
				for _, stream := range []string{"stdout", "stderr"} {
					s := newFolder(t, nil).Stream("docker.app")
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
				for _, want := range truths {
					if g := got[want.First]; want.Ideal && !slices.Equal(g.Records, want.records()) {
						t.Errorf("%s: event %d %.60q: got records %v by %s, want %v", name, want.N, want.Text, g.Records, g.Rule, want.records())
					}
				}
			}
		})
	}
}

// records are the numbers of the event's records.
func (e *truth) records() []int {
	if e.Records != nil {
		return e.Records
	}
	var r []int
	for i := e.First; i <= e.Last; i++ {
		r = append(r, i)
	}
	return r
}
