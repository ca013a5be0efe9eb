package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// brokenDisk is a real disk whose operations fail when the test says so.
type brokenDisk struct {
	osDisk
	writeErr    error // writes fail after writeAfter bytes more
	writeAfter  int64
	truncateErr error
	syncErr     error
	createErr   error
	syncs       int
	freeBytes   int64
}

type brokenFile struct {
	file
	d *brokenDisk
}

func (d *brokenDisk) wrap(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return brokenFile{f, d}, nil
}

func (d *brokenDisk) create(path string) (file, error) {
	if d.createErr != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: d.createErr}
	}
	return d.wrap(d.osDisk.create(path))
}

func (d *brokenDisk) openAcked(path string) (file, error) { return d.wrap(d.osDisk.openAcked(path)) }

func (d *brokenDisk) free(path string) (int64, error) {
	if d.freeBytes > 0 {
		return d.freeBytes, nil
	}
	return d.osDisk.free(path)
}

func (f brokenFile) write(bufs [][]byte, off int64) (int64, error) {
	if f.d.writeErr == nil {
		return f.file.write(bufs, off)
	}
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	n := min(f.d.writeAfter, int64(len(all)))
	f.d.writeAfter -= n
	if n > 0 {
		if _, err := f.file.write([][]byte{all[:n]}, off); err != nil {
			return 0, err
		}
	}
	if n == int64(len(all)) {
		return n, nil
	}
	return n, &os.PathError{Op: "write", Err: f.d.writeErr}
}

func (f brokenFile) truncate(size int64) error {
	if f.d.truncateErr != nil {
		return f.d.truncateErr
	}
	return f.file.truncate(size)
}

func (f brokenFile) sync() error {
	f.d.syncs++
	if f.d.syncErr != nil {
		return f.d.syncErr
	}
	return f.file.sync()
}

// TestWriteFailsAfterEachByte breaks a write of three records at every length, for good or not, with the cut-off working or
// not. Whatever Append says is written arrives, now and after a kill, and nothing else.
func TestWriteFailsAfterEachByte(t *testing.T) {
	rec := func(i int) *Record { return record(fmt.Sprint("r", i), 1, "k", fmt.Sprint(i)) }
	total := int64(3 * len(rec(0).Buf))
	base := memoryDir(t)
	for _, errno := range []error{syscall.ENOSPC, syscall.EIO} {
		for _, truncateErr := range []error{nil, syscall.EIO} {
			for n := int64(0); n <= total; n += 1 + n%3 {
				dir := filepath.Join(base, fmt.Sprintf("%v-%v-%d", errno, truncateErr, n))
				d := &brokenDisk{truncateErr: truncateErr}
				s := opened(t, testConfig(dir), func(o *options) { o.disk = d })
				mustAppend(t, s, record("before", 1))
				d.writeErr, d.writeAfter = errno, n
				recs := []*Record{rec(0), rec(1), rec(2)}
				k, err := s.Append(recs)
				if n < total && err == nil {
					t.Fatalf("%s: no error", dir)
				}
				if errors.Is(err, ErrFull) != (errors.Is(errno, syscall.ENOSPC) && n < total) {
					t.Fatalf("%s: %v", dir, err)
				}
				if want := int(n / (total / 3)); k < want {
					t.Fatalf("%s: %d records kept, want %d", dir, k, want)
				}
				d.writeErr = nil
				mustAppend(t, s, recs[k:]...)
				mustAppend(t, s, record("after", 1))
				balanced(t, s)
				kill(s)
				s = opened(t, testConfig(dir), nil)
				if got := string(s.Marks()["k"]); got != "2" {
					t.Fatalf("%s: mark %q", dir, got)
				}
				equal(t, drain(t, s), []string{"before", "r0", "r1", "r2", "after"})
				kill(s)
				_ = os.RemoveAll(dir)
			}
		}
	}
}

func TestNewSegmentCannotBeMade(t *testing.T) {
	for _, errno := range []error{syscall.ENOSPC, syscall.EIO} {
		t.Run(errno.Error(), func(t *testing.T) {
			d := &brokenDisk{}
			dir := memoryDir(t)
			s := opened(t, testConfig(dir), func(o *options) { o.disk, o.segmentBytes = d, 300 })
			var want []string
			for i := range 40 {
				if i%4 == 0 {
					d.createErr = errno
				}
				b := fmt.Sprint(i)
				r := record(b, 1, "k", b)
				if _, err := s.Append([]*Record{r}); err != nil {
					if errors.Is(err, ErrFull) != errors.Is(errno, syscall.ENOSPC) {
						t.Fatal(err)
					}
					d.createErr = nil
					d.writeErr, d.writeAfter = errno, 10 // the head of the next is cut short
					if _, err := s.Append([]*Record{r}); err == nil {
						t.Fatal("no error")
					}
					d.writeErr = nil
					mustAppend(t, s, r)
				}
				want = append(want, b)
			}
			kill(s)
			s = opened(t, testConfig(dir), nil)
			if got := string(s.Marks()["k"]); got != "39" {
				t.Fatalf("mark %q", got)
			}
			equal(t, drain(t, s), want)
		})
	}
}

func TestDirectoryRemovedUnderUs(t *testing.T) {
	dir := filepath.Join(memoryDir(t), "spool")
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("before", 1, "k", "1"))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.step(s.now()) // notices
	mustAppend(t, s, record("after", 1, "k", "2"))
	equal(t, drain(t, s), []string{"before", "after"}) // the first through the descriptor that was still open
	if _, err := Open(testConfig(dir), quiet(), nil); !errors.Is(err, ErrLocked) {
		t.Fatalf("the new directory is not locked: %v", err)
	}
	mustAppend(t, s, record("third", 1, "k", "3"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, testConfig(dir), nil)
	if got := string(s.Marks()["k"]); got != "3" {
		t.Fatalf("mark %q", got)
	}
	equal(t, drain(t, s), []string{"third"})
}
