package tail

import (
	"os"
	"path/filepath"
	"testing"
)

// An archive that was found but not read yet, or read a few bytes of, is told by its place in the order: were it taken for done
// because a newer file is known, all of it would be lost.
func TestArchiveKnownByItsPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		read int // lines of the archive read by the former life
	}{{"not read", 0}, {"little read", 2}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.write(".2", "done long ago, by a life before the last")
			short := []string{"one", "two", "three", "four"}
			w.write(".1", short...)
			w.write("", lines(4, 6)...)
			if err := w.chain.Scan(w.now); err != nil {
				t.Fatal(err)
			}
			w.files = w.chain.Take()
			off := int64(0)
			for _, l := range short[:c.read] {
				off += int64(len(l)) + 1
			}
			known := []Known{
				{ID: w.files[1].ID, Marker: w.files[1].Marker(off), Resume: off},
				{ID: w.files[2].ID},
			}
			w.pack(".2")
			w.pack(".1")
			w = w.again(known...)
			w.poll()
			want := append(append([]string(nil), short[c.read:]...), lines(4, 6)...)
			w.expect(want...)
		})
	}
}

// The same where it was an archive already when the former life met it.
func TestUnreadArchiveIsNotTakenForDone(t *testing.T) {
	w := newWorld(t)
	w.write(".1", lines(0, 4)...)
	w.pack(".1")
	w.write("", lines(4, 6)...)
	if err := w.chain.Scan(w.now); err != nil {
		t.Fatal(err)
	}
	w.files = w.chain.Take()
	known := []Known{{ID: w.files[0].ID}, {ID: w.files[1].ID}}
	w = w.again(known...)
	w.poll()
	w.expect(lines(0, 6)...)
}

// The unpacked text is nameless, but as long as the archive has a name it can be read again.
func TestUnpackedArchiveIsNotDeleted(t *testing.T) {
	w := newWorld(t)
	w.write(".1", lines(0, 4)...)
	w.pack(".1")
	w.write("", "live")
	w.poll()
	f := w.files[0]
	for range 2 {
		if err := f.Look(); err != nil {
			t.Fatal(err)
		}
	}
	if f.Deleted() {
		t.Error("the archive is there, and its text counts as deleted")
	}
	if err := os.Remove(w.path + ".1.gz"); err != nil {
		t.Fatal(err)
	}
	if err := f.Look(); err != nil {
		t.Fatal(err)
	}
	if !f.Deleted() {
		t.Error("the archive was deleted, and its text does not count as the only copy")
	}
}

// A log was deleted and its folder later, and no hint told of the folder.
func TestFolderGoneAfterItsLog(t *testing.T) {
	w := newWorld(t)
	w.path = filepath.Join(filepath.Dir(w.path), "container", "x-json.log")
	if err := os.Mkdir(filepath.Dir(w.path), 0o700); err != nil {
		t.Fatal(err)
	}
	w.chain = NewChain(w.path, nil)
	w.write("", lines(0, 2)...)
	w.poll()
	_ = os.Remove(w.path)
	w.poll()
	if got := w.chain.State(); got != Missing {
		t.Fatalf("state %v, want Missing", got)
	}
	_ = os.Remove(filepath.Dir(w.path))
	if !w.chain.Moved() {
		t.Error("the folder went and Moved does not say so: no poll would ever end the source")
	}
	w.poll()
	if got := w.chain.State(); got != NoFolder {
		t.Errorf("state %v, want NoFolder", got)
	}
	if w.chain.Moved() {
		t.Error("Moved again though nothing changed")
	}
}
