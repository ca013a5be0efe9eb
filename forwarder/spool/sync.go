package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/pulse"
)

// ackEvery is the least time between two writes of the cursor.
const ackEvery = 100 * time.Millisecond

// syncing is a step of Run. Each segment that is synced is progress.
var syncing = pulse.Stage{Doing: "syncing, or removing what is acked", Disk: true}

// age says that all records up to seq were there at a time.
type age struct {
	at  time.Time
	seq uint64
}

// Run syncs, saves the cursor and unlinks what is acked, until ctx ends.
func (s *Spool) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer s.pulse.End()
	await := pulse.Stage{Doing: "waiting for something to sync", Limit: s.cfg.SyncAfter/5 + time.Second}
	for {
		s.pulse.Enter(&await)
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-timer.C:
		}
		s.pulse.Enter(&syncing)
		timer.Reset(s.step(s.now()))
		s.restoreQuiet()
	}
}

// step does what is due now and says when the next step is.
func (s *Spool) step(now time.Time) time.Duration {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	tick := s.cfg.SyncAfter / 5
	s.complained = false
	for _, g := range s.due(now, tick) {
		if err := s.syncSegment(g); err != nil {
			s.complain("sync of the spool failed", "segment", g.path, "err", err)
		}
	}
	s.saveCursor(now)
	s.reap()
	s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveUnsynced(now)
	s.settleTrouble()
	s.wakeSynced()
	if n := len(s.segs) - maxHeld; n > 0 {
		for _, g := range s.segs[:n] {
			if g.synced == g.last {
				s.closeSegment(g)
			}
		}
	}
	return tick
}

// due returns the segments to sync now: heads of new segments, what SyncTo waits for, and everything if something has
// been un-acked for sync_after.
func (s *Spool) due(now time.Time, tick time.Duration) []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor.settle(max(s.acked, s.syncedSeq()))
	want := s.want
	safe := max(s.acked, s.syncedSeq())
	for len(s.ages) > 0 && now.Sub(s.ages[0].at) >= s.cfg.SyncAfter {
		if s.ages[0].seq > safe {
			want = s.last
		}
		s.ages = s.ages[1:]
	}
	if n := len(s.ages); s.last > safe && (n == 0 || (s.ages[n-1].seq < s.last && now.Sub(s.ages[n-1].at) >= tick)) {
		s.ages = append(s.ages, age{now, s.last})
	}
	var due []*segment
	for _, g := range s.segs {
		if g.w != nil && g.syncErr == nil && ((!g.headSynced && s.rules.syncBeforeUnlink) || (g.first <= want && g.dirty(s.acked))) {
			due = append(due, g)
		}
	}
	return due
}

// syncSegment brings to disk what is in g now. syncMu is held.
func (s *Spool) syncSegment(g *segment) error {
	s.mu.Lock()
	w, last, head, err := g.w, g.last, g.headSynced, g.syncErr
	s.mu.Unlock()
	if err != nil || w == nil {
		return err
	}
	s.pulse.Beat()
	if err := w.sync(); err != nil {
		s.mu.Lock()
		g.syncErr = err
		s.mu.Unlock()
		return err
	}
	s.syncPause = 0
	if !head {
		err := s.disk.syncDir(s.cfg.Dir)
		s.mu.Lock()
		s.dirErr = err
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	g.synced, g.headSynced = max(g.synced, last), true
	s.mu.Unlock()
	return nil
}

// leaveUnsynced has a new segment begun when a sync of the active one failed: nothing will vouch for what is in it. As long as
// syncs go on failing it does so less and less often, or a disk that fails for hours would fill the spool with heads of
// segments. syncMu and mu are held.
func (s *Spool) leaveUnsynced(now time.Time) {
	if s.active == nil || s.active.syncErr == nil || s.rollNext || now.Before(s.syncAgain) {
		return
	}
	s.rollNext = true
	s.syncPause = min(max(2*s.syncPause, s.cfg.SyncAfter/5), maxSyncPause)
	s.syncAgain = now.Add(s.syncPause)
}

// maxSyncPause is how long at most a disk that syncs again goes unnoticed.
const maxSyncPause = 30 * time.Second

// syncedSeq is the number up to which every record is on disk or needs not be: its frame is acked. mu is held.
func (s *Spool) syncedSeq() uint64 {
	for _, g := range s.segs {
		if g.dirty(s.acked) {
			return max(g.synced, g.first-1)
		}
	}
	return s.last
}

// SyncTo returns when the record seq and all before it are on disk, or acked. One sync serves all who wait. It needs Run.
// After an error these records are not known to be safe until they are acked: the caller may ask again.
func (s *Spool) SyncTo(ctx context.Context, seq uint64) error {
	for tries := 0; ; tries++ {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return ErrClosed
		}
		if s.syncedSeq() >= seq {
			s.mu.Unlock()
			return nil
		}
		err := s.syncFailed(seq, tries)
		s.want = max(s.want, min(seq, s.last))
		ch := s.synced
		s.mu.Unlock()
		if err != nil {
			return fmt.Errorf("sync spool: %w", err)
		}
		s.poke()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ch:
		}
	}
}

