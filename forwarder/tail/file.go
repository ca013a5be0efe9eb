package tail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrRewritten says that a file no longer holds what was read of it: it was truncated, or written anew in place.
var ErrRewritten = errors.New("file was truncated or rewritten")

// File is one open file of a source. It belongs to the goroutine that reads it.
type File struct {
	ID    ID
	Path  string // where it was found
	Known int    // index of the Known it was matched with; -1 for a file read from its start
	// AfterGap is set on a file before which an unknown number of bytes was lost: none of the files there fitted what was
	// remembered.
	AfterGap bool

	mu      sync.Mutex // guards f, which Unpack replaces while a scan may look into it
	f       *os.File
	archive *os.File // what f was unpacked from: while it has a name, the text can be had again
	packed  bool     // a .gz that was not unpacked yet
	off     int64    // the next byte to read
	before  [MarkerBytes]byte
	// remembered is the marker that a packed file was found by: before it is unpacked, none can be made of its text.
	remembered Marker
	head       uint64 // fingerprint of its first bytes, to know its compressed copy by
	headN      int
	size       int64
	top        int64 // the largest size it was seen to have
	freed      int64 // up to here its space was given back
	nlink      uint32
	// rewritten is set for good once a file of which nothing was read was found to have been rewritten.
	rewritten bool
}

// Offset is where the next byte to be read lies.
func (f *File) Offset() int64 { return f.off }

// Size is the file's size when it was last looked at.
func (f *File) Size() int64 { return f.size }

// Deleted says whether the file had no name left when it was last looked at. An unpacked file goes by its archive.
func (f *File) Deleted() bool { return f.nlink == 0 }

// Look asks the kernel how large the file is and whether it still has a name.
func (f *File) Look() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.f.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", f.Path, err)
	}
	shrunk := st.Size < f.size
	f.size, f.nlink, f.top = st.Size, uint32(st.Nlink), max(f.top, st.Size)
	if f.archive != nil {
		if err := unix.Fstat(int(f.archive.Fd()), &st); err != nil {
			return fmt.Errorf("stat %s: %w", f.Path, err)
		}
		f.nlink = uint32(st.Nlink)
	}
	if f.packed {
		return nil
	}
	if f.off == 0 && f.archive == nil {
		// Nothing was read that Read could compare. While the reader waits for room, the file may be copied, truncated and grow again.
		if f.rewritten = f.rewritten || shrunk || f.headN > 0 && !f.begins(f.head, f.headN); !f.rewritten && f.headN < MarkerBytes {
			_ = f.fingerprint()
		}
	}
	if f.size < f.off || f.rewritten {
		return ErrRewritten
	}
	return nil
}

// begins says whether the first n bytes are those of a fingerprint.
func (f *File) begins(head uint64, n int) bool {
	var buf [MarkerBytes]byte
	got, err := pread(f.f, buf[:n], 0)
	return err != nil || got == n && sum(buf[:n]) == head
}

// Unread is how many bytes behind the offset were seen at any time.
func (f *File) Unread() int64 { return max(f.top-f.off, 0) }

// Blocks is the disk space that the file takes, in bytes.
func (f *File) Blocks() int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.f.Fd()), &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

// Read returns the bytes that follow the offset, as many as there are and as buf holds less MarkerBytes. They lie in buf. The
// same read fetches the bytes before the offset, so that a file rewritten in place is seen before a byte of it is taken for
// the continuation of what was read: ErrRewritten. At the end of the file it returns none.
func (f *File) Read(buf []byte) ([]byte, error) {
	n := int(min(f.off, MarkerBytes))
	got, err := pread(f.f, buf, f.off-int64(n))
	if err != nil {
		return nil, err
	}
	if got < n || !bytes.Equal(buf[:n], f.before[MarkerBytes-n:]) {
		return nil, ErrRewritten
	}
	if f.off == 0 && f.headN > 0 && f.archive == nil && (f.rewritten || got < f.headN || sum(buf[:f.headN]) != f.head) {
		return nil, ErrRewritten
	}
	f.size = max(f.size, f.off+int64(got-n))
	return buf[n:got], nil
}

// Advance moves the offset over bytes that Read returned, from their start on.
func (f *File) Advance(b []byte) {
	if f.off == 0 && len(b) > 0 {
		f.headN = min(len(b), MarkerBytes)
		f.head = sum(b[:f.headN])
	}
	f.off += int64(len(b))
	if len(b) >= MarkerBytes {
		copy(f.before[:], b[len(b)-MarkerBytes:])
		return
	}
	copy(f.before[:], f.before[len(b):])
	copy(f.before[MarkerBytes-len(b):], b)
}

// seek sets the offset, from the file's own bytes.
func (f *File) seek(off int64) error {
	n := int(min(off, MarkerBytes))
	got, err := pread(f.f, f.before[MarkerBytes-n:], off-int64(n))
	if err != nil {
		return err
	}
	if got < n {
		return fmt.Errorf("seek to %d in %s: %w", off, f.Path, ErrRewritten)
	}
	f.off = off
	return f.fingerprint()
}

// glance fingerprints the first bytes as they are now. It may be called by whoever scans.
func (f *File) glance() (head uint64, headN int, size int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st, err := statFile(f.f)
	if err != nil {
		return 0, 0, 0, err
	}
	var buf [MarkerBytes]byte
	if headN, err = pread(f.f, buf[:], 0); err != nil {
		return 0, 0, 0, err
	}
	if headN > 0 {
		head = sum(buf[:headN])
	}
	return head, headN, st.size, nil
}

// fingerprint takes the first bytes of a file that is not read from its start.
func (f *File) fingerprint() error {
	head, n, _, err := f.glance()
	if err == nil {
		f.head, f.headN = head, n
	}
	return err
}

// Marker makes the marker of the bytes before off. Before the offset it is made of what was read: the file may have been rewritten
// since, and a marker that fits the new text would have it skipped.
func (f *File) Marker(off int64) Marker {
	switch {
	case off == 0:
		return Marker{}
	case f.packed:
		return f.remembered
	case off == f.off:
		return Marker{Off: off, Sum: sum(f.before[MarkerBytes-min(off, MarkerBytes):])}
	}
	return markerAt(f.f, off)
}

// Close lets the file go.
func (f *File) Close() error {
	if f.archive != nil {
		_ = f.archive.Close()
	}
	return f.f.Close()
}
