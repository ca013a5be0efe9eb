// Package testdisk makes disks for tests that fail as real ones do.
package testdisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bad is a disk whose sectors behind a place answer reads with EIO from some moment on: a loop device that reads its file past the
// page cache, and a file that is cut short.
type Bad struct {
	Dir   string // where it is mounted
	t     *testing.T
	image string
}

func NewBad(t *testing.T) *Bad {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a disk takes root")
	}
	home, err := os.MkdirTemp("/var/tmp", "fairlead-test-") // direct reads are not for tmpfs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	d := &Bad{t: t, Dir: filepath.Join(home, "m"), image: filepath.Join(home, "image")}
	for _, err := range []error{os.Mkdir(d.Dir, 0o700), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 32<<20)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Skipf("%s %v: %v: %s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("mkfs.ext4", "-q", "-F", "-b", "1024", "-O", "^has_journal", d.image)
	loop := run("losetup", "--show", "-f", "--direct-io=on", d.image)
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", loop).Run() })
	if on := run("losetup", "-n", "-O", "DIO", loop); on != "1" {
		t.Skip("the loop device does not read past the page cache here")
	}
	run("mount", loop, d.Dir)
	t.Cleanup(func() { _ = unix.Unmount(d.Dir, unix.MNT_DETACH) })
	return d
}

// Spoil has the bytes from off on in a file unreadable, and those of no other file in its folder. The function that it returns brings
// them back.
func (d *Bad) Spoil(path string, off int64) (back func()) {
	d.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	unix.Sync() // or nobody knows yet where on the disk they are
	others, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		d.t.Fatal(err)
	}
	highest := int64(0)
	for _, o := range others {
		highest = max(highest, slices.Max(append(d.places(o), 0)))
	}
	for try := range 100 { // the disk gives what is free where it likes
		end := path + "x"
		f, err := os.Create(end)
		if err != nil {
			d.t.Fatal(err)
		}
		err = unix.Fallocate(int(f.Fd()), 0, 0, int64(len(text)))
		if err == nil {
			_, err = f.Write(text)
		}
		if err := errors.Join(err, f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
			d.t.Skip("no place for a copy at the end of the disk: ", err)
		}
		places := d.places(end)
		if places[0] < highest || !slices.IsSorted(places) {
			if err := os.Rename(end, filepath.Join(d.Dir, fmt.Sprint("ballast", try))); err != nil {
				d.t.Fatal(err)
			}
			continue
		}
		image, err := os.ReadFile(d.image)
		if err := errors.Join(err, os.Rename(end, path), os.Truncate(d.image, places[off/blockBytes])); err != nil {
			d.t.Fatal(err)
		}
		return func() {
			f, err := os.OpenFile(d.image, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt(image[places[off/blockBytes]:], places[off/blockBytes])
			}
			if err := errors.Join(err, f.Close()); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	d.t.Skip("no place at the end of the disk")
	return nil
}

const blockBytes = 1024

// places are where on the disk the blocks of a file lie, in bytes.
func (d *Bad) places(path string) []int64 {
	d.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		return nil
	}
	var all []int64
	for n := int64(0); n*blockBytes < st.Size(); n++ {
		block := int32(n)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 1 /* FIBMAP */, uintptr(unsafe.Pointer(&block))); errno != 0 {
			d.t.Skip("FIBMAP: ", errno)
		}
		all = append(all, int64(block)*blockBytes)
	}
	return all
}