// syncFailed is why seq cannot be synced, nil if it may work. mu is held.
func (s *Spool) syncFailed(seq uint64, tries int) error {
	if seq > s.last {
		return fmt.Errorf("record %x does not exist", seq)
	}
	for _, g := range s.segs {
		if g.first <= seq && g.syncErr != nil && g.dirty(s.acked) {
			return g.syncErr
		}
	}
	if tries > 0 {
		return s.dirErr
	}
	return nil
}

// wakeSynced wakes all that wait in SyncTo, to look again. mu is held.
func (s *Spool) wakeSynced() {
	if s.want > 0 {
		s.want = 0
		close(s.synced)
		s.synced = make(chan struct{})
	}
}

// reap unlinks the segments from the oldest on that nothing is needed of. Before, the one that then is the oldest is brought
// to disk, for its head holds all positions, and the cursor, which tells recovery that what is missing was acked. Only a
// run of segments from the oldest on may go: a hole would end the run positions are recovered from. syncMu is held.
func (s *Spool) reap() {
	s.mu.Lock()
	n := 0
	for n < len(s.segs)-1 && s.segs[n].frames == 0 && !s.floor.pins(s.segs[n]) && s.segs[n] != s.active {
		n++
	}
	if n == 0 {
		s.mu.Unlock()
		return
	}
	done, next := slices.Clone(s.segs[:n]), s.segs[n]
	s.acked = max(s.acked, done[n-1].last)
	s.mu.Unlock()
	if s.rules.syncBeforeUnlink && !next.headSynced {
		if err := s.syncSegment(next); err != nil {
			s.complain("sync of the spool failed, acked segments stay", "segment", next.path, "err", err)
			return
		}
	}
	if err := s.saveAcks(s.now(), true); err != nil {
		s.complain("saving the cursor failed, acked segments stay", "err", err)
		if !noSpace(err) {
			return
		}
		// A file system that copies on write is full: to unlink is the way out. Recovery reads more again than it must.
	}
	for _, g := range done {
		if err := s.discard(g); err != nil {
			s.complain("an acked segment cannot be removed", "segment", g.path, "err", err)
			return
		}
		s.mu.Lock()
		s.segs = s.segs[1:]
		s.bytes -= g.disk
		s.closeSegment(g)
		s.mu.Unlock()
	}
}

// discard unlinks a segment, or renames it if it holds bytes that were not understood and could not be copied aside.
func (s *Spool) discard(g *segment) error {
	var err error
	if g.damaged {
		err = s.disk.rename(g.path, strings.TrimSuffix(g.path, segmentSuffix)+badSuffix)
	} else {
		err = s.disk.remove(g.path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// removeEmpty unlinks segments of former lives that hold snapshots only, as a process leaves that is killed again and again. The
// base of this life is on disk and says all they say.
func (s *Spool) removeEmpty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segs = slices.DeleteFunc(s.segs, func(g *segment) bool {
		if g == s.active || g.lastFrame > 0 || g.lastInput > 0 || g.damaged || s.disk.remove(g.path) != nil {
			return false
		}
		s.bytes -= g.disk
		return true
	})
}
