package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// The file `acked` says how far Fluentd has acknowledged, big endian:
//
//	offset  size  field
//	0       8     sequence number: every frame up to it is acked
//	8       4     CRC-32C of the 8 bytes before
//
// It lies in one disk sector and is rewritten in place. Torn, it counts as absent, and what is still in the spool is sent again.
const (
	ackedName  = "acked"
	ackedBytes = 12
)

// readAcked returns the sequence number in the file, false if it is absent, torn or cannot be read.
func readAcked(dir string) (uint64, bool) {
	f, err := os.Open(filepath.Join(dir, ackedName))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var b [ackedBytes]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return 0, false
	}
	if crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[:8]), true
}

func writeAcked(f file, seq uint64) error {
	var b [ackedBytes]byte
	binary.BigEndian.PutUint64(b[:], seq)
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	_, err := f.write([][]byte{b[:]}, 0)
	return err
}

// openAcks opens the file for the cursor of this life.
func (s *Spool) openAcks() error {
	f, err := s.disk.openAcked(filepath.Join(s.cfg.Dir, ackedName))
	if err != nil {
		return err
	}
	s.acks = f
	return nil
}

// saveAcks writes the cursor down if it has moved, or synced is asked for. syncMu is held.
func (s *Spool) saveAcks(now time.Time, synced bool) error {
	s.mu.Lock()
	acked := s.acked
	s.mu.Unlock()
	if acked == s.acksSaved && (!synced || acked == s.acksSynced) {
		return nil
	}
	s.acksAt = now
	if s.acks == nil {
		if err := s.openAcks(); err != nil {
			return err
		}
	}
	if err := writeAcked(s.acks, acked); err != nil {
		return err
	}
	s.acksSaved = acked
	if synced {
		if err := s.acks.sync(); err != nil {
			return err
		}
		s.acksSynced = acked
	}
	return nil
}

// SaveCursor writes the cursor down if it has moved and 100 ms have passed since it last was. Whoever comes by often calls it, so that
// the syncer need not wake up for that; without, the syncer does it within a fifth of sync_after.
func (s *Spool) SaveCursor() {
	if !s.syncMu.TryLock() {
		return // the syncer does it, or is at something that takes its time
	}
	defer s.syncMu.Unlock()
	s.saveCursor(s.now())
}

// saveCursor writes the cursor down, not too often. syncMu is held.
func (s *Spool) saveCursor(now time.Time) {
	if since := now.Sub(s.acksAt); since >= 0 && since < ackEvery {
		return
	}
	if err := s.saveAcks(now, false); err != nil {
		s.complain("saving the cursor failed, frames may be sent again after a crash", "err", err)
	}
}

// Ack moves the cursor: every frame up to seq has been acknowledged. It says how many events that adds. Run and SaveCursor write it
// down; Run unlinks what lies behind it.
func (s *Spool) Ack(seq uint64) (int, error) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	if seq <= s.acked {
		return 0, nil
	}
	if seq > s.reader.handed {
		return 0, fmt.Errorf("ack of frame %x, which was not handed out", seq)
	}
	events := s.reader.done(seq)
	s.count.acked += int64(events)
	s.unacked = now
	s.cursor(seq)
	return events, nil
}

// cursor moves the cursor to seq. mu is held.
func (s *Spool) cursor(seq uint64) {
	s.acked = max(s.acked, seq)
	if len(s.reader.alone) > 0 && s.count.frames == 0 {
		s.acked = max(s.acked, s.last)
	}
	s.reader.alone.forget(s.acked)
	if len(s.segs) > 1 && s.segs[0].frames == 0 {
		s.poke()
	}
}
