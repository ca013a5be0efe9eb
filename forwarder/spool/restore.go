package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/internal/nowait"
)

// Somebody may remove the directory, or files of it, under us. Every segment has an open handle, so its bytes are there until
// it is closed: the Reader goes on through it, and the segment is written again under its name. Until all are, Append takes
// nothing. The base of the directory made anew would else claim lines of which, after a kill, there is no copy.

const (
	// maxHeld bounds the open handles. Of more segments the oldest are lost with their names; 1 GiB of spool has 64.
	maxHeld = 512
	// restoreFor bounds how long Append, and with it the reading loop, stands still for one call.
	restoreFor = 200 * time.Millisecond
)

var errRestoring = errors.New("the spool directory was removed, what was in it is being written again")

// look finds out whether names were removed under us. syncMu is held.
func (s *Spool) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segs {
		if s.gone(g) {
			s.missing = true
			s.poke()
			return
		}
	}
}

// miss notes that names are missing.
func (s *Spool) miss() {
	s.mu.Lock()
	s.missing = true
	s.mu.Unlock()
}

// gone reports whether the name of g leads nowhere, or to another file: a directory that was moved away and put back from a
// copy. mu is held.
func (s *Spool) gone(g *segment) bool {
	now, err := os.Lstat(g.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) && g.handle() != nil
	}
	h := g.handle()
	if h == nil {
		return false
	}
	held, err := h.Stat()
	return err == nil && !os.SameFile(now, held)
}

// handle is the descriptor that is held of g, if there is one. Spool.mu is held.
func (g *segment) handle() *os.File {
	switch {
	case g.w != nil:
		return g.w.fd()
	case g.hold != nil:
		return g.hold.fd()
	}
	return nil
}

// openSegment opens g to read, by its name or else through the handle held of it.
func (s *Spool) openSegment(g *segment) (*os.File, error) {
	f, err := nowait.Open(g.path, 0)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := g.handle()
	if h == nil {
		return nil, err
	}
	f, herr := os.Open(filepath.Join("/proc/self/fd", strconv.Itoa(int(h.Fd()))))
	if herr != nil {
		return nil, err
	}
	return f, nil
}

// restoreQuiet restores when nobody appends.
func (s *Spool) restoreQuiet() {
	s.mu.Lock()
	missing := s.missing && !s.closed
	s.mu.Unlock()
	if !missing {
		return
	}
	s.wr.Lock()
	defer s.wr.Unlock()
	if !s.writing {
		return
	}
	now := s.now()
	if err := s.restore(now); err != nil {
		s.setFull(now, err)
	} else {
		s.setFull(now, nil)
	}
}

// restore makes the directory again if it is gone and writes what is missing in it from the handles that are held. It takes
// a while at most: with errRestoring there is more to do. wr is held.
func (s *Spool) restore(now time.Time) error {
	s.mu.Lock()
	missing := s.missing
	s.mu.Unlock()
	if !missing {
		return nil
	}
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if err := s.retake(); err != nil {
		return fmt.Errorf("make the spool directory again: %w", err)
	}
	s.reap() // what is done with need not come back
	s.mu.Lock()
	var gone []*segment
	for _, g := range s.segs {
		if s.gone(g) {
			gone = append(gone, g)
			if g == s.active {
				s.active = nil
			}
		}
	}
	s.mu.Unlock()
	began := time.Now()
	for i, g := range gone {
		if i > 0 && time.Since(began) > restoreFor {
			s.poke()
			return fmt.Errorf("%w: %d of its files are left", errRestoring, len(gone)-i)
		}
		if err := s.rewrite(g); err != nil {
			err = fmt.Errorf("%w: %s: %w", errRestoring, g.path, err)
			s.complain("segment was removed under us and cannot be written again yet, its frames are sent from the open file", "path", g.path, "err", err)
			return err
		}
	}
	s.mu.Lock()
	s.missing = false
	s.mu.Unlock()
	if err := s.saveAcks(now, true); err != nil {
		s.complain("saving the cursor failed, frames may be sent again after a crash", "err", err)
	}
	return nil
}

// retake makes and locks the directory if the one that was locked is not there any more. syncMu is held.
func (s *Spool) retake() error {
	if s.lock != nil {
		held, herr := s.lock.Stat()
		now, err := os.Lstat(filepath.Join(s.cfg.Dir, lockName))
		if herr == nil && err == nil && os.SameFile(held, now) {
			return nil
		}
	}
	s.log.Error("spool directory was removed under us, making it again", "path", s.cfg.Dir)
	before := s.lock
	if err := s.take(); err != nil {
		return err
	}
	if before != nil {
		_ = before.Close()
	}
	if s.acks != nil {
		_ = s.acks.Close()
		s.acks = nil
	}
	s.acksSaved, s.acksSynced = 0, 0
	return nil
}

// rewrite writes what is held of g under its name again. syncMu is held, and nobody writes to g.
func (s *Spool) rewrite(g *segment) error {
	s.mu.Lock()
	size, last, from := g.size, g.last, g.handle()
	s.mu.Unlock()
	tmp := g.path + tempSuffix
	err := s.copyTo(tmp, io.NewSectionReader(from, 0, size))
	if err == nil {
		err = s.disk.rename(tmp, g.path)
	}
	var h file
	if err == nil {
		h, err = s.disk.openSync(g.path)
	}
	if err == nil {
		err = s.disk.syncDir(s.cfg.Dir)
	}
	if err != nil {
		if h != nil {
			_ = h.Close()
		}
		return err
	}
	s.log.Warn("segment was removed under us, it is written again from the open file", "path", g.path, "bytes", size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeSegment(g)
	s.bytes += size - g.disk
	g.hold, g.disk, g.synced, g.headSynced, g.syncErr = h, size, last, true, nil
	return nil
}
