package spool

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	setAsideDir    = "set-aside"
	setAsideSuffix = ".rec"
)

// SetAside moves the frame seq, which must be the first that is not acked, to the folder set-aside: its whole record, in a file
// of its own, on disk before the cursor passes it. The caller has made sure that it is this frame that the receiver refuses.
func (s *Spool) SetAside(seq uint64) error {
	s.mu.Lock()
	r := s.reader
	if s.closed || len(r.flight) == 0 || r.flight[0].seq != seq {
		s.mu.Unlock()
		return fmt.Errorf("set frame %x aside: it is not the first un-acked one", seq)
	}
	p := r.flight[0]
	s.mu.Unlock()
	path := filepath.Join(s.cfg.Dir, setAsideDir, fmt.Sprintf("%016x%s", seq, setAsideSuffix))
	if err := s.saveRecord(path, p); err != nil {
		return fmt.Errorf("set frame %x aside: %w", seq, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(r.flight) == 0 || r.flight[0].seq != seq {
		return nil // acked meanwhile after all: it is there twice
	}
	s.count.setAside += int64(r.done(seq))
	s.count.setAsideFrames++
	s.cursor(seq)
	s.log.Error("a frame that the receiver keeps refusing is set aside", "path", path, "events", p.events, "bytes", p.frame)
	return nil
}

func (s *Spool) saveRecord(path string, p place) error {
	dir := filepath.Dir(path)
	if err := s.disk.mkdir(dir); err != nil {
		return err
	}
	f, err := os.Open(p.seg.path)
	if err != nil {
		return err
	}
	defer f.Close()
	tmp := path + tempSuffix
	if err := s.copyTo(tmp, io.NewSectionReader(f, p.off, p.size())); err != nil {
		return err
	}
	if err := s.disk.rename(tmp, path); err != nil {
		return err
	}
	if err := s.disk.syncDir(dir); err != nil {
		return err
	}
	return s.disk.syncDir(s.cfg.Dir)
}
