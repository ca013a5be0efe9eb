package tail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/nowait"
)

// Known is what an earlier life remembered of one file of a source.
type Known struct {
	ID     ID
	Marker Marker // before the highest offset of which anything was remembered
	Resume int64  // where reading goes on: at or before Marker.Off
}

// Chain is the files of one source: the live one and those that rotation made of it. Scan looks which there are and opens, in
// reading order, those not seen before; it is called by whoever has reason to look (the watcher on a hint, the loop by the
// clock), and Take hands them to the reader. A file once opened is read to its end whatever happens to its name.
type Chain struct {
	Path string // of the live file; a symlink is followed anew at each scan
	// Upward is set, before the first scan, where a file gets its number once and the highest is the newest: the ECS agent's scheme,
	// not that of logrotate.
	Upward bool

	mu      sync.Mutex // guards what follows
	known   []Known    // in reading order; nil once the files they belong to were looked for
	scanned bool       // at least one file was found
	seen    []*seen    // files opened or known to be done, oldest first
	fresh   []*File    // opened, not yet taken
	cut     *File      // a file that was truncated and has not been looked for among the siblings since
	hurt    map[string]time.Time
	live    ID
	state   State
}

// State is what the last scan found at the path.
type State int

// What may stand at a source's path.
const (
	Unknown State = iota // not looked for yet
	Missing              // no file of that name, but its folder is there
	Present
	NoFolder // the folder is gone, as after a container was removed
)

// seen remembers a file that need not be opened again. While file is open its inode cannot be given to another.
type seen struct {
	id    ID
	file  *File // nil once closed, or where it never was opened
	size  int64 // what follows holds once it is closed
	mtime int64
	head  uint64
	headN int
	was   ID // of an archive: of the file it was made of; known only where Rotated met it
}

// NewChain describes the source whose live file is at path. known is what was remembered of its files, in reading order.
func NewChain(path string, known []Known) *Chain {
	return &Chain{Path: path, known: known, hurt: map[string]time.Time{}}
}

// maxSeen bounds what is remembered of files that are done.
const maxSeen = 64

// unreadableWait is how long a rotated file that may not be read holds up the newer ones, whose lines come after its own.
const unreadableWait = time.Minute

// candidate is a file found by a scan.
type candidate struct {
	name
	f  *os.File
	st stat
}

// errMoved says that the names changed under a scan.
var errMoved = errors.New("files were renamed during the scan")

// Scan looks for files. An error names what could not be read; the scan is to be repeated later then.
func (c *Chain) Scan(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 10 {
		err := c.scan(now)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return nil // rotating faster than a scan: the next hint comes at once
}

func (c *Chain) scan(now time.Time) (err error) {
	path := c.Path
	if target, lerr := filepath.EvalSymlinks(path); lerr == nil {
		path = target
	}
	// Newest first: a rotation that happens meanwhile moves a file from a name that is still to come to a later one, so that
	// it is met twice, never missed.
	var found []candidate // newest first, opened
	defer func() {
		if err != nil {
			closeAll(found)
		}
	}()
	live, ok, err := c.open(name{path: path}, now)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.state = Missing
		if _, serr := os.Stat(filepath.Dir(path)); errors.Is(serr, fs.ErrNotExist) {
			c.state = NoFolder
			return nil
		}
	case err != nil:
		c.state = Present
		return err
	case ok:
		c.state, c.live = Present, live.st.id
		if c.scanned && c.isSeen(live) {
			_ = live.f.Close()
			return nil // the common scan ends here
		}
		found = append(found, live)
	}
	names, err := chain(path, c.Upward)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errMoved
		}
		return err
	}
	if !c.Upward {
		names = steps(path, names)
	}
	var resume Known // in a copy of the truncated file
	opened := 0
	for _, n := range names {
		if n.packed && n.age > 0 && n.age == opened {
			continue // being packed: its plain form is still there
		}
		cand, ok, oerr := c.open(n, now)
		if errors.Is(oerr, fs.ErrNotExist) {
			if n.age > 0 {
				continue // moved on to a later number, or there is none of this number
			}
			return errMoved
		}
		if oerr == nil && !n.packed {
			opened = n.age
		}
		if oerr != nil {
			return oerr
		}
		if !ok {
			continue
		}
		if i := slices.IndexFunc(found, cand.same); i >= 0 {
			// It was moved, or moved and packed, while we looked. What was opened since under a lower number is newer, if it moved by more than one.
			_ = cand.f.Close()
			moved := found[i]
			found = append(slices.Delete(found, i, i+1), moved)
			continue
		}
		if c.scanned {
			if c.isSeen(cand) {
				_ = cand.f.Close()
				break
			}
			if c.cut != nil && cand.holds(c.cut) {
				found, resume = append(found, cand), Known{Marker: c.cut.Marker(c.cut.off), Resume: c.cut.off}
				break
			}
		}
		found = append(found, cand)
	}
	if len(found) == 0 {
		return nil
	}
	slices.Reverse(found)
	if !c.scanned {
		c.first(found)
		return nil
	}
	c.cut = nil
	for i, cand := range found {
		f := c.take(cand, -1)
		if i == 0 && resume.Resume > 0 {
			f.resume(resume)
		}
	}
	return nil
}

