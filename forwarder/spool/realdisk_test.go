package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// smallDisk is a real file system of its own, to fill and to break.
type smallDisk struct {
	t    *testing.T
	dir  string // where it is mounted
	back string // for ext4: the tmpfs that its image lies on
}

// newSmallDisk mounts a tmpfs, or ext4 on an image in a tmpfs. That takes root.
func newSmallDisk(t *testing.T, kind string) *smallDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system takes root")
	}
	d := &smallDisk{t: t, dir: filepath.Join(t.TempDir(), "m")}
	must(t, os.Mkdir(d.dir, 0o755))
	if kind == "tmpfs" {
		if out, err := mount("-t", "tmpfs", "-o", "size=24m", "fairlead-test", d.dir); err != nil {
			t.Skipf("no file system can be mounted here: %v: %s", err, out)
		}
		t.Cleanup(func() { d.unmountAll(d.dir) })
		return d
	}
	d.back = filepath.Join(t.TempDir(), "b")
	must(t, os.Mkdir(d.back, 0o755))
	if out, err := mount("-t", "tmpfs", "-o", "size=64m", "fairlead-test", d.back); err != nil {
		t.Skipf("no file system can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { d.unmountAll(d.back) })
	image := filepath.Join(d.back, "image")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, 48<<20))
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", "-O", "^has_journal", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	if out, err := mount("-o", "loop,errors=continue", image, d.dir); err != nil {
		t.Skipf("no loop device can be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { d.unmountAll(d.dir) })
	return d
}

func mount(args ...string) ([]byte, error) { return exec.Command("mount", args...).CombinedOutput() }

func (d *smallDisk) mount(args ...string) {
	d.t.Helper()
	if out, err := mount(args...); err != nil {
		d.t.Fatalf("mount %v: %v: %s", args, err, out)
	}
}

func (d *smallDisk) unmount(dir string) {
	var out []byte
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		// What another test starts holds all that is open here, from the fork to the exec.
		if out, err = exec.Command("umount", dir).CombinedOutput(); err == nil || !bytes.Contains(out, []byte("busy")) {
			break
		}
	}
	if err != nil {
		d.t.Errorf("umount %s: %v: %s", dir, err, out)
		_ = exec.Command("umount", "-l", dir).Run() // nothing is to stay behind
	}
}

// unmountAll unmounts also what a test that failed left above.
func (d *smallDisk) unmountAll(dir string) {
	d.unmount(dir)
	for left := true; left; {
		left = exec.Command("umount", dir).Run() == nil
	}
}

// fill leaves so many bytes free on the file system of dir.
func (d *smallDisk) fill(dir string, leave int64) {
	d.t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	must(d.t, err)
	defer f.Close()
	block := make([]byte, 16<<10)
	for {
		free, err := osDisk{}.free(dir)
		must(d.t, err)
		if free <= leave {
			return
		}
		if _, err := f.Write(block[:min(int64(len(block)), free-leave)]); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return
			}
			d.t.Fatal(err)
		}
	}
}

func (d *smallDisk) unfill(dir string) {
	d.t.Helper()
	must(d.t, os.Remove(filepath.Join(dir, "ballast")))
}

