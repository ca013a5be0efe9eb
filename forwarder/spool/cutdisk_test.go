package spool

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// cutDisk is a disk on a real directory that remembers what was not synced. It fails when told to, stops the process in the
// middle of an operation, and can build any directory a power cut may leave.
type cutDisk struct {
	t       testing.TB
	rng     *rand.Rand
	dir     string
	names   map[string]*inode // as the running kernel sees it; the path below dir. A folder is an inode too
	durable map[string]*inode // entries surely on disk
	entries []entry           // changes of the directory since it was synced, in order
	open    []*cutFile
	noSpace int64 // what free answers

	// A process ends at the operation when countdown reaches 0.
	countdown int
	faults    faults
	lies      func(op, name string) bool // syncs that do nothing: "file", "recovered" or "dir"
}

// faults are the shares of operations that fail.
type faults struct{ write, truncate, sync, create, remove float64 }

type entry struct {
	name string
	ino  *inode // nil: removed
	was  string // renamed from
}

func (e entry) apply(names map[string]*inode) {
	delete(names, e.was)
	if e.ino == nil {
		delete(names, e.name)
	} else {
		names[e.name] = e.ino
	}
}

// inode is a file: its bytes on disk and what was written since.
type inode struct {
	folder bool
	disk   []byte
	ops    []fileOp
	ghosts []fileOp // written before a sync that failed: no later sync brings them to disk
}

type fileOp struct {
	off  int64
	data []byte // nil: truncate to off
}

// processEnd is what a cutDisk panics with.
type processEnd struct{}

func newCutDisk(t testing.TB, rng *rand.Rand, dir string) *cutDisk {
	return &cutDisk{t: t, rng: rng, dir: dir, names: map[string]*inode{}, durable: map[string]*inode{}, noSpace: 1 << 40, countdown: -1}
}

func (d *cutDisk) chance(p float64) bool { return p > 0 && d.rng.Float64() < p }

// tick ends the process if it is time.
func (d *cutDisk) tick() {
	if d.countdown > 0 {
		if d.countdown--; d.countdown == 0 {
			panic(processEnd{})
		}
	}
}

type cutFile struct {
	d    *cutDisk
	name string
	op   string
	ino  *inode
	f    *os.File
}

// name is the path below the directory.
func (d *cutDisk) name(path string) string {
	rel, err := filepath.Rel(d.dir, path)
	if err != nil {
		d.t.Fatal(err)
	}
	return rel
}

func (d *cutDisk) lie(op, name string) bool { return d.lies != nil && d.lies(op, name) }

func (d *cutDisk) handle(op, path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	name := d.name(path)
	ino := d.names[name]
	if ino == nil {
		ino = &inode{}
		d.names[name] = ino
		d.entries = append(d.entries, entry{name: name, ino: ino})
	}
	c := &cutFile{d, name, op, ino, f}
	d.open = append(d.open, c)
	return c, nil
}

func (d *cutDisk) create(path string) (file, error) {
	d.tick()
	if d.chance(d.faults.create) {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EIO}
	}
	return d.handle("file", path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d *cutDisk) openAcked(path string) (file, error) {
	return d.handle("file", path, os.O_RDWR|os.O_CREATE)
}
func (d *cutDisk) openSync(path string) (file, error) { return d.handle("recovered", path, os.O_RDWR) }