// first decides, at the first scan that finds files, where reading begins.
func (c *Chain) first(found []candidate) {
	c.scanned = true
	match := resolve(found, c.known)
	start := slices.IndexFunc(match, func(k int) bool { return k >= 0 })
	gap := start < 0 && slices.ContainsFunc(c.known, func(k Known) bool { return k.Marker.Off > 0 })
	start = max(start, 0)
	for i, cand := range found {
		if i < start { // read to its end by an earlier life
			c.remember(&seen{id: cand.st.id, size: cand.st.size, mtime: cand.st.mtime})
			_ = cand.f.Close()
			continue
		}
		f := c.take(cand, match[i])
		f.AfterGap = gap && i == start
		if match[i] >= 0 {
			f.resume(c.known[match[i]])
		}
	}
	c.known = nil
}

// resolve finds for each file, oldest first, the index of the Known it is, or -1. A file is what its identity and its marker say
// it is; failing that (a disk that moved to another device, a packed or copied file), what its bytes say alone.
func resolve(found []candidate, known []Known) []int {
	match := make([]int, len(found))
	used := make([]bool, len(known))
	for i, cand := range found {
		match[i] = -1
		for k, kn := range known {
			if !used[k] && cand.st.id == kn.ID && cand.fits(kn.Marker) {
				match[i], used[k] = k, true
				break
			}
		}
	}
	for k, kn := range known {
		if used[k] || kn.Marker.Off < MarkerBytes {
			continue // two files may well begin with the same banner
		}
		for i := len(found) - 1; i >= 0; i-- { // the newest first: an archive is costly to look into
			if match[i] < 0 && found[i].fits(kn.Marker) {
				match[i], used[k] = k, true
				break
			}
		}
	}
	// A file of which little or nothing was read has no marker to tell it by once it was packed. It is told by its place, directly
	// before or behind one that is known: files before a known one count as done, and one that was not read would be lost; one
	// behind would be read again.
	k := len(known)
	for i := len(found) - 1; i >= 0; i-- {
		if match[i] >= 0 {
			k = match[i]
			continue
		}
		for p := k - 1; p >= 0 && k < len(known); p-- {
			if !used[p] && known[p].Marker.Off < MarkerBytes && found[i].fits(known[p].Marker) {
				match[i], used[p], k = p, true, p
				break
			}
		}
	}
	k = len(known)
	for i := range found {
		if match[i] >= 0 {
			k = match[i]
			continue
		}
		if p := k + 1; p < len(known) && !used[p] && known[p].Marker.Off < MarkerBytes && found[i].fits(known[p].Marker) {
			match[i], used[p], k = p, true, p
		} else {
			k = len(known)
		}
	}
	return match
}

// fits says whether the file, or the text in the archive, holds what the marker was made of.
func (cand candidate) fits(m Marker) bool {
	if cand.packed {
		return m == Marker{} || packedFits(cand.f, m)
	}
	return cand.st.size >= m.Off && m.fits(cand.f)
}

// open opens a name. ok is false for what is not a file, and for one that may not be read and has held up the others long enough.
func (c *Chain) open(n name, now time.Time) (cand candidate, ok bool, err error) {
	f, err := nowait.Open(n.path, unix.O_NONBLOCK|unix.O_NOCTTY) // a FIFO must not block the scan
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return cand, false, err
		}
		since, hurt := c.hurt[n.path]
		if !hurt {
			c.hurt[n.path] = now
		} else if rotated := n.age > 0 || n.date != ""; rotated && now.Sub(since) > unreadableWait {
			return cand, false, nil
		}
		return cand, false, fmt.Errorf("open log file: %w", err)
	}
	delete(c.hurt, n.path)
	st, err := statFile(f)
	if err != nil || !st.regular {
		_ = f.Close()
		return cand, false, err
	}
	return candidate{name: n, f: f, st: st}, true, nil
}

// Kept says whether the text of a deleted file still stands beside it, packed: it can be read again then.
func (c *Chain) Kept(f *File) bool {
	head, headN, size, err := f.glance()
	if err != nil || headN == 0 {
		return false
	}
	path := c.Path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	names, err := chain(path, c.Upward)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(names, func(n name) bool {
		packed, err := os.Open(n.path)
		if err != nil {
			return false
		}
		defer func() { _ = packed.Close() }()
		h, s, ok := packedHead(packed, headN)
		return n.packed && ok && h == head && s == uint32(size)
	})
}