// delete removes a directory that is in use: under another name first, or what is made anew in it would be in the way.
func (d *smallDisk) delete(dir string) {
	d.t.Helper()
	must(d.t, os.Rename(dir, dir+".deleted"))
	must(d.t, os.RemoveAll(dir+".deleted"))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// traffic is a spool with a writer, which tries again like the reading loop, and a receiver that can be away.
type traffic struct {
	t      *testing.T
	s      *Spool
	cfg    Config
	log    *lockedBuffer
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	away    bool       // the receiver
	stop    bool       // the writer writes nothing new
	written int
	refused error // what the last Append answered
	arrived map[string]int
	lastErr error // of Next
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startTraffic(t *testing.T, cfg Config, d disk) *traffic {
	t.Helper()
	f := &traffic{t: t, cfg: cfg, log: &lockedBuffer{}, arrived: map[string]int{}}
	o := defaults(cfg)
	o.disk, o.segmentBytes = d, 256<<10
	var err error
	f.s, err = open(cfg, slog.New(slog.NewTextHandler(f.log, nil)), nil, o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.group.Go(func() { _ = f.s.Run(ctx) })
	f.group.Go(func() { f.write(ctx) })
	f.group.Go(func() { f.send(ctx) })
	t.Cleanup(f.end)
	return f
}

func (f *traffic) end() {
	f.cancel()
	f.group.Wait()
	kill(f.s)
}

func (f *traffic) write(ctx context.Context) {
	pad := strings.Repeat("x", 20<<10)
	for n := 0; ctx.Err() == nil; {
		f.mu.Lock()
		stop := f.stop
		f.mu.Unlock()
		var err error
		if !stop || f.behind() {
			body := fmt.Sprintf("%06d", n)
			if _, err = f.s.Append([]*Record{record(body+pad, 1, "k", body)}); err == nil {
				n++
			}
		}
		f.mu.Lock()
		f.written, f.refused = n, err
		f.mu.Unlock()
		pause(ctx, time.Millisecond)
	}
}

// behind reports whether the writer still has a record that was refused.
func (f *traffic) behind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused != nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (f *traffic) send(ctx context.Context) {
	for ctx.Err() == nil {
		f.mu.Lock()
		away := f.away
		f.mu.Unlock()
		if away {
			f.s.Reader().Rewind()
			pause(ctx, time.Millisecond)
			continue
		}
		frames, err := f.s.Reader().Next(nil, 16, 1<<20)
		f.mu.Lock()
		f.lastErr = err
		f.mu.Unlock()
		for _, fr := range frames {
			b := make([]byte, 6)
			if fr.Data != nil {
				copy(b, fr.Data)
			} else if _, err := fr.File.ReadAt(b, fr.Off); err != nil {
				f.t.Errorf("read frame %x: %v", fr.Seq, err)
			}
			f.mu.Lock()
			f.arrived[string(b)]++
			f.mu.Unlock()
		}
		if n := len(frames); n > 0 {
			if _, err := f.s.Ack(frames[n-1].Seq); err != nil {
				f.t.Errorf("ack: %v", err)
			}
			continue
		}
		pause(ctx, time.Millisecond)
	}
}

func (f *traffic) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *traffic) until(what string, so func() bool) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.t.Fatalf("never: %s; written %d, arrived %d, append %v, next %v, stats %+v\n%s", what, f.written, len(f.arrived), f.refused, f.lastErr, f.s.Stats(), f.log)
		}
	}
}

func (f *traffic) wrote(n int) func() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n += f.written
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.written >= n
	}
}

// settle lets everything arrive, and holds what did against what was written and what is counted as dropped.
func (f *traffic) settle() {
	f.t.Helper()
	f.until("it goes on", f.wrote(20))
	f.set(func() { f.stop, f.away = true, false })
	f.until("all is sent", func() bool { return !f.behind() && f.s.Stats().PendingFrames == 0 })
	st := f.s.Stats()
	balanced(f.t, f.s)
	f.mu.Lock()
	defer f.mu.Unlock()
	missing := 0
	for n := range f.written {
		if f.arrived[fmt.Sprintf("%06d", n)] == 0 {
			missing++
		}
	}
	if int64(missing) != st.Dropped+st.Lost || st.Lost != 0 {
		f.t.Errorf("%d of %d did not arrive, %d are counted as dropped, %d as lost\n%s", missing, f.written, st.Dropped, st.Lost, f.log)
	}
	if st.Full != "" {
		f.t.Errorf("still said to be full: %s", st.Full)
	}
	if f.cfg.WhenFull == WhenFullWait && st.Dropped > 0 {
		f.t.Errorf("%d dropped", st.Dropped)
	}
}

