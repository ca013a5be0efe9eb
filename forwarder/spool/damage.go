package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// cope deals with a record that Next could not read. A disk that does not answer is waited for; bytes that are wrong do not get
// better: the segment is scanned again, and what is left of it goes on. It returns an error if Next has to be called again
// later.
func (r *Reader) cope(p place, why error) error {
	now := r.s.now()
	if r.trouble.seg != p.seg || r.trouble.off != p.off {
		r.trouble = trouble{seg: p.seg, off: p.off, since: now}
	}
	gone, damaged := errors.Is(why, os.ErrNotExist), errors.Is(why, errDamaged)
	if !gone && !damaged && now.Sub(r.trouble.since) < unreadableAfter {
		return fmt.Errorf("read spool: %w", why)
	}
	// A scan that finds nothing wrong twice is not worth a third.
	rest := gone || r.trouble.scans == maxScans
	r.trouble.scans++
	return r.giveUp(p, rest, damaged, why)
}

// maxScans is how often a segment is scanned because of one place in it.
const maxScans = 2

// giveUp takes what is damaged out of the segment of p: all behind p if rest is set, else what a scan does not find. Where the disk must
// answer, a scan that it does not answer to decides nothing.
func (r *Reader) giveUp(p place, rest, answer bool, why error) error {
	s, g := r.s, p.seg
	s.mu.Lock()
	was := *g
	acked, limit, flight := s.acked, s.limit(g), r.flight
	s.mu.Unlock()

	var found []place
	gaps := slices.Clone(was.gaps)
	if rest {
		gaps = slices.DeleteFunc(gaps, func(q gap) bool { return q.to > p.off })
		gaps = append(gaps, gap{p.off, was.size, was.last + 1})
	} else {
		sc := newScanner(r.file, was.size)
		res, err := sc.scan(g.first, limit, func(off int64, h header) error {
			if !h.snapshot() && !h.input() && h.seq > acked {
				found = append(found, place{g, off, h})
			}
			return nil
		})
		if err == nil && answer && sc.failure != nil && !errors.Is(sc.failure, io.ErrUnexpectedEOF) {
			err = sc.failure
		}
		if err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		gaps = res.gaps
		if res.tail > 0 {
			gaps = append(gaps, gap{res.end, was.size, was.last + 1})
		}
	}
	if r.fileSeg == g {
		for _, q := range gaps {
			if !slices.Contains(was.gaps, q) {
				s.copyBad(g, r.file, q)
			}
		}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	lost := was
	for _, q := range flight { // acked in the meantime, and counted so
		if q.seg == g && q.seq <= s.acked {
			lost.take(q)
		}
	}
	found = slices.DeleteFunc(found, func(q place) bool { return q.seq <= s.acked || r.alone.has(q.seq) })
	if rest { // every un-acked frame before p was handed out
		for _, q := range r.flight {
			if q.seg == g && q.off < p.off {
				found = append(found, q)
			}
		}
	}
	for _, q := range found {
		lost.take(q)
	}
	g.gaps = gaps
	g.damaged = g.damaged || rest
	s.rollNext = s.rollNext || g == s.active
	g.frames -= lost.frames
	g.events -= lost.events
	g.bytes -= lost.bytes
	s.count.frames -= lost.frames
	s.count.events -= lost.events
	s.count.bytes -= lost.bytes
	s.count.lost += lost.events
	s.count.lostFrames += lost.frames
	s.count.badSegs++
	s.m.badSegments.Inc()
	r.forget(g, found)
	s.log.Error("segment is damaged, its whole records are used", "path", g.path, "offset", p.off,
		"lost_frames", lost.frames, "lost_events", lost.events, "err", why)
	return nil
}

// take counts a frame less.
func (g *segment) take(p place) {
	g.frames--
	g.events -= int64(p.events)
	g.bytes -= int64(p.frame)
}

// forget takes the frames of g that were not found out of flight. mu is held.
func (r *Reader) forget(g *segment, found []place) {
	kept := r.flight[:0]
	replay := r.replay
	for i, q := range r.flight {
		ok := q.seg != g || slices.ContainsFunc(found, func(f place) bool { return f.seq == q.seq })
		if ok {
			kept = append(kept, q)
		} else if i < r.replay {
			replay--
		}
	}
	r.flight, r.replay = kept, replay
}

// limit is the first number that is not g's. mu is held.
func (s *Spool) limit(g *segment) uint64 {
	for i, q := range s.segs {
		if q == g && i+1 < len(s.segs) {
			return s.segs[i+1].first
		}
	}
	return 1<<64 - 1
}
