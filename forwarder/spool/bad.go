package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// copyBad copies bytes that were not understood to a file of their own: the segment will be unlinked some day. A former life may
// have done it already.
func (s *Spool) copyBad(g *segment, f io.ReaderAt, p gap) {
	path := filepath.Join(s.cfg.Dir, fmt.Sprintf("%016x-%x%s", g.first, p.from, badSuffix))
	n := p.to - p.from
	if fi, err := os.Stat(path); err == nil && fi.Size() == n {
		return
	}
	s.mu.Lock()
	s.count.badBytes += n
	s.mu.Unlock()
	s.m.badBytes.Add(float64(n))
	if err := s.copyTo(path, io.NewSectionReader(f, p.from, n)); err != nil {
		s.mu.Lock()
		g.damaged = true
		s.mu.Unlock()
		s.log.Warn("damaged bytes could not be copied aside, their segment will be kept", "path", path, "bytes", n, "err", err)
	}
}

// copyTo writes what r has to a new file.
func (s *Spool) copyTo(path string, r io.Reader) error {
	if err := s.disk.remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	w, err := s.disk.create(path)
	if err != nil {
		return err
	}
	buf := make([]byte, scanBytes)
	for off := int64(0); err == nil; {
		var n int
		n, err = io.ReadFull(r, buf)
		if n > 0 {
			if _, werr := w.write([][]byte{buf[:n]}, off); werr != nil {
				err = werr
			}
			off += int64(n)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = w.sync()
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}