// TestRealDisk breaks a real file system under a spool at work. Whatever happens: the spool goes on without a restart, says
// meanwhile what is wrong, and loses nothing but what drop_oldest counts.
func TestRealDisk(t *testing.T) {
	type scene struct {
		disk    *smallDisk
		f       *traffic
		begin   func()
		end     func()
		why     string // Stats.Full while it lasts
		dropped bool   // drop_oldest drops
		blind   bool   // the free space is not told, as with a quota
		minFree size.Bytes
	}
	for _, c := range []struct {
		name, kind string
		set        func(*scene)
	}{
		{"at its bound", "tmpfs", func(s *scene) {
			s.why, s.dropped = "spool.max_bytes", true
			s.begin = func() {}
			s.end = func() { s.f.set(func() { s.f.away = false }) }
		}},
		{"min_free reached", "tmpfs", func(s *scene) {
			s.why, s.dropped, s.minFree = "spool.min_free", true, 4*size.MiB
			s.begin = func() { s.disk.fill(s.disk.dir, 4<<20) }
			s.end = func() { s.disk.unfill(s.disk.dir) }
		}},
		{"ENOSPC within a record, tmpfs", "tmpfs", func(s *scene) {
			s.why, s.dropped, s.blind = "no space left", true, true
			s.begin = func() { s.disk.fill(s.disk.dir, 52<<10) }
			s.end = func() { s.disk.unfill(s.disk.dir) }
		}},
		{"ENOSPC within a record, ext4", "ext4", func(s *scene) {
			s.why, s.dropped, s.blind = "no space left", true, true
			s.begin = func() { s.disk.fill(s.disk.dir, 52<<10) }
			s.end = func() { s.disk.unfill(s.disk.dir) }
		}},
		{"read-only for new files, and back", "tmpfs", func(s *scene) {
			s.why = "read-only file system"
			s.begin = func() {
				// Made beside it and then put over it: nobody may open a file to write while it is not read-only yet.
				over := s.disk.t.TempDir()
				s.disk.mount("--bind", s.disk.dir, over)
				s.disk.mount("-o", "remount,bind,ro", over)
				s.disk.mount("--bind", over, s.disk.dir)
				s.disk.unmount(over)
			}
			s.end = func() { s.disk.unmount(s.disk.dir) }
		}},
		{"directory deleted", "tmpfs", func(s *scene) {
			s.begin = func() { s.disk.delete(s.f.cfg.Dir) }
			s.end = func() {}
		}},
		{"directory deleted and recreated", "ext4", func(s *scene) {
			s.begin = func() {
				s.disk.delete(s.f.cfg.Dir)
				if err := os.Mkdir(s.f.cfg.Dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
					s.disk.t.Error(err)
				}
			}
			s.end = func() {}
		}},
		{"directory deleted, and no room for it", "tmpfs", func(s *scene) {
			s.why, s.blind = "no space left", true
			s.begin = func() {
				s.disk.fill(s.disk.dir, 8<<10)
				s.disk.delete(s.f.cfg.Dir)
			}
			s.end = func() { s.disk.unfill(s.disk.dir) }
		}},
	} {
		for _, whenFull := range []string{WhenFullWait, WhenFullDropOldest} {
			t.Run(c.name+"/"+whenFull, func(t *testing.T) {
				s := &scene{disk: newSmallDisk(t, c.kind)}
				c.set(s)
				cfg := Config{Dir: filepath.Join(s.disk.dir, "spool"), MaxBytes: 8 * size.MiB, MinFree: s.minFree, WhenFull: whenFull, SyncAfter: 100 * time.Millisecond}
				d := disk(osDisk{})
				if s.blind {
					d = &brokenDisk{freeBytes: 1 << 40}
				}
				s.f = startTraffic(t, cfg, d)
				s.f.until("it works", s.f.wrote(20))
				s.f.set(func() { s.f.away = true })
				s.f.until("something waits in it", s.f.wrote(40))
				s.begin()
				switch {
				case s.dropped && whenFull == WhenFullDropOldest:
					s.f.until("the oldest is dropped", func() bool { return s.f.s.Stats().Dropped > 0 })
					if !strings.Contains(s.f.log.String(), "the oldest events are dropped") || !strings.Contains(s.f.log.String(), cfg.Dir) {
						t.Errorf("the log does not name what was dropped:\n%s", s.f.log)
					}
				case s.why != "":
					s.f.until("it says what is wrong", func() bool { return strings.Contains(s.f.s.Stats().Full, s.why) })
					if log := s.f.log.String(); !strings.Contains(log, "reading waits") || !strings.Contains(log, cfg.Dir) {
						t.Errorf("the log does not say what is wrong, and where:\n%s", log)
					}
				default:
					s.f.until("it goes on", s.f.wrote(20))
				}
				s.end()
				s.f.settle()
			})
		}
	}
}

