package spool

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/format anew: other versions of fairlead must be able to read it")

// A spool's files are read by other versions of fairlead: by a newer one after an upgrade, by an older one after a roll-back. So their bytes do
// not change, and what the first version wrote is read.
func TestFormat(t *testing.T) {
	golden := filepath.Join("testdata", "format")
	dir := filepath.Join(t.TempDir(), "spool")
	s := opened(t, testConfig(dir), func(o *options) {
		o.life = func() uint64 { return 0x0123456789abcdef }
		o.now = func() time.Time { return time.UnixMilli(1767225600123) }
	})
	mustAppend(t, s,
		record("first frame", 1, "/var/log/one\x00801-2a-0", "position 1"),
		record("second frame, of three events", 3, "/var/log/one\x00801-2a-0", "position 2", "other", "kept"),
		inputRecord("as received"),
		record(strings.Repeat("third ", 20), 2, "/var/log/one\x00801-2a-0", "", "last", "1"))
	frames, err := s.Reader().Next(nil, 1, 1<<20)
	if err != nil || len(frames) != 1 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if _, err := s.Ack(frames[0].Seq); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := filesOf(t, dir)
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(golden, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(golden, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := filesOf(t, golden)
	for name, text := range want {
		if !bytes.Equal(files[name], text) {
			t.Errorf("%s:\n%x, the first version wrote\n%x", name, files[name], text)
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d files, the first version wrote %d", len(files), len(want))
	}

	// What is read goes by the bytes in the tree, not by what was just written.
	from := t.TempDir()
	for name, text := range want {
		if err := os.WriteFile(filepath.Join(from, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := opened(t, testConfig(from), nil)
	frames, err = old.Reader().Next(nil, 10, 1<<20)
	if err != nil || len(frames) != 2 {
		t.Fatalf("%d frames of the first version that are not acked, want 2; %v", len(frames), err)
	}
	for i, w := range []string{"second frame, of three events", strings.Repeat("third ", 20)} {
		if got := body(t, frames[i]); got != w {
			t.Errorf("frame %d: %q, want %q", i, got, w)
		}
	}
	marks := old.Marks()
	if len(marks) != 2 || string(marks["other"]) != "kept" || string(marks["last"]) != "1" {
		t.Errorf("marks %q", marks)
	}
}

// filesOf are the files of a spool, but for its lock.
func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if e.Name() == "lock" || e.IsDir() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = text
	}
	return files
}
