package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/internal/size"
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
				if errors.Is(err, ErrFull) != (errno == syscall.ENOSPC && n < total) {
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
					if errors.Is(err, ErrFull) != (errno == syscall.ENOSPC) {
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

func TestFullSpoolWaits(t *testing.T) {
	cfg := testConfig(memoryDir(t))
	cfg.MaxBytes = 64 * size.KiB
	s := opened(t, cfg, func(o *options) { o.segmentBytes = 8 << 10 })
	body := strings.Repeat("x", 1000)
	n := 0
	for {
		k, err := s.Append([]*Record{record(body, 1), record(body, 1)})
		n += k
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 50 || n > 64 {
		t.Fatalf("full after %d frames", n)
	}
	if st := s.Stats(); st.Full == "" || st.PendingFrames != int64(n) {
		t.Fatalf("stats: %+v", st)
	}
	if got := len(drain(t, s)); got != n {
		t.Fatalf("%d frames", got)
	}
	s.step(s.now())
	mustAppend(t, s, record(body, 1))
	if st := s.Stats(); st.Full != "" || st.FullFor <= 0 || st.Bytes > 20<<10 {
		t.Fatalf("stats: %+v", st)
	}
	equal(t, drain(t, s), []string{body})

	huge := strings.Repeat("h", 100<<10)
	mustAppend(t, s, record(huge, 1)) // larger than a segment, and than the spool
	if _, err := s.Append([]*Record{record(body, 1)}); !errors.Is(err, ErrFull) {
		t.Fatalf("err %v", err)
	}
	equal(t, drain(t, s), []string{huge})
	balanced(t, s)
}

func TestDropOldest(t *testing.T) {
	cfg := testConfig(memoryDir(t))
	cfg.MaxBytes, cfg.WhenFull = 64*size.KiB, WhenFullDropOldest
	s := opened(t, cfg, func(o *options) { o.segmentBytes = 8 << 10 })
	pad := strings.Repeat("x", 1000)
	for i := range 500 {
		mustAppend(t, s, record(fmt.Sprintf("%04d%s", i, pad), 3, "k", fmt.Sprint(i)))
	}
	balanced(t, s)
	st := s.Stats()
	if st.Dropped != 3*(500-st.PendingFrames) || st.PendingFrames < 40 || st.Bytes > 64<<10 {
		t.Fatalf("stats: %+v", st)
	}
	dropped := 500 - int(st.PendingFrames)

	// Frames on their way are not dropped: the writer waits.
	frames, err := s.Reader().Next(nil, 1, 1)
	if err != nil || len(frames) != 1 || body(t, frames[0]) != fmt.Sprintf("%04d%s", dropped, pad) {
		t.Fatalf("%v, %v", frames, err)
	}
	for i := 0; ; i++ {
		if _, err := s.Append([]*Record{record(pad, 3)}); errors.Is(err, ErrFull) {
			break
		} else if err != nil || i > 100 {
			t.Fatalf("%d frames more, err %v", i, err)
		}
	}
	if got := body(t, frames[0]); got != fmt.Sprintf("%04d%s", dropped, pad) {
		t.Fatalf("frame on its way is now %q", got)
	}
	s.Reader().Rewind()
	before := s.Stats()
	mustAppend(t, s, record(pad, 3))
	mustAppend(t, s, record("last", 3))
	if after := s.Stats(); after.Dropped <= before.Dropped || after.AckedSeq <= before.AckedSeq {
		t.Fatalf("nothing dropped: %+v", after)
	}
	balanced(t, s)
	kill(s)

	s = opened(t, cfg, nil)
	got := drain(t, s)
	if got[len(got)-1] != "last" || got[0] == fmt.Sprintf("%04d%s", dropped, pad) {
		t.Fatalf("first %.10q, last %.10q", got[0], got[len(got)-1])
	}
}

func TestMinFree(t *testing.T) {
	d := &brokenDisk{freeBytes: 1 << 20}
	cfg := testConfig(memoryDir(t))
	cfg.MinFree = size.MiB
	s := opened(t, cfg, func(o *options) { o.disk = d })
	if _, err := s.Append([]*Record{record("a", 1)}); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "min_free") {
		t.Fatalf("err %v", err)
	}
	d.freeBytes = 2 << 20
	s.space.tried = false
	mustAppend(t, s, record("a", 1))
	equal(t, drain(t, s), []string{"a"})
}

// TestOpenOnFullDisk opens a spool when there is no room for the base: what is in it can be sent, and that makes room.
func TestOpenOnFullDisk(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("a", 1, "k", "a"))
	kill(s)
	d := &brokenDisk{createErr: syscall.ENOSPC}
	s = opened(t, testConfig(dir), func(o *options) { o.disk = d })
	if _, err := s.Append([]*Record{record("b", 1)}); !errors.Is(err, ErrFull) {
		t.Fatalf("err %v", err)
	}
	equal(t, drain(t, s), []string{"a"})
	s.step(s.now())
	kill(s)
	s = opened(t, testConfig(dir), func(o *options) { o.disk = d })
	d.createErr = nil
	mustAppend(t, s, record("b", 1, "b", "b"))
	equal(t, drain(t, s), []string{"b"})
	kill(s)
	s = opened(t, testConfig(dir), nil)
	if m := s.Marks(); string(m["k"]) != "a" || string(m["b"]) != "b" {
		t.Fatalf("marks %q", m)
	}
}

// FuzzRecover opens a directory with any bytes as segment and cursor: no panic, no hang, and the spool works afterwards. What was
// appended to a spool that had been damaged so is all there at the next start.
func FuzzRecover(f *testing.F) {
	dir := f.TempDir()
	s := opened(f, testConfig(dir), nil)
	mustAppend(f, s, record("zero", 1, "k", "0"), inputRecord("in"), record("one", 1, "k", "1"))
	kill(s)
	seg := readFile(f, segments(f, dir, segmentSuffix)[0])
	f.Add(seg, []byte{}, uint64(1))
	f.Add(append(seg, seg...), []byte("torn"), uint64(2))
	f.Add(append(make([]byte, 50), seg...), make([]byte, 12), uint64(3))
	f.Add([]byte(strings.Repeat("\xfa\x1d\x01\x00", 200)), []byte{}, uint64(4))
	base := memoryDir(f)
	n := 0
	f.Fuzz(func(t *testing.T, seg, acked []byte, seed uint64) {
		n++
		dir := filepath.Join(base, fmt.Sprint(os.Getpid(), "-", n))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		first := uint64(1) << 32
		if seed%5 == 0 {
			first = seed
		}
		for name, b := range map[string][]byte{segmentName(first): seg, ackedName: acked} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(testConfig(dir), quiet(), nil)
		if err != nil {
			return // sequence numbers used up, by a cursor or name
		}
		defer kill(s)
		if err := s.Inputs(func(uint64, []byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		drain(t, s)
		rng := rand.New(rand.NewPCG(seed, 0))
		var want []string
		for i := range 1 + rng.IntN(20) {
			b := strings.Repeat(fmt.Sprint(i), rng.IntN(3000))
			mustAppend(t, s, record(b, i, "k", b))
			want = append(want, b)
		}
		s.step(s.now()) // saves the cursor
		kill(s)
		if s, err = Open(testConfig(dir), quiet(), nil); err != nil {
			t.Fatal(err)
		}
		if got := string(s.Marks()["k"]); got != want[len(want)-1] {
			t.Fatalf("mark of %d bytes, want %d", len(got), len(want[len(want)-1]))
		}
		equal(t, drain(t, s), want)
		balanced(t, s)
	})
}
