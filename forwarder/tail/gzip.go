package tail

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// Packed says whether Unpack must be called before the file is read.
func (f *File) Packed() bool { return f.packed }

// Unpack decompresses a rotated file into a nameless file in dir and goes on with that, so that everything else reads it like
// any other; it is gone when closed. The space it takes is that of the text, for one file at a time; step is called as it grows. A
// damaged archive gives what can be read of it and an error that wraps ErrDamaged; the file is usable then.
func (f *File) Unpack(dir string, step func()) error {
	if !f.packed {
		return nil
	}
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	var plain *os.File
	if err == nil {
		plain = os.NewFile(uintptr(fd), f.Path)
	} else { // a file system without nameless files
		if plain, err = os.CreateTemp(dir, "unpack-*"); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Path, err)
		}
		_ = os.Remove(plain.Name())
	}
	n, err := unpack(plain, f.f, step)
	if err != nil && !errors.Is(err, ErrDamaged) {
		_ = plain.Close()
		return fmt.Errorf("unpack %s: %w", f.Path, err)
	}
	f.mu.Lock()
	f.f, f.archive, f.packed, f.size = plain, f.f, false, n
	f.mu.Unlock()
	if f.off > 0 {
		if serr := f.seek(f.off); serr != nil {
			return serr
		}
	}
	return err
}

// ErrDamaged marks an archive that breaks off or fails its checksum.
var ErrDamaged = errors.New("damaged gzip file")

func unpack(dst io.Writer, src *os.File, step func()) (int64, error) {
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(src, 64<<10))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	w := &unpacked{w: dst, step: step}
	n, err := io.Copy(w, z)
	switch {
	case w.err != nil:
		return n, w.err
	case err != nil:
		return n, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, nil
}

// unpacked tells an error of the writer from one of the reader, which io.Copy does not.
type unpacked struct {
	w    io.Writer
	step func()
	err  error
}

func (w *unpacked) Write(p []byte) (int, error) {
	w.step()
	n, err := w.w.Write(p)
	w.err = err
	return n, err
}

// packedFits says whether the text in the archive f holds before m.Off what the marker was made of. It decompresses as far as
// that.
func packedFits(f *os.File, m Marker) bool {
	if m.Unsure || m.Off == 0 {
		return false
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 64<<10))
	if err != nil {
		return false
	}
	n := min(m.Off, MarkerBytes)
	if _, err := io.CopyN(io.Discard, z, m.Off-n); err != nil {
		return false
	}
	var buf [MarkerBytes]byte
	if _, err := io.ReadFull(z, buf[:n]); err != nil {
		return false
	}
	return sum(buf[:n]) == m.Sum
}

// packedHead fingerprints the first n bytes of the text in the archive f and reads the text's size modulo 2^32 off its end.
func packedHead(f *os.File, n int) (head uint64, size uint32, ok bool) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, false
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 4<<10))
	if err != nil {
		return 0, 0, false
	}
	var buf [MarkerBytes]byte
	if _, err := io.ReadFull(z, buf[:n]); err != nil {
		return 0, 0, false
	}
	var end [4]byte
	st, err := f.Stat()
	if err != nil || st.Size() < 18 {
		return 0, 0, false
	}
	if _, err := f.ReadAt(end[:], st.Size()-4); err != nil {
		return 0, 0, false
	}
	return sum(buf[:n]), binary.LittleEndian.Uint32(end[:]), true
}
