package collector

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// archive writes a tar of members, each packed by itself: gzip and zstd may be strung together, so that a file cut behind any
// member becomes a whole archive with nothing but the end of the tar behind it.
type archive struct {
	to      io.Writer
	file    *os.File // where to is a file: it can be cut back to the last whole member; else nil
	packer  packer
	whole   int64 // bytes of whole members
	written int64
	dirs    map[string]bool
	err     error // of a write that could not be undone: nothing goes on
}

// packer is a gzip or zstd compressor.
type packer interface {
	io.WriteCloser
	Reset(io.Writer)
}

// Formats by the end of a file's name.
var formats = []struct{ suffix, format string }{{".tar.zst", "zstd"}, {".tzst", "zstd"}, {".tgz", "gzip"}, {".tar.gz", "gzip"}}

// Format answers gzip or zstd for the name of an archive.
func Format(name string) (string, error) {
	for _, f := range formats {
		if strings.HasSuffix(name, f.suffix) {
			return f.format, nil
		}
	}
	return "", fmt.Errorf("%q: the name is to end in .tgz, .tar.gz, .tzst or .tar.zst", name)
}

func newArchive(to io.Writer, format string) (*archive, error) {
	a := &archive{to: to, dirs: map[string]bool{}}
	a.file, _ = to.(*os.File)
	if a.file != nil {
		if info, err := a.file.Stat(); err != nil || !info.Mode().IsRegular() {
			a.file = nil
		}
	}
	var err error
	if format == "zstd" {
		a.packer, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderLevel(zstd.SpeedFastest))
	} else {
		a.packer, err = gzip.NewWriterLevel(nil, gzip.BestSpeed)
	}
	return a, err
}

// errFull says that the disk is full. What was whole before is in the file.
var errFull = errors.New("no space left for the archive")

const (
	reserve    = 512 << 10 // kept free behind what is written, so that the manifest and the end always find room
	spare      = 256 << 10 // kept free behind large members: the settings that come after a log are worth more than it
	largeBytes = 64 << 10
)

// add writes one member, whole or not at all.
func (a *archive) add(name string, at time.Time, size int64, body io.Reader) error {
	keep := int64(reserve)
	if size > largeBytes {
		keep += spare
	}
	return a.member(name, at, size, body, keep)
}

// addLast is add for what the reserve is for.
func (a *archive) addLast(name string, at time.Time, size int64, body io.Reader) error {
	return a.member(name, at, size, body, 0)
}

func (a *archive) member(name string, at time.Time, size int64, body io.Reader, keep int64) error {
	if a.err != nil {
		return a.err
	}
	if keep > 0 && !a.room(keep) {
		return errFull
	}
	var dirs []string
	err := a.pack(func(t *tar.Writer) error {
		for i, c := range name {
			if dir := name[:i]; c == '/' && !a.dirs[dir] {
				a.dirs[dir] = true
				dirs = append(dirs, dir)
				if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o700, ModTime: at, Format: tar.FormatPAX}); err != nil {
					return err
				}
			}
		}
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Clean(name), Mode: 0o600, Size: size, ModTime: at.Truncate(time.Second), Format: tar.FormatPAX}); err != nil {
			return err
		}
		if _, err := io.Copy(t, body); err != nil {
			return err
		}
		return t.Flush() // the padding, not the end of the tar
	})
	if err == nil && keep > 0 && !a.room(keep) { // it fits, and what is worth more would not
		err = syscall.ENOSPC
	}
	if err != nil { // they are cut off with it
		for _, dir := range dirs {
			delete(a.dirs, dir)
		}
	}
	return a.settle(err)
}

// room takes space behind what is written before it is needed, where the file system can.
func (a *archive) room(size int64) bool {
	if a.file == nil {
		return true
	}
	err := unix.Fallocate(int(a.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, a.written, size)
	return !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.EFBIG)
}

// end writes the end of the tar.
func (a *archive) end() error {
	if a.err != nil {
		return a.err
	}
	return a.settle(a.pack(func(t *tar.Writer) error { return t.Close() }))
}

func (a *archive) pack(write func(*tar.Writer) error) error {
	a.packer.Reset(counter{a})
	if err := write(tar.NewWriter(a.packer)); err != nil {
		return err
	}
	return a.packer.Close()
}

// settle cuts off what was written of a member that failed.
func (a *archive) settle(err error) error {
	if err == nil {
		a.whole = a.written
		return nil
	}
	full := errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
	if a.file == nil {
		a.err = err
		return err
	}
	if cut := a.file.Truncate(a.whole); cut != nil {
		a.err = errors.Join(err, cut)
		return a.err
	}
	if _, seek := a.file.Seek(a.whole, io.SeekStart); seek != nil {
		a.err = errors.Join(err, seek)
		return a.err
	}
	a.written = a.whole
	if full {
		return errFull
	}
	return err
}

// counter writes to the archive's output.
type counter struct{ a *archive }

func (c counter) Write(b []byte) (int, error) {
	n, err := c.a.to.Write(b)
	c.a.written += int64(n)
	return n, err
}