// TestRealDiskFailsToSync: writes that the page cache took and the disk did not are known by the sync; what a receiver acks
// meanwhile is fine, and SyncTo vouches again for what is written later.
func TestRealDiskFailsToSync(t *testing.T) {
	for _, whenFull := range []string{WhenFullWait, WhenFullDropOldest} {
		t.Run(whenFull, func(t *testing.T) {
			d := newSmallDisk(t, "ext4")
			cfg := Config{Dir: filepath.Join(d.dir, "spool"), MaxBytes: 8 * size.MiB, WhenFull: whenFull, SyncAfter: 100 * time.Millisecond}
			f := startTraffic(t, cfg, osDisk{})
			f.until("it works", f.wrote(20))
			f.set(func() { f.away = true })
			d.fill(d.back, 0) // the image cannot grow: writing back fails, which only a sync tells
			f.until("the disk fails", func() bool { return strings.Contains(f.log.String(), "sync of the spool failed") })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := f.s.SyncTo(ctx, f.s.Stats().LastSeq); !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("SyncTo: %v", err)
			}
			if st := f.s.Stats(); !strings.Contains(st.Failing, "sync of the spool failed") {
				t.Errorf("stats do not say so: %+v", st)
			}
			d.unfill(d.back)
			f.settle()
			f.set(func() { f.stop = false })
			f.until("it goes on", f.wrote(5))
			if err := f.s.SyncTo(ctx, f.s.Stats().LastSeq); err != nil {
				t.Errorf("SyncTo after the disk works again: %v", err)
			}
			f.until("nothing fails any more", func() bool { return f.s.Stats().Failing == "" })
		})
	}
}

// TestRealDiskTurnsReadOnly is ext4 after an error: every write fails until the volume is unmounted. The sender goes on.
func TestRealDiskTurnsReadOnly(t *testing.T) {
	d := newSmallDisk(t, "ext4")
	cfg := Config{Dir: filepath.Join(d.dir, "spool"), MaxBytes: 8 * size.MiB, WhenFull: WhenFullWait, SyncAfter: 100 * time.Millisecond}
	f := startTraffic(t, cfg, osDisk{})
	f.set(func() { f.away = true })
	f.until("something waits in it", f.wrote(60))
	d.mount("-o", "remount,errors=remount-ro", d.dir)
	dev, err := exec.Command("findmnt", "-no", "SOURCE", d.dir).Output()
	must(t, err)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(dev))), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Skipf("this kernel cannot be made to find an error: %v", err)
	}
	f.until("it says what is wrong", func() bool { return strings.Contains(f.s.Stats().Full, "read-only file system") })
	f.set(func() { f.away = false })
	f.until("all is sent", func() bool { return f.s.Stats().PendingFrames == 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.arrived) != f.written {
		t.Errorf("%d arrived of %d", len(f.arrived), f.written)
	}
}
