package tail

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// world is a folder with a log in it and a chain that reads the log, as the reading loop does it.
type world struct {
	t     *testing.T
	path  string
	chain *Chain
	files []*File // taken, in reading order
	read  []string
	buf   []byte
	now   time.Time
}

func newWorld(t *testing.T, known ...Known) *world {
	path := filepath.Join(t.TempDir(), "app.log")
	return &world{t: t, path: path, chain: NewChain(path, known), buf: make([]byte, 64<<10), now: time.Unix(1e9, 0)}
}

// again is the next life of the reader: nothing is left of the last one but what it knew.
func (w *world) again(known ...Known) *world {
	for _, f := range w.files {
		_ = w.chain.Close(f)
	}
	return &world{t: w.t, path: w.path, chain: NewChain(w.path, known), buf: w.buf, now: w.now}
}

func (w *world) write(suffix string, lines ...string) {
	w.t.Helper()
	f, err := os.OpenFile(w.path+suffix, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	for _, l := range lines {
		if _, err := f.WriteString(l + "\n"); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) rename(from, to string) {
	w.t.Helper()
	if err := os.Rename(w.path+from, w.path+to); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) pack(suffix string) {
	w.t.Helper()
	text, err := os.ReadFile(w.path + suffix)
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Extra = []byte(`{"lastTime":"2026-11-21T09:11:33.888075547Z"}`)
	_, _ = z.Write(text)
	_ = z.Close()
	if err := os.WriteFile(w.path+suffix+".gz", b.Bytes(), 0o640); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Remove(w.path + suffix); err != nil {
		w.t.Fatal(err)
	}
}

// poll scans and reads everything there is.
func (w *world) poll() {
	w.t.Helper()
	if err := w.chain.Scan(w.now); err != nil {
		w.t.Fatal(err)
	}
	w.files = append(w.files, w.chain.Take()...)
	for i := 0; i < len(w.files); i++ {
		f := w.files[i]
		if err := f.Unpack(filepath.Dir(w.path), func() {}); err != nil {
			w.t.Fatal(err)
		}
		err := f.Look()
		var data []byte
		if err == nil {
			data, err = f.Read(w.buf)
		}
		if errors.Is(err, ErrRewritten) {
			w.chain.Truncated(f)
			if err := w.chain.Scan(w.now); err != nil {
				w.t.Fatal(err)
			}
			w.files = append(w.files, w.chain.Take()...)
			_ = w.chain.Close(f)
			w.files = append(w.files[:i], w.files[i+1:]...)
			i--
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		data = data[:bytes.LastIndexByte(data, '\n')+1]
		f.Advance(data)
		for line := range strings.Lines(string(data)) {
			w.read = append(w.read, strings.TrimSuffix(line, "\n"))
		}
	}
}

func (w *world) expect(want ...string) {
	w.t.Helper()
	if fmt.Sprint(w.read) != fmt.Sprint(want) {
		w.t.Errorf("got %q, want %q", w.read, want)
	}
	w.read = nil
}

func (w *world) known() []Known {
	var known []Known
	for _, f := range w.files {
		known = append(known, Known{ID: f.ID, Marker: f.Marker(f.Offset()), Resume: f.Offset()})
	}
	return known
}

func lines(from, to int) []string {
	var l []string
	for i := from; i < to; i++ {
		l = append(l, fmt.Sprintf("line %d of a log that is long enough to fill a marker with a few of its lines", i))
	}
	return l
}

func TestRenameRotation(t *testing.T) {
	w := newWorld(t)
	w.poll()
	w.expect()
	w.write("", lines(0, 3)...)
	w.poll()
	w.expect(lines(0, 3)...)
	w.write("", lines(3, 5)...)
	w.rename("", ".1")
	w.write("", lines(5, 7)...)
	w.write(".1", "late")
	w.poll()
	w.expect(append(append(lines(3, 5), "late"), lines(5, 7)...)...)
	w.rename(".1", ".2")
	w.rename("", ".1")
	w.poll()
	w.expect()
	w.write("", "new")
	w.poll()
	w.expect("new")
}

func TestSeveralRotationsBetweenTwoLooks(t *testing.T) {
	w := newWorld(t)
	w.write("", lines(0, 3)...)
	w.poll()
	w.expect(lines(0, 3)...)
	for i := range 3 {
		for n := i + 1; n > 0; n-- {
			from := fmt.Sprintf(".%d", n-1)
			if n == 1 {
				from = ""
			}
			w.rename(from, fmt.Sprintf(".%d", n))
		}
		w.write("", lines(10*i, 10*i+3)...)
	}
	w.poll()
	w.expect(append(append(lines(0, 3), lines(10, 13)...), lines(20, 23)...)...)
}

func TestPackedWhileHeld(t *testing.T) {
	w := newWorld(t)
	w.write("", lines(0, 8)...)
	w.poll()
	w.rename("", ".1")
	w.write("", "next")
	w.pack(".1")
	w.poll()
	w.expect(append(lines(0, 8), "next")...)
}

func TestPackedWhileNotLooking(t *testing.T) {
	w := newWorld(t)
	w.write("", lines(0, 8)...)
	w.poll()
	w.expect(lines(0, 8)...)
	w.rename("", ".1") // three rotations, all packed: the two that we never opened must be read, the one we hold must not
	w.pack(".1")
	w.rename(".1.gz", ".2.gz")
	w.write("", lines(20, 25)...)
	w.rename("", ".1")
	w.pack(".1")
	w.rename(".2.gz", ".3.gz")
	w.rename(".1.gz", ".2.gz")
	w.write("", lines(30, 35)...)
	w.rename("", ".1")
	w.pack(".1")
	w.write("", "live")
	w.poll()
	w.expect(append(append(lines(20, 25), lines(30, 35)...), "live")...)
}

func TestRotatedWhileDown(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed %v", packed), func(t *testing.T) {
			w := newWorld(t)
			w.write(".1", "done long ago")
			w.write("", lines(0, 8)...)
			w.poll()
			w.expect(append([]string{"done long ago"}, lines(0, 8)...)...)
			known := w.known()[1:]
			w.write("", lines(8, 10)...)
			w.rename(".1", ".3")
			w.rename("", ".2")
			w.write(".1", lines(10, 12)...)
			w.write("", lines(12, 13)...)
			if packed {
				w.pack(".3")
				w.pack(".2")
				w.pack(".1")
			}
			w = w.again(known...)
			w.poll()
			w.expect(lines(8, 13)...)
		})
	}
}