// isSeen says whether the file was opened before, or is the packed form of one that was.
func (c *Chain) isSeen(cand candidate) bool {
	for i := len(c.seen) - 1; i >= 0; i-- {
		s := c.seen[i]
		if s.id == cand.st.id {
			return s.file != nil || s.id.Birth != 0 || s.size == cand.st.size && s.mtime == cand.st.mtime
		}
		if cand.packed {
			head, headN, size := s.head, s.headN, s.size
			if s.file != nil {
				var err error
				if head, headN, size, err = s.file.glance(); err != nil {
					continue
				}
			}
			if headN == 0 {
				continue
			}
			if h, n, ok := packedHead(cand.f, headN); ok && h == head && n == uint32(size) {
				return true
			}
		}
	}
	return false
}

// same says whether o is the same file, or what it was packed from.
func (cand candidate) same(o candidate) bool {
	if o.st.id == cand.st.id {
		return true
	}
	if !cand.packed || o.packed {
		return false
	}
	var buf [MarkerBytes]byte
	n, err := pread(o.f, buf[:], 0)
	if err != nil || n == 0 {
		return false
	}
	st, err := statFile(o.f)
	if err != nil {
		return false
	}
	head, size, ok := packedHead(cand.f, n)
	return ok && head == sum(buf[:n]) && size == uint32(st.size)
}

// holds says whether the file is a copy of cut, made before cut was truncated: logrotate's copytruncate.
func (cand candidate) holds(cut *File) bool {
	if cut.off == 0 {
		return false
	}
	return cand.fits(cut.Marker(cut.off))
}

func (c *Chain) take(cand candidate, known int) *File {
	f := &File{ID: cand.st.id, Path: cand.path, Known: known, f: cand.f, packed: cand.packed, size: cand.st.size, nlink: cand.st.nlink}
	if !f.packed {
		f.top = f.size
		_ = f.fingerprint()
	}
	c.scanned = true
	c.fresh = append(c.fresh, f)
	c.remember(&seen{id: f.ID, file: f})
	return f
}

func (c *Chain) remember(s *seen) {
	if c.seen = append(c.seen, s); len(c.seen) > maxSeen {
		i := slices.IndexFunc(c.seen, func(s *seen) bool { return s.file == nil })
		if i >= 0 {
			c.seen = slices.Delete(c.seen, i, i+1)
		}
	}
}

func closeAll(found []candidate) {
	for _, cand := range found {
		_ = cand.f.Close()
	}
}

// resume sets where reading of a just opened file begins; in an archive it takes effect when it is unpacked. A file that was cut
// short since it was matched is read from its start.
func (f *File) resume(k Known) {
	if f.packed {
		f.off, f.remembered = k.Resume, k.Marker
	} else if err := f.seek(k.Resume); err != nil {
		f.off, f.Known = 0, -1
	}
}

// Take returns the files opened since it was last called, in reading order.
func (c *Chain) Take() []*File {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := c.fresh
	c.fresh = nil
	return fresh
}

// State is what the last scan found at the path.
func (c *Chain) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Moved says whether the path leads elsewhere than at the last scan: the cheap look that a scan is preceded by where no hint
// came.
func (c *Chain) Moved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var st unix.Stat_t
	if err := unix.Stat(c.Path, &st); err != nil {
		return c.state != NoFolder || !errors.Is(err, unix.ENOENT) // where the log is missing, its folder may have gone since
	}
	return c.state != Present || c.live.Ino != st.Ino || c.live.Dev != st.Dev || len(c.hurt) > 0
}

// Truncated tells the chain that Read or Look answered ErrRewritten for f. The next scan opens the file anew and, where a copy
// of what it held stands beside it, the copy first, from where f was read to. f is to be closed by the caller.
func (c *Chain) Truncated(f *File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = f
	c.seen = slices.DeleteFunc(c.seen, func(s *seen) bool { return s.file == f })
}

// Close lets a file go that was taken.
func (c *Chain) Close(f *File) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.seen {
		if s.file != f {
			continue
		}
		_ = f.fingerprint() // it may have been taken of a file that held less
		s.file, s.head, s.headN, s.size = nil, f.head, f.headN, f.size
		if st, err := statFile(f.f); err == nil {
			s.mtime = st.mtime
			if st.id == f.ID { // an unpacked file is another one
				s.size = st.size
			}
		}
	}
	return f.Close()
}

// CloseAll lets the files go that were not taken.
func (c *Chain) CloseAll() {
	for _, f := range c.Take() {
		_ = f.Close()
	}
}
