package spool

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testConfig(dir string) Config {
	return Config{Dir: dir, MaxBytes: size.GiB, WhenFull: WhenFullWait, SyncAfter: 5 * time.Second}
}

// record makes a record whose frame is body and room for the id; marks are key, value, key, value...
func record(body string, events int, marks ...string) *Record {
	buf := append(make([]byte, HeaderBytes), body...)
	buf = append(buf, make([]byte, IDBytes)...)
	r := &Record{Frame: len(buf) - HeaderBytes, Events: events}
	for i := 0; i < len(marks); i += 2 {
		buf = AppendMark(buf, marks[i], []byte(marks[i+1]))
	}
	r.Buf = buf
	return r
}

func inputRecord(body string) *Record {
	return &Record{Buf: append(make([]byte, HeaderBytes), body...), Frame: len(body), Events: 1, Input: true}
}

// opened is a spool that is closed at the end of the test.
func opened(t testing.TB, cfg Config, change func(*options)) *Spool {
	t.Helper()
	o := defaults(cfg)
	if change != nil {
		change(&o)
	}
	s, err := open(cfg, quiet(), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(s) })
	return s
}

// kill ends a life as SIGKILL does: what was written is in the page cache.
func kill(s *Spool) {
	s.wr.Lock()
	defer s.wr.Unlock()
	s.abandon()
}

func mustAppend(t testing.TB, s *Spool, recs ...*Record) {
	t.Helper()
	if n, err := s.Append(recs); err != nil || n != len(recs) {
		t.Fatalf("append: %d of %d written, err %v", n, len(recs), err)
	}
}

// body returns the frame without its id.
func body(t testing.TB, f Frame) string {
	t.Helper()
	b := f.Data
	if b == nil {
		b = make([]byte, f.Len)
		if _, err := f.File.ReadAt(b, f.Off); err != nil {
			t.Fatalf("read frame %x: %v", f.Seq, err)
		}
	}
	if got, want := string(b[len(b)-16:]), fmt.Sprintf("%016x", f.Seq); got != want {
		t.Fatalf("frame %x ends in %q, want %q", f.Seq, got, want)
	}
	return string(b[:len(b)-IDBytes])
}

// drain takes all frames, acks them and returns their bodies.
func drain(t testing.TB, s *Spool) []string {
	t.Helper()
	var got []string
	for {
		frames, err := s.Reader().Next(nil, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(frames) == 0 {
			return got
		}
		for _, f := range frames {
			got = append(got, body(t, f))
		}
		if _, err := s.Ack(frames[len(frames)-1].Seq); err != nil {
			t.Fatal(err)
		}
	}
}

func balanced(t testing.TB, s *Spool) {
	t.Helper()
	st := s.Stats()
	if in, out := st.Recovered+st.Appended, st.Acked+st.PendingEvents+st.Dropped+st.SetAside+st.Lost; in != out {
		t.Fatalf("books do not balance: %d in, %d out: %+v", in, out, st)
	}
}

func segments(t testing.TB, dir, suffix string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d, want %d: %.200q, want %.200q", len(got), len(want), got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("item %d: got %.80q, want %.80q", i, got[i], want[i])
		}
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasPrefix(e.Name(), "lock") {
			continue
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), readFile(t, filepath.Join(from, e.Name())), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
