package tail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Rotated is a rotated file of a chain as it stands on disk.
type Rotated struct {
	Path   string
	ID     ID
	Blocks int64 // disk space that it takes, in bytes
	Held   bool  // opened, and not let go yet
	Done   bool  // read to its end and let go, in this life or an earlier one, and not grown since
	// Was is the identity it was read under: its own, or that of the file it was packed from.
	Was ID
}

// Rotated lists the rotated files of the chain, oldest first, without the live one.
func (c *Chain) Rotated() ([]Rotated, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := c.Path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	names, err := chain(path, c.Upward)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	siblings := make([]Rotated, 0, len(names))
	for _, n := range slices.Backward(names) {
		st, err := statPath(n.path)
		if err != nil || !st.regular {
			continue // renamed a moment ago: the next look finds it
		}
		sib := Rotated{Path: n.path, ID: st.id, Was: st.id, Blocks: st.blocks}
		i := slices.IndexFunc(c.seen, func(s *seen) bool { return s.id == st.id })
		if i < 0 && n.packed {
			if i = c.packedFrom(n.path); i >= 0 && c.seen[i].file == nil {
				c.remember(&seen{id: st.id, size: st.size, mtime: st.mtime, was: c.seen[i].id}) // to unpack its head once only
			}
		}
		if i >= 0 {
			s := c.seen[i]
			sib.Held = s.file != nil
			sib.Done = !sib.Held && (s.id != st.id || s.size == st.size || n.packed)
			if sib.Was = s.id; s.was != (ID{}) {
				sib.Was = s.was
			}
		}
		siblings = append(siblings, sib)
	}
	return siblings, nil
}

// packedFrom is the index in seen of the file that an archive was made of; -1 if there is none. c.mu is held.
func (c *Chain) packedFrom(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return -1
	}
	defer func() { _ = f.Close() }()
	return slices.IndexFunc(c.seen, func(s *seen) bool {
		head, headN, size := s.head, s.headN, s.size
		if s.file != nil {
			if head, headN, size, err = s.file.glance(); err != nil {
				return false
			}
		}
		if headN == 0 {
			return false
		}
		h, n, ok := packedHead(f, headN)
		return ok && h == head && n == uint32(size)
	})
}

// Remove deletes a rotated file and answers the disk space that was in it. Its space comes free even where its writer holds it open.
//
// A name cannot be unlinked for what is behind it, so a rotation between the look and the unlink takes the name of a newer file. That
// one was the live file a moment ago: it is open, and what is in it is read all the same.
func (r *Rotated) Remove() (freed int64, err error) {
	f, err := os.OpenFile(r.Path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	writable := err == nil
	if err != nil {
		f, err = os.OpenFile(r.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", r.Path, err)
	}
	defer func() { _ = f.Close() }()
	st, err := statFile(f)
	if err != nil || st.id != r.ID {
		return 0, err // it moved: the next look finds it
	}
	if err := unix.Unlink(r.Path); err != nil {
		return 0, fmt.Errorf("delete %s: %w", r.Path, err)
	}
	if writable {
		_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, max(st.size, 1))
	}
	return st.blocks, nil
}

// keptBytes at the begin of a file and before the offset stay when what is between them is given back: the file is known by them.
const keptBytes = 4096

// FreeUpTo gives the disk space of what lies before off back to the file system, but for the first and the last 4 KiB, and answers
// how much that was. The file keeps its length and reads as zeros there, so its writer does not notice. Both ends of the hole are
// line ends where there are any: who reads the file anew skips it and tears no line.
func (f *File) FreeUpTo(off int64) (freed int64, err error) {
	if off < f.freed+freeStep {
		return 0, nil
	}
	var page [keptBytes]byte
	n, err := pread(f.f, page[:], 0)
	if err != nil {
		return 0, err
	}
	from := int64(1 + bytes.LastIndexByte(page[:n], '\n'))
	to := off - 2*keptBytes
	if n, err = pread(f.f, page[:], to); err != nil {
		return 0, err
	}
	if i := bytes.IndexByte(page[:n], '\n'); i >= 0 {
		to += int64(i) + 1
	}
	freed, err = f.punch(max(from, f.freed), to)
	if err == nil {
		f.freed = to
	}
	return freed, err
}

// freeStep is how much must lie between two calls that free anything.
const freeStep = 64 << 10

// SkipTo moves the offset forward to the first line that begins at off or later, at most 256 KiB later, and gives the space of what is
// skipped back. It answers where the offset is now.
func (f *File) SkipTo(off int64) (int64, error) {
	buf := make([]byte, 32<<10)
	for at := off - 1; at < off+(256<<10); {
		n, err := pread(f.f, buf, at)
		if err != nil {
			return f.off, err
		}
		if n == 0 {
			break
		}
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			off = at + int64(i) + 1
			break
		}
		at += int64(n)
	}
	if _, err := f.punch(f.off, off); err != nil {
		return f.off, err
	}
	return off, f.seek(off)
}

// punch makes a hole in the very file that is open, whatever its name is by now. It must be writable for this process.
func (f *File) punch(from, to int64) (freed int64, err error) {
	if to <= from {
		return 0, nil
	}
	w, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.f.Fd())), os.O_WRONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s for writing: %w", f.Path, errors.Unwrap(err))
	}
	defer func() { _ = w.Close() }()
	before := f.Blocks()
	if err := unix.Fallocate(int(w.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, to-from); err != nil {
		return 0, fmt.Errorf("free the beginning of %s: %w", f.Path, err)
	}
	return before - f.Blocks(), nil
}