func (d *cutDisk) remove(path string) error {
	d.tick()
	if d.chance(d.faults.remove) {
		return &os.PathError{Op: "remove", Path: path, Err: syscall.EIO}
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	name := d.name(path)
	delete(d.names, name)
	d.entries = append(d.entries, entry{name: name})
	return nil
}

func (d *cutDisk) rename(from, to string) error {
	d.tick()
	if err := os.Rename(from, to); err != nil {
		return err
	}
	a, b := d.name(from), d.name(to)
	d.names[b] = d.names[a]
	delete(d.names, a)
	d.entries = append(d.entries, entry{name: b, ino: d.names[b], was: a})
	return nil
}

func (d *cutDisk) mkdir(path string) error {
	name := d.name(path)
	if name != "." && name != ".." && d.names[name] == nil {
		d.tick()
		ino := &inode{folder: true}
		d.names[name] = ino
		d.entries = append(d.entries, entry{name: name, ino: ino})
	}
	return os.MkdirAll(path, 0o700)
}

func (d *cutDisk) syncDir(path string) error {
	if !strings.HasPrefix(path, d.dir) {
		return nil
	}
	d.tick()
	if d.chance(d.faults.sync) {
		return &os.PathError{Op: "fsync", Path: path, Err: syscall.EIO}
	}
	name := d.name(path)
	if d.lie("dir", name) {
		return nil
	}
	d.entries = slices.DeleteFunc(d.entries, func(e entry) bool {
		if filepath.Dir(e.name) != name {
			return false
		}
		e.apply(d.durable)
		return true
	})
	return nil
}

func (d *cutDisk) free(string) (int64, error) { return d.noSpace, nil }

func (c *cutFile) put(bufs [][]byte, off, n int64) {
	for _, b := range bufs {
		b = b[:min(int64(len(b)), n)]
		if len(b) == 0 {
			return
		}
		if _, err := c.f.WriteAt(b, off); err != nil {
			c.d.t.Fatal(err)
		}
		c.ino.ops = append(c.ino.ops, fileOp{off, slices.Clone(b)})
		off += int64(len(b))
		n -= int64(len(b))
	}
}

func (c *cutFile) write(bufs [][]byte, off int64) (int64, error) {
	var total int64
	for _, b := range bufs {
		total += int64(len(b))
	}
	part := c.d.rng.Int64N(total)
	if total == ackedBytes { // in one page already: the kernel copies it or not
		part = 0
	}
	if c.d.countdown == 1 {
		c.put(bufs, off, part)
	}
	c.d.tick()
	if c.d.chance(c.d.faults.write) {
		n := part
		c.put(bufs, off, n)
		return n, &os.PathError{Op: "write", Err: []error{syscall.EIO, syscall.ENOSPC}[c.d.rng.IntN(2)]}
	}
	c.put(bufs, off, total)
	return total, nil
}

func (c *cutFile) truncate(size int64) error {
	c.d.tick()
	if c.d.chance(c.d.faults.truncate) {
		return syscall.EIO
	}
	c.ino.ops = append(c.ino.ops, fileOp{off: size})
	return c.f.Truncate(size)
}

func (c *cutFile) sync() error {
	c.d.tick()
	if c.d.chance(c.d.faults.sync) {
		c.ino.ghosts = append(c.ino.ghosts, c.ino.ops...)
		c.ino.ops = nil
		return syscall.EIO
	}
	if c.d.lie(c.op, c.name) {
		return nil
	}
	for _, op := range c.ino.ops {
		c.ino.disk = op.apply(c.ino.disk)
	}
	c.ino.ops = nil
	return nil
}

func (c *cutFile) fd() *os.File { return c.f }
func (c *cutFile) Close() error { return c.f.Close() }

func (op fileOp) apply(b []byte) []byte {
	end := op.off + int64(len(op.data))
	if int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	if op.data == nil {
		return b[:op.off]
	}
	copy(b[op.off:], op.data)
	return b
}

// closeAll closes the handles the ended process had.
func (d *cutDisk) closeAll() {
	for _, c := range d.open {
		_ = c.f.Close()
	}
	d.open = nil
}

// kernelImage writes what the kernel has to dir, as it is after a process was killed, and goes on there.
func (d *cutDisk) kernelImage(dir string) {
	d.closeAll()
	for _, name := range d.sorted(d.names) {
		if d.names[name].folder {
			d.mustMkdir(filepath.Join(dir, name))
			continue
		}
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			d.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	d.dir, d.countdown = dir, -1
}

func (d *cutDisk) mustMkdir(path string) {
	if err := os.Mkdir(path, 0o700); err != nil {
		d.t.Fatal(err)
	}
}

// cutImage writes to dir what the disk may hold after a power cut, and goes on there.
func (d *cutDisk) cutImage(dir string) {
	d.closeAll()
	mood := d.rng.IntN(4) // 0: nothing unsynced survives, 1: all does, else: as it comes
	names := maps.Clone(d.durable)
	for _, e := range d.entries {
		if mood == 0 || (mood > 1 && d.rng.IntN(2) == 0) {
			continue
		}
		e.apply(names)
	}
	survivors := map[*inode]*inode{}
	for _, name := range d.sorted(names) {
		ino := names[name]
		if survivors[ino] == nil {
			survivors[ino] = &inode{disk: ino.survive(d.rng, mood)}
		}
		names[name] = survivors[ino]
		if ino.folder {
			survivors[ino].folder = true
			d.mustMkdir(filepath.Join(dir, name))
			continue
		}
		if up := filepath.Dir(name); up != "." && names[up] == nil { // lost with its folder
			delete(names, name)
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), survivors[ino].disk, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	d.dir, d.countdown, d.entries, d.names = dir, -1, nil, names
	d.durable = maps.Clone(names)
}

// survive returns bytes the inode may have after a power cut: of what was not synced any sector may be there or not.
func (n *inode) survive(rng *rand.Rand, mood int) []byte {
	b := slices.Clone(n.disk)
	for _, op := range append(slices.Clone(n.ghosts), n.ops...) {
		if mood == 0 || (mood > 1 && rng.IntN(3) == 0) {
			continue
		}
		if mood > 1 && op.data != nil && rng.IntN(3) == 0 {
			const sector = 64
			for from := 0; from < len(op.data); {
				to := min(len(op.data), from+sector-int((op.off+int64(from))%sector))
				if rng.IntN(3) > 0 {
					b = fileOp{op.off + int64(from), op.data[from:to]}.apply(b)
				}
				from = to
			}
			continue
		}
		b = op.apply(b)
	}
	if end := n.size(); mood > 1 && int64(len(b)) < end && rng.IntN(4) == 0 {
		b = append(b, make([]byte, end-int64(len(b)))...) // the file grew, its blocks did not come
	}
	return b
}

// size is that of the file as the kernel sees it.
func (n *inode) size() int64 {
	size := int64(len(n.disk))
	for _, op := range append(slices.Clone(n.ghosts), n.ops...) {
		if size = max(size, op.off+int64(len(op.data))); op.data == nil {
			size = op.off
		}
	}
	return size
}

func (d *cutDisk) sorted(m map[string]*inode) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// haunted reports whether the segment of record seq has bytes that no sync will bring to disk.
func (d *cutDisk) haunted(seq uint64) bool {
	var in *inode
	for _, name := range d.sorted(d.names) {
		if first, ok := parseName(name, segmentSuffix); ok && first <= seq {
			in = d.names[name]
		}
	}
	return in != nil && len(in.ghosts) > 0
}
