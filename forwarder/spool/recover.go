package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// recovery reads what former lives left.
//
// Data is taken from every valid record. Positions are taken only from one unbroken run of sequence numbers. It starts at the
// newest snapshot before which nothing is missing: the base of a life, for Open synced all that it claims, or the head of a
// segment of the newest life with everything before it acked. (In older lives acked does not mean sent: the cursor went
// past what was damaged.) It ends at the first number that is missing. A mark behind a hole would claim lines that were in
// the hole: they would be lost. Lines behind the hole are read again instead.
type recovery struct {
	s          *Spool
	marks      *marks
	acked      uint64
	ackedKnown bool
	newest     uint64          // the highest sequence number anything speaks of
	newestLife uint64          // the newest that got as far as its base
	badLives   map[uint64]bool // lives of which a segment was set aside
	run        bool            // the run has not met a hole
	next       uint64          // the number the run goes on with
	started    bool            // a segment was read
	sync       []*segment      // hold what only the page cache may know
}

func (r *recovery) recover() error {
	s := r.s
	r.acked, r.ackedKnown = readAcked(s.cfg.Dir)
	s.acked, s.acksSaved = r.acked, r.acked // after a kill it may be in the page cache only
	r.newest = r.acked
	firsts, err := r.list()
	if err != nil {
		return err
	}
	for i, first := range firsts {
		limit := uint64(math.MaxUint64)
		if i+1 < len(firsts) {
			limit = firsts[i+1]
		}
		if err := r.segment(first, limit); err != nil {
			return err
		}
	}
	if s.rules.syncRecovered {
		if err := r.syncAll(); err != nil {
			return err
		}
	}
	for _, g := range s.segs {
		g.synced, g.headSynced = g.last, true
		s.count.frames += g.frames
		s.count.events += g.events
		s.count.bytes += g.bytes
	}
	s.count.recovered = s.count.events
	if s.reader.seg == nil && len(s.segs) > 0 {
		s.reader.after = s.segs[len(s.segs)-1].first
	}
	first, err := s.firstOf(r.newest)
	if err != nil {
		return err
	}
	s.seq = first - 1
	if s.count.frames > 0 || len(s.segs) > 0 {
		s.log.Info("spool recovered", "path", s.cfg.Dir, "segments", len(s.segs), "frames", s.count.frames,
			"events", s.count.events, "bytes", s.count.bytes, "marks", len(s.marks.values))
	}
	return nil
}

// list returns the first sequence numbers of the segments, in order, and notes the highest number any name tells.
func (r *recovery) list() ([]uint64, error) {
	entries, err := os.ReadDir(r.s.cfg.Dir) // sorted by name, which is by number
	if err != nil {
		return nil, err
	}
	r.badLives = map[uint64]bool{}
	var firsts []uint64
	for _, e := range entries {
		if e.Name() == baseTemp || strings.HasSuffix(e.Name(), segmentSuffix+tempSuffix) { // an Open or a restore that did not end
			if err := r.s.disk.remove(filepath.Join(r.s.cfg.Dir, e.Name())); err != nil {
				return nil, err
			}
		}
		if first, ok := parseName(e.Name(), segmentSuffix); ok && first>>32 < math.MaxUint32 {
			firsts = append(firsts, first)
			r.newest = max(r.newest, first)
			r.newestLife = max(r.newestLife, first>>32)
		} else if first, ok := parseName(e.Name(), badSuffix); ok && first>>32 < math.MaxUint32 {
			r.newest = max(r.newest, first)
			if !strings.Contains(e.Name(), "-") { // a whole segment, not a piece of one
				r.badLives[first>>32] = true
			}
			r.newestLife = max(r.newestLife, first>>32)
		}
	}
	return firsts, nil
}

