// Package tail finds the files of a log source, knows each by what it is rather than by its name, and reads its bytes. Which
// files there are (Chain), what bytes they hold (File) and when to look (Watcher) are three separate things; what the bytes
// mean is not known here.
package tail

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/nowait"
)

// ID is what a file is beyond its name. An inode number alone does not do: ext4 gives a deleted file's inode to the very next
// file.
type ID struct {
	Dev   uint64
	Ino   uint64
	Birth int64 // Unix nanoseconds; 0 where the file system keeps no birth time
}

func (id ID) String() string { return fmt.Sprintf("%x-%x-%x", id.Dev, id.Ino, id.Birth) }

// stat is what one statx tells.
type stat struct {
	id      ID
	size    int64
	mtime   int64
	blocks  int64 // in bytes
	nlink   uint32
	regular bool
}

func statFile(f *os.File) (stat, error) {
	s, err := statAt(int(f.Fd()), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return stat{}, fmt.Errorf("statx %s: %w", f.Name(), err)
	}
	return s, nil
}

// statPath does not follow a symlink.
func statPath(path string) (stat, error) {
	return statAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
}

func statAt(fd int, path string, flags int) (stat, error) {
	var stx unix.Statx_t
	const want = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(fd, path, flags, want, &stx); err != nil {
		return stat{}, err
	}
	s := stat{
		id:      ID{Dev: unix.Mkdev(stx.Dev_major, stx.Dev_minor), Ino: stx.Ino},
		size:    int64(stx.Size),
		mtime:   stx.Mtime.Sec*1e9 + int64(stx.Mtime.Nsec),
		blocks:  int64(stx.Blocks) * 512,
		nlink:   stx.Nlink,
		regular: stx.Mode&unix.S_IFMT == unix.S_IFREG,
	}
	if stx.Mask&unix.STATX_BTIME != 0 {
		s.id.Birth = stx.Btime.Sec*1e9 + int64(stx.Btime.Nsec)
	}
	return s, nil
}

// MarkerBytes is how many bytes before an offset a Marker covers at most.
const MarkerBytes = 256

// Marker is a fingerprint of the bytes before an offset. Only where it fits may anything before the offset be skipped: a reused
// inode, a truncated and rewritten file and another file under the old name are told by it.
type Marker struct {
	Off int64  // the offset it stands before
	Sum uint64 // 0 where Off is 0
	// Unsure is set where the bytes could not be read when the marker was made. It fits nothing.
	Unsure bool
}

func sum(b []byte) uint64 {
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:]) | 1 // never 0, which means no bytes
}

// markerAt makes the marker of what f holds before off.
func markerAt(f *os.File, off int64) Marker {
	if off == 0 {
		return Marker{}
	}
	var buf [MarkerBytes]byte
	b := buf[:min(off, MarkerBytes)]
	if n, err := pread(f, b, off-int64(len(b))); err != nil || n != len(b) {
		return Marker{Off: off, Unsure: true}
	}
	return Marker{Off: off, Sum: sum(b)}
}

// fits says whether f holds before m.Off what the marker was made of.
func (m Marker) fits(f *os.File) bool {
	if m.Unsure {
		return false
	}
	return markerAt(f, m.Off) == m
}

// pread fills b from off as far as the file goes.
func pread(f *os.File, b []byte, off int64) (int, error) {
	n, err := nowait.Pread(f, b, off)
	if err != nil {
		return 0, fmt.Errorf("read %s at %d: %w", f.Name(), off, err)
	}
	return n, nil
}
