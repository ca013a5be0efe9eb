package tail

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// openLive opens a log as a chain does and reads all of it.
func openLive(t *testing.T, path string) (*Chain, *File) {
	t.Helper()
	c := NewChain(path, nil)
	if err := c.Scan(time.Now()); err != nil {
		t.Fatal(err)
	}
	files := c.Take()
	if len(files) == 0 {
		t.Fatal("no file")
	}
	f := files[len(files)-1]
	t.Cleanup(func() { _ = f.Close() })
	return c, f
}

func readAll(t *testing.T, f *File) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		b, err := f.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			return
		}
		f.Advance(b)
	}
}

func manyLines(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "line %d %s\n", i, strings.Repeat("y", i%300))
	}
	return b.Bytes()
}

// TestFreeUpTo: the space is back, nothing but whole lines is gone, and the file is still known for what it is.
func TestFreeUpTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	text := manyLines(10000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, f := openLive(t, path)
	readAll(t, f)
	before := f.Blocks()
	freed, err := f.FreeUpTo(f.Offset())
	if err != nil {
		t.Skipf("the file system of %s knows no holes: %v", path, err)
	}
	if freed < int64(len(text))*9/10 || before-f.Blocks() != freed {
		t.Errorf("freed %d of %d bytes, the file takes %d instead of %d", freed, len(text), f.Blocks(), before)
	}
	if again, err := f.FreeUpTo(f.Offset()); again != 0 || err != nil {
		t.Errorf("a second time: %d, %v", again, err)
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.Split(text, []byte("\n"))
	for _, l := range bytes.Split(now, []byte("\n")) {
		if l = bytes.TrimLeft(l, "\x00"); !slices.ContainsFunc(whole, func(w []byte) bool { return bytes.Equal(w, l) }) {
			t.Fatalf("a line was torn: %q", l)
		}
	}
	more := []byte("one more\n")
	w, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(more); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if b, err := f.Read(make([]byte, 4<<10)); err != nil || !bytes.Equal(b, more) {
		t.Errorf("read on: %q, %v", b, err)
	}
	known := Known{ID: f.ID, Marker: f.Marker(f.Offset()), Resume: f.Offset()}
	c := NewChain(path, []Known{known})
	if err := c.Scan(time.Now()); err != nil {
		t.Fatal(err)
	}
	again := c.Take()[0]
	defer func() { _ = again.Close() }()
	if again.Known != 0 || again.Offset() != f.Offset() {
		t.Errorf("in another life it is %d at %d, want 0 at %d", again.Known, again.Offset(), f.Offset())
	}
}

// TestSkipTo: reading goes on at the begin of a line, and whoever reads anew finds zeros before it and no torn line.
func TestSkipTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	text := manyLines(10000)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, f := openLive(t, path)
	to, err := f.SkipTo(500_000)
	if err != nil {
		t.Skipf("the file system of %s knows no holes: %v", path, err)
	}
	if to < 500_000 || to > 501_000 || text[to-1] != '\n' || f.Offset() != to {
		t.Errorf("skipped to %d, offset %d", to, f.Offset())
	}
	if b, err := f.Read(make([]byte, 8<<10)); err != nil || !bytes.HasPrefix(text[to:], b) {
		t.Errorf("read on: %.80q, %v", b, err)
	}
	now, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(bytes.TrimLeft(now, "\x00"), text[to:]) {
		t.Errorf("who reads anew does not find what is behind the hole and no more: %v", err)
	}
}

// TestRotatedFiles: what was read to its end is told from what was not, and only the very file is deleted.
func TestRotatedFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path+".2", "two\n")
	write(path+".1", "one\n")
	write(path, "live\n")
	c := NewChain(path, nil)
	if err := c.Scan(time.Now()); err != nil {
		t.Fatal(err)
	}
	files := c.Take()
	for _, f := range files {
		readAll(t, f)
	}
	if err := c.Close(files[0]); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files[1].Close(); _ = files[2].Close() }()
	rotated, err := c.Rotated()
	if err != nil || len(rotated) != 2 || !rotated[0].Done || rotated[0].Held || rotated[1].Done || !rotated[1].Held {
		t.Fatalf("rotated: %+v, %v", rotated, err)
	}
	if err := os.Rename(path+".2", path+".3"); err != nil {
		t.Fatal(err)
	}
	write(path+".2", "another\n")
	if freed, err := rotated[0].Remove(); freed != 0 || err != nil {
		t.Errorf("another file was deleted in its place: %d, %v", freed, err)
	}
	if rotated, err = c.Rotated(); err != nil || len(rotated) != 3 || !rotated[0].Done || rotated[1].Done {
		t.Fatalf("after a rename: %+v, %v", rotated, err)
	}
	if freed, err := rotated[0].Remove(); freed == 0 || err != nil {
		t.Errorf("not deleted: %d, %v", freed, err)
	}
	if left, _ := filepath.Glob(path + ".*"); !slices.Equal(left, []string{path + ".1", path + ".2"}) {
		t.Errorf("left: %v", left)
	}
}
