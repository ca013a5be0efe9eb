package spool

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// ErrFull is in the error of Append when there is no room: max_bytes are spooled, or min_free or less are left on the disk.
var ErrFull = errors.New("spool is full")

// space is what is known of the free space of the disk, guarded by Spool.wr. It is asked again once a second, before a new
// segment, and when it seems to run out; in between, what was written is taken off.
type space struct {
	at    time.Time
	left  int64 // above min_free
	err   error
	tried bool
}

const spaceEvery = time.Second

// room returns how many bytes may be written now, at least n.
func (s *Spool) room(now time.Time, n int64, newSegment bool) (int64, error) {
	sp := &s.space
	if age := now.Sub(sp.at); newSegment || !sp.tried || age >= spaceEvery || age < 0 || (sp.left < n && age >= spaceEvery/20) {
		var free int64
		free, sp.err = s.disk.free(s.cfg.Dir)
		sp.at, sp.tried, sp.left = now, true, free-int64(s.cfg.MinFree)
	}
	// A directory that is gone is made again by the write; other errors will show there as well.
	if sp.err == nil && sp.left < n && s.cfg.MinFree == 0 {
		return 0, fmt.Errorf("%w: there is no room left on the disk", ErrFull)
	}
	if sp.err == nil && sp.left < n {
		return 0, fmt.Errorf("%w: less than spool.min_free (%v) would be left on the disk", ErrFull, s.cfg.MinFree)
	}
	bytes, pending := s.total()
	left := int64(s.cfg.MaxBytes) - bytes
	if s.unbound {
		left = max(left, s.segmentBytes)
	}
	if left < n {
		if pending > 0 {
			return 0, fmt.Errorf("%w: spool.max_bytes (%v) are in it", ErrFull, s.cfg.MaxBytes)
		}
		// Nothing is left whose ack would make room: the record is larger than the whole spool, or it holds what input
		// records wait for to go.
		left = n
	}
	if sp.err == nil {
		left = min(left, sp.left)
	}
	return left, nil
}

// total returns the bytes of all segments and the frames that pend in them.
func (s *Spool) total() (bytes, frames int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes, s.count.frames
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// fullDisk makes a full spool of a full disk.
func (s *Spool) fullDisk(err error) error {
	if !noSpace(err) {
		return err
	}
	s.space.tried = false
	return fmt.Errorf("%w: %w", ErrFull, err)
}

// setFull notes since when and why Append refuses: because the spool is full, or because the disk fails.
func (s *Spool) setFull(now time.Time, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case why == nil && s.fullSince.IsZero():
	case why == nil:
		s.settleFull(now)
		s.log.Info("spool takes events again", "path", s.cfg.Dir, "full_for", s.fullFor)
	case s.fullSince.IsZero():
		s.fullSince = now
		s.fullWhy = why.Error()
		msg := "spool is full, reading waits"
		if !errors.Is(why, ErrFull) {
			msg = "spool cannot be written, reading waits"
		}
		s.log.Warn(msg, "path", s.cfg.Dir, "why", why, "pending_bytes", size.Bytes(s.count.bytes).String(), "pending_events", s.count.events)
	default:
		s.fullWhy = why.Error()
	}
}

// settleFull ends a time of being full. mu is held.
func (s *Spool) settleFull(now time.Time) {
	if !s.fullSince.IsZero() {
		s.fullFor += now.Sub(s.fullSince)
		s.fullSince, s.fullWhy = time.Time{}, ""
	}
}

// makeRoom frees the oldest segment: one that is done with, else the oldest that is not being sent, whose events are dropped.
// It reports whether there is more room now. wr is held.
func (s *Spool) makeRoom() bool {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	before, _ := s.total()
	s.reap()
	after, _ := s.total()
	if after == before && s.dropOldest() {
		s.reap()
		after, _ = s.total()
	}
	s.space.tried = s.space.tried && after == before
	return after < before
}

// dropOldest moves the cursor past the oldest segment that holds frames, unless its frames are on their way or it is the only one:
// another must hold the positions.
func (s *Spool) dropOldest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segs) < 2 || s.segs[0].frames == 0 || s.floor.pins(s.segs[0]) || s.reader.sending() {
		return false
	}
	g := s.segs[0]
	if g == s.active {
		return false
	}
	s.log.Warn("spool is full, the oldest events are dropped", "segment", g.path, "events", g.events, "bytes", g.bytes)
	s.count.dropped += g.events
	s.count.droppedFrames += g.frames
	s.count.frames -= g.frames
	s.count.events -= g.events
	s.count.bytes -= g.bytes
	g.frames, g.events, g.bytes = 0, 0, 0
	s.acked = max(s.acked, g.last)
	s.reader.skip(g)
	return true
}