// segment reads one segment. What cannot be read is set aside; an error means the directory is of no use.
func (r *recovery) segment(first, limit uint64) error {
	s := r.s
	g := &segment{first: first, path: filepath.Join(s.cfg.Dir, segmentName(first))}
	f, err := os.Open(g.path)
	if err != nil {
		return r.setAside(g, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return r.setAside(g, err)
	}
	if fi.Size() == 0 { // its life ended before the first write reached the disk
		return s.disk.remove(g.path)
	}
	g.disk = fi.Size()
	sc := newScanner(f, fi.Size())
	res, err := sc.scan(first, limit, func(off int64, h header) error {
		r.record(g, sc, off, h)
		return nil
	})
	if err != nil {
		return err
	}
	r.started = true
	if res.end == 0 {
		return r.setAside(g, errors.New("no valid record in it"))
	}
	g.size, g.gaps = res.end, res.gaps
	r.report(g, f, sc, res)
	if g.frames > 0 || g.lastInput > 0 {
		r.sync = append(r.sync, g)
	}
	s.segs = append(s.segs, g)
	s.bytes += g.disk
	return nil
}

// record takes one valid record into account.
func (r *recovery) record(g *segment, sc *scanner, off int64, h header) {
	s := r.s
	g.last = h.seq
	g.records++
	s.last = max(s.last, h.seq)
	r.newest = max(r.newest, h.seq)
	switch {
	case h.snapshot():
	case h.input():
		g.lastInput = h.seq
	default:
		g.lastFrame = h.seq
		if h.seq > r.acked {
			if s.reader.seg == nil {
				s.reader.seg, s.reader.off, s.reader.seq = g, off, h.seq
			}
			g.add(h)
		}
	}
	r.take(g, sc, off, h)
}

// take merges the marks of a record if the run reaches it.
func (r *recovery) take(g *segment, sc *scanner, off int64, h header) {
	if h.marks == 0 && !h.snapshot() {
		r.run = r.run && h.seq == r.next
		r.next = h.seq + 1
		return
	}
	b, err := sc.bytes(off+HeaderBytes+int64(h.frame), int(h.marks))
	if err == nil {
		err = eachMark(b, func(_, _ []byte) {})
	}
	start := off == 0 && h.snapshot() && (r.followsAcked(g) || (h.base() && r.intact(b)))
	switch {
	case err != nil: // it was read a moment ago: treat it as missing
		r.run = false
	case start || (r.run && h.seq == r.next) || !r.s.rules.unbrokenRun:
		r.run = true
		r.next = h.seq + 1
		if h.snapshot() {
			clear(r.marks.values)
			r.marks.bytes = 0
		}
		_ = eachMark(b, r.marks.set)
	default:
		r.run = false
	}
}

// followsAcked reports whether everything before g was acked. If `acked` is torn, so it was if nothing older is there: segments
// go from the oldest on, and only when the next one's head is on disk; but a segment may have been set aside.
func (r *recovery) followsAcked(g *segment) bool {
	life := g.first >> 32
	if life != r.newestLife {
		return false
	}
	return g.first <= r.acked+1 || (!r.started && !r.ackedKnown && !r.badLives[life])
}

// setAside renames a segment that cannot be read at all.
func (r *recovery) setAside(g *segment, why error) error {
	s := r.s
	s.count.badSegs++
	s.m.badSegments.Inc()
	r.badLives[g.first>>32] = true
	bad := strings.TrimSuffix(g.path, segmentSuffix) + badSuffix
	s.log.Error("segment cannot be read, it is set aside", "path", bad, "err", why)
	if err := s.disk.rename(g.path, bad); err != nil {
		return fmt.Errorf("set unreadable segment aside: %w", err)
	}
	return nil
}

// report copies the bytes of no record aside and says what happened.
func (r *recovery) report(g *segment, f io.ReaderAt, sc *scanner, res scanned) {
	s := r.s
	if res.tail > 0 {
		s.copyBad(g, f, gap{from: res.end, to: res.end + res.tail})
	}
	for _, p := range res.gaps {
		s.copyBad(g, f, p)
	}
	if sc.failures > 0 {
		g.damaged = true
	}
	prev := uint64(0)
	if len(s.segs) > 0 {
		prev = s.segs[len(s.segs)-1].last
	}
	missing := prev>>32 == g.first>>32 && prev+1 != g.first
	switch {
	case len(res.gaps) > 0 || missing || sc.failures > 0:
		s.count.badSegs++
		s.m.badSegments.Inc()
		s.log.Warn("segment is damaged, its whole records are used", "path", g.path, "gaps", len(res.gaps), "tail_bytes", res.tail)
	case res.tail > 0:
		s.log.Info("the last write into a segment was cut short", "path", g.path, "bytes", res.tail)
	}
}

// syncAll brings to disk what a killed life left in the page cache. The base that Open writes next claims all of it.
func (r *recovery) syncAll() error {
	for _, g := range r.sync {
		f, err := r.s.disk.openSync(g.path)
		if err != nil {
			return err
		}
		g.hold = f
		if err = f.sync(); err != nil {
			return err
		}
	}
	return r.s.disk.syncDir(r.s.cfg.Dir)
}

// Inputs calls f for each input record in the spool, oldest first. The owner knows by its marks which of them it still needs;
// it says so with SetInputFloor. The frame is valid during the call.
func (s *Spool) Inputs(f func(seq uint64, frame []byte) error) error {
	s.mu.Lock()
	segs := append([]*segment(nil), s.segs...)
	s.mu.Unlock()
	for i, g := range segs {
		if g.lastInput == 0 {
			continue
		}
		limit := uint64(math.MaxUint64)
		if i+1 < len(segs) {
			limit = segs[i+1].first
		}
		if err := s.inputs(g, limit, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) inputs(g *segment, limit uint64, f func(seq uint64, frame []byte) error) error {
	file, err := os.Open(g.path)
	if err != nil {
		return err
	}
	defer file.Close()
	sc := newScanner(file, g.size)
	_, err = sc.scan(g.first, limit, func(off int64, h header) error {
		if !h.input() {
			return nil
		}
		b, err := sc.bytes(off+HeaderBytes, int(h.frame))
		if err != nil {
			return err
		}
		return f(h.seq, b)
	})
	return err
}