func TestRotatedAwayWhileDown(t *testing.T) {
	w := newWorld(t)
	w.write("", lines(0, 8)...)
	w.poll()
	known := w.known()
	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w = w.again(known...)
	w.write("", lines(20, 22)...)
	w.poll()
	w.expect(lines(20, 22)...)
	if !w.files[0].AfterGap {
		t.Error("the gap was not noticed")
	}
}

// A file with the inode of one that was read, but other content, must be read from its start.
func TestInodeReused(t *testing.T) {
	w := newWorld(t)
	w.write("", lines(0, 8)...)
	w.poll()
	known := w.known()
	w = w.again(known...)
	if err := os.WriteFile(w.path, []byte(strings.Join(lines(100, 120), "\n")+"\n"), 0o644); err != nil { // truncates in place: same inode
		t.Fatal(err)
	}
	w.poll()
	w.expect(lines(100, 120)...)
}

func TestTruncated(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int // lines written after the cut: fewer and more than before it
	}{{"shorter", 3}, {"longer", 30}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write("", lines(0, 10)...)
			w.poll()
			w.expect(lines(0, 10)...)
			if err := os.Truncate(w.path, 0); err != nil {
				t.Fatal(err)
			}
			w.write("", lines(50, 50+c.n)...)
			w.poll()
			w.expect(lines(50, 50+c.n)...)
		})
	}
}

// logrotate's copytruncate: what was written between our last look and the copy stands in the copy only.
func TestCopyTruncate(t *testing.T) {
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed %v", packed), func(t *testing.T) {
			w := newWorld(t)
			w.write(".1", "an older copy, done")
			w.write("", lines(0, 10)...)
			w.poll()
			w.read = nil
			w.write("", lines(10, 14)...)
			w.rename(".1", ".2")
			text, err := os.ReadFile(w.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(w.path+".1", text, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(w.path, 0); err != nil {
				t.Fatal(err)
			}
			if packed {
				w.pack(".1")
			}
			w.write("", lines(14, 16)...)
			w.poll()
			w.expect(lines(10, 16)...)
		})
	}
}

func TestDeletedFolder(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(filepath.Dir(w.path), "container")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.path = filepath.Join(dir, "x-json.log")
	w.chain = NewChain(w.path, nil)
	w.write("", lines(0, 2)...)
	if err := w.chain.Scan(w.now); err != nil {
		t.Fatal(err)
	}
	w.write("", lines(2, 4)...)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.poll()
	w.expect(lines(0, 4)...)
	if got := w.chain.State(); got != NoFolder {
		t.Errorf("state %v, want NoFolder", got)
	}
	if !w.files[0].Deleted() {
		t.Error("the file is not known as deleted")
	}
}

func TestSymlinkRetargeted(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Dir(w.path)
	link := filepath.Join(dir, "current")
	w.write(".20261120", lines(0, 3)...)
	if err := os.Symlink(w.path+".20261120", link); err != nil {
		t.Fatal(err)
	}
	w.chain = NewChain(link, nil)
	w.poll()
	w.expect(lines(0, 3)...)
	w.write(".20261120", "last")
	w.write("-other", "first")
	_ = os.Remove(link)
	if err := os.Symlink(w.path+"-other", link); err != nil {
		t.Fatal(err)
	}
	w.poll()
	w.expect("last", "first")
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		file string
		want bool
	}{
		{"app.log.1", true}, {"app.log.12.gz", true}, {"app.log-20261121", true}, {"app.log-20261121.gz", true}, {"app.log.2026-11-21-15", true},
		{"app.log", false}, {"app.log.gz", false}, {"app.log.bak", false}, {"app.log.0", false}, {"app.log2", false}, {"other.log.1", false},
	} {
		if got := Sibling("app.log", c.file); got != c.want {
			t.Errorf("Sibling(app.log, %s) = %v", c.file, got)
		}
	}
}

// A file that we opened as the live one is rotated and packed before the scan comes to its new name: it must not count as another.
func TestPackedFormOfAnOpenFileIsTheSame(t *testing.T) {
	w := newWorld(t)
	w.write("", lines(0, 8)...)
	live, ok, err := w.chain.open(name{path: w.path}, w.now)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer live.f.Close()
	w.rename("", ".1")
	w.pack(".1")
	packed, ok, err := w.chain.open(name{path: w.path + ".1.gz", packed: true, age: 1}, w.now)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer packed.f.Close()
	if !packed.same(live) {
		t.Error("not known as the same file")
	}
	w.write(".2", lines(1, 9)...)
	other, ok, err := w.chain.open(name{path: w.path + ".2", age: 2}, w.now)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer other.f.Close()
	if packed.same(other) {
		t.Error("another file of the same size was taken for it")
	}
}
