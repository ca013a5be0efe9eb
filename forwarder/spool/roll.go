package spool

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// roll begins a new segment with a snapshot of all marks. wr is held.
func (s *Spool) roll(now time.Time) error {
	h := header{seq: s.seq + 1, sealed: now.UnixMilli()}
	head := s.marks.appendTo(make([]byte, HeaderBytes, HeaderBytes+s.marks.bytes))
	if s.rebase {
		h.flags = flagBase
		head = s.appendClaims(head)
	}
	h.marks = uint32(len(head) - HeaderBytes)
	sealHeader(head, h)
	g := &segment{first: h.seq, last: h.seq, path: filepath.Join(s.cfg.Dir, segmentName(h.seq))}
	var w file
	var err error
	if s.rebase {
		w, err = s.createBase(g, head)
	} else {
		w, err = s.createWith(g.path, head)
	}
	if err != nil {
		return err
	}
	g.w, g.size, g.disk = w, int64(len(head)), int64(len(head))
	s.seq, s.rebase = h.seq, false
	s.space.left -= g.size
	s.mu.Lock()
	s.segs = append(s.segs, g)
	s.active, s.rollNext = g, false
	s.last = h.seq
	s.bytes += g.size
	s.mu.Unlock()
	s.poke() // sync the head while little is behind it
	return nil
}

const baseTemp = "base.tmp"

// createBase makes the first segment of a life. It gets its name when it is on disk, so a segment name tells that the base of
// its life was whole once: from then on the cursor may pass what former lives left damaged.
func (s *Spool) createBase(g *segment, head []byte) (file, error) {
	tmp := filepath.Join(s.cfg.Dir, baseTemp)
	w, err := s.createWith(tmp, head)
	if err != nil {
		return nil, err
	}
	if err = w.sync(); err == nil {
		err = s.disk.rename(tmp, g.path)
	}
	if err == nil {
		err = s.disk.syncDir(s.cfg.Dir)
	}
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	g.synced, g.headSynced = g.first, true
	return w, nil
}

// createWith makes a file with the head of a segment in it. A file of the same name was left by an attempt that failed: no sequence number of it was given out.
func (s *Spool) createWith(path string, head []byte) (file, error) {
	if err := s.disk.remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	w, err := s.disk.create(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) { // the directory is gone
			s.miss()
		}
		return nil, err
	}
	if _, err := w.write([][]byte{head}, 0); err != nil {
		_ = w.Close()
		_ = s.disk.remove(path)
		return nil, err
	}
	return w, nil
}
