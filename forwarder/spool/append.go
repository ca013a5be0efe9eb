package spool

import (
	"errors"
	"fmt"
	"time"
)

// Append writes the records, all that go into the same segment in one write, and says how many it wrote; these are in the
// page cache and handed to the Reader. With ErrFull or any other error the rest was not written: the caller keeps it and
// tries again later, and the spool goes on as soon as the disk does.
func (s *Spool) Append(recs []*Record) (int, error) {
	s.wr.Lock()
	defer s.wr.Unlock()
	if !s.writing {
		return 0, ErrClosed
	}
	for _, r := range recs {
		if err := r.check(); err != nil {
			return 0, err
		}
	}
	now := s.now()
	done, retried := 0, false
	for done < len(recs) {
		n, err := 0, s.restore(now)
		if err == nil {
			n, err = s.write(recs[done:], now)
		}
		done += n
		switch {
		case err == nil:
		case errors.Is(err, ErrFull):
			if s.cfg.WhenFull == WhenFullDropOldest && s.makeRoom() {
				continue
			}
			s.setFull(now, err)
			return done, err
		case retried || errors.Is(err, errRestoring):
			err = fmt.Errorf("append to spool: %w", err)
			s.setFull(now, err)
			return done, err
		default: // the segment it failed in is closed; what is wrong with it need not be wrong with the next
			retried = true
		}
	}
	s.setFull(now, nil)
	return done, nil
}

// check refuses what would not be found again.
func (r *Record) check() error {
	marks := len(r.Buf) - HeaderBytes - r.Frame
	if r.Frame <= 0 || marks < 0 || (!r.Input && r.Frame < IDBytes) || int64(len(r.Buf)) > 1<<32-1 {
		return fmt.Errorf("append to spool: record of %d bytes with a frame of %d", len(r.Buf), r.Frame)
	}
	if err := eachMark(r.Buf[HeaderBytes+r.Frame:], func(_, _ []byte) {}); err != nil {
		return fmt.Errorf("append to spool: %w", err)
	}
	return nil
}

// seal gives the record its number and makes its header, id and checksum.
func (s *Spool) seal(r *Record, seq uint64, sealed int64) header {
	h := header{
		seq: seq, marks: uint32(len(r.Buf) - HeaderBytes - r.Frame), frame: uint32(r.Frame),
		events: uint32(r.Events), sealed: sealed,
	}
	if r.Input {
		h.flags = flagInput
	} else {
		putID(r.Buf[HeaderBytes+r.Frame-IDBytes:], s.life, seq)
	}
	sealHeader(r.Buf, h)
	r.Seq = seq
	return h
}

// write writes as many records as one segment and the room that is left take, in one write.
func (s *Spool) write(recs []*Record, now time.Time) (int, error) {
	g := s.writable(int64(len(recs[0].Buf)))
	room, err := s.room(now, int64(len(recs[0].Buf)), g == nil)
	if err != nil {
		return 0, err
	}
	if g == nil {
		if err := s.roll(now); err != nil {
			return 0, s.fullDisk(err)
		}
		g = s.active
	}
	var total int64
	k := 0
	for _, r := range recs {
		n := int64(len(r.Buf))
		if k > 0 && (total+n > room || g.size+total+n > s.segmentBytes) {
			break
		}
		s.seal(r, s.seq+1+uint64(k), now.UnixMilli())
		s.iov = append(s.iov, r.Buf)
		total += n
		k++
	}
	n, err := g.w.write(s.iov, g.size)
	clear(s.iov) // the records are the caller's
	s.iov = s.iov[:0]
	if err != nil {
		k, err = s.mend(g, recs[:k], n, err)
	}
	s.publish(g, recs[:k], now)
	return k, err
}

// writable returns the active segment if n more bytes may go into it. A record larger than a segment gets one of its own.
func (s *Spool) writable(n int64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.active
	if g == nil || s.rollNext || (g.last != g.first && g.size+n > s.segmentBytes) {
		return nil
	}
	return g
}

// mend deals with a write that failed after n bytes: whole records stay, the rest is cut off. If the disk is not merely full
// the segment is not written to again, unless it is new: segments would pile up as long as the disk fails. It returns how
// many records are in.
func (s *Spool) mend(g *segment, recs []*Record, n int64, err error) (int, error) {
	k, whole := 0, int64(0)
	for k < len(recs) && whole+int64(len(recs[k].Buf)) <= n {
		whole += int64(len(recs[k].Buf))
		k++
	}
	keep := noSpace(err) || (k == 0 && g.last == g.first)
	if n > whole {
		if terr := g.w.truncate(g.size + whole); terr != nil {
			// Recovery skips the piece: it is no whole record, and the next segment goes on with the next number.
			keep = false
			s.mu.Lock()
			g.disk += n - whole
			s.bytes += n - whole
			s.mu.Unlock()
		}
	}
	if !keep {
		s.mu.Lock()
		s.rollNext = true
		s.mu.Unlock()
	}
	return k, s.fullDisk(err)
}

// publish takes written records into the books and hands them to the Reader.
func (s *Spool) publish(g *segment, recs []*Record, now time.Time) {
	if len(recs) == 0 {
		return
	}
	for _, r := range recs {
		_ = eachMark(r.Buf[HeaderBytes+r.Frame:], s.marks.set)
	}
	s.seq += uint64(len(recs))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count.frames == 0 {
		s.unacked = now
	}
	for _, r := range recs {
		h, _ := decodeHeader(r.Buf)
		n := int64(len(r.Buf))
		g.size += n
		g.disk += n
		g.last = h.seq
		s.bytes += n
		s.space.left -= n
		if h.input() {
			g.lastInput = h.seq
			continue
		}
		g.lastFrame = h.seq
		g.add(h)
		s.count.frames++
		s.count.events += int64(h.events)
		s.count.bytes += int64(h.frame)
		s.count.appended += int64(h.events)
		if r.Replayed {
			s.count.replayed += int64(h.events)
		}
	}
	s.last = s.seq
}

// add counts a frame that is to be sent.
func (g *segment) add(h header) {
	if g.sealed == 0 {
		g.sealed = h.sealed
	}
	g.frames++
	g.events += int64(h.events)
	g.bytes += int64(h.frame)
}
