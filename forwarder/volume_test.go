package forwarder

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/size"
)

// smallDisk mounts a tmpfs, or ext4 on an image in a tmpfs. That takes root.
func smallDisk(t *testing.T, kind string, bytes size.Bytes) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a disk takes root")
	}
	mount := func(dir string, args ...string) {
		t.Helper()
		if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
			t.Skipf("mount %v: %v: %s", args, err, out)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	dir := t.TempDir()
	if kind == "tmpfs" {
		mount(dir, "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", int64(bytes)), "fairlead-test")
		return dir
	}
	back := t.TempDir()
	mount(back, "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", 2*int64(bytes)), "fairlead-test")
	image := filepath.Join(back, "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(bytes)+int64(bytes)/4); err != nil { // ext4 takes its share
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image).CombinedOutput(); err != nil {
		t.Skipf("mkfs.ext4: %v: %s", err, out)
	}
	mount(dir, "-o", "loop", image)
	return dir
}

// neighbour is the program beside fairlead: it writes numbered lines and rotates its log.
type neighbour struct {
	t       *testing.T
	path    string
	file    *os.File
	lines   int
	size    int64
	highest int64 // that the disk was ever filled to
	keep    int   // rotated files
}

// line is always of one length.
func (n *neighbour) line(i int) string {
	return fmt.Sprintf("line %09d %s", i, strings.Repeat("x", 480))
}

// write appends about so many bytes at 8 MB/s, rotating every each bytes; 0: never.
func (n *neighbour) write(bytes, each int64) {
	n.t.Helper()
	for end := n.size + bytes; n.size < end; {
		var b []byte
		for range 64 {
			b = append(append(b, n.line(n.lines)...), '\n')
			n.lines++
		}
		if n.file == nil {
			var err error
			if n.file, err = os.OpenFile(n.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
				n.t.Fatal(err)
			}
			n.t.Cleanup(func() { _ = n.file.Close() })
		}
		if _, err := n.file.Write(b); err != nil {
			n.t.Fatalf("the neighbour cannot write: %v", err)
		}
		before := n.size
		n.size += int64(len(b))
		if each > 0 && before/each != n.size/each {
			n.rotate()
		}
		n.look()
		time.Sleep(4 * time.Millisecond)
	}
}

func (n *neighbour) rotate() {
	_ = n.file.Close()
	n.file = nil
	for i := n.keep; i >= 0; i-- {
		from := n.path
		if i > 0 {
			from += "." + strconv.Itoa(i)
		}
		_ = os.Rename(from, n.path+"."+strconv.Itoa(i+1))
	}
}

func (n *neighbour) look() {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(n.path), &st); err != nil {
		n.t.Fatal(err)
	}
	n.highest = max(n.highest, int64(st.Blocks-st.Bfree)*st.Bsize)
}

// came is how many lines came, repeated ones too.
func (n *neighbour) came(l *lab) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got[n.path])
}

// all fails the test unless all lines came.
func (n *neighbour) all(l *lab) {
	n.t.Helper()
	if lines, _ := n.arrived(l); lines != n.lines {
		n.t.Errorf("%d of %d lines arrived", lines, n.lines)
	}
}

// arrived answers how many of the lines came, and how many bytes lie in those that did not.
func (n *neighbour) arrived(l *lab) (lines int, missing int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make([]bool, n.lines)
	for _, text := range l.got[n.path] {
		var i int
		if _, err := fmt.Sscanf(text, "line %d", &i); err != nil || i >= n.lines || text != n.line(i) {
			n.t.Fatalf("what came is no line: %.60q, %d bytes", text, len(text))
		}
		seen[i] = true
	}
	for i, s := range seen {
		if s {
			lines++
		} else {
			missing += int64(len(n.line(i))) + 1
		}
	}
	return lines, missing
}

// TestVolume has a sidecar and its neighbour share a disk of 22 MiB, of which 16 may be taken, spool included.
func TestVolume(t *testing.T) {
	const limit = 16 * size.MiB
	for _, kind := range []string{"tmpfs", "ext4"} {
		sidecar := func(t *testing.T) (*lab, *neighbour) {
			t.Parallel()
			disk := smallDisk(t, kind, 22*size.MiB)
			l := newLab(t)
			l.cfg.Spool.Dir = filepath.Join(disk, "fairlead", "spool")
			l.cfg.Sources.Containers.Enabled = false
			l.cfg.Sources.Files = []Files{{Path: filepath.Join(disk, "*.log"), Tag: "app", MaxBytes: limit, DeleteAcked: true}}
			return l, &neighbour{t: t, path: filepath.Join(disk, "app.log"), keep: 30}
		}
		within := func(t *testing.T, n *neighbour) {
			t.Helper()
			// What is written between two looks, on a machine that may be busy, and what ext4 has for itself.
			if n.highest > int64(limit)+3<<20 {
				t.Errorf("%v were taken at most, want %v", size.Bytes(n.highest), limit)
			}
			t.Logf("%d lines, %v taken at most", n.lines, size.Bytes(n.highest))
		}
		t.Run(kind+"/rotating", func(t *testing.T) {
			l, n := sidecar(t)
			l.start()
			n.write(22<<20, 1<<20)
			n.write(1<<20, 0)
			until(t, "all lines arrive", func() bool { return n.came(l) >= n.lines })
			n.all(l)
			until(t, "what was rotated is deleted", func() bool {
				left, _ := filepath.Glob(n.path + ".*")
				return len(left) == 0
			})
			within(t, n)
			l.balanced()
			if st := l.f.Status(); len(st.Volumes) != 1 || st.Volumes[0].LostBytes != 0 {
				t.Errorf("volumes: %+v", st.Volumes)
			}
		})
		t.Run(kind+"/one file for ever", func(t *testing.T) {
			l, n := sidecar(t)
			l.start()
			n.write(22<<20, 0)
			until(t, "all lines arrive", func() bool { return n.came(l) >= n.lines })
			n.all(l)
			within(t, n)
			l.stop()
			l.start() // in another life the file of holes is the one it was
			n.write(1<<20, 0)
			until(t, "the rest arrives", func() bool { return n.came(l) >= n.lines })
			n.all(l)
			l.mu.Lock()
			if got := len(l.got[n.path]); got != n.lines {
				t.Errorf("%d lines arrived, want %d: a restart must not repeat any", got, n.lines)
			}
			l.mu.Unlock()
		})
		t.Run(kind+"/receiver away", func(t *testing.T) {
			l, n := sidecar(t)
			l.recv.Kill()
			l.start()
			n.write(25<<20, 1<<20)
			within(t, n)
			if err := l.recv.Restart(); err != nil {
				t.Fatal(err)
			}
			n.write(1<<20, 0)
			last := n.lines - 1
			until(t, "the last line arrives", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				all := l.got[n.path]
				return len(all) > 0 && all[len(all)-1] == n.line(last)
			})
			lines, missing := n.arrived(l)
			lost := l.f.Status().Volumes[0].LostBytes
			if lost != missing || lost == 0 {
				t.Errorf("%d lines arrived, %d bytes of the others; %d bytes are counted as lost", lines, missing, lost)
			}
			l.balanced()
		})
	}
}
