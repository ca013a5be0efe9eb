package spool

import "time"

// Stats is a moment of the spool. The books: Recovered + Appended = Acked + PendingEvents + Dropped + SetAside + Lost.
type Stats struct {
	PendingFrames int64 // not acked
	PendingEvents int64
	PendingBytes  int64
	Oldest        int64         // when the oldest of them was sealed, Unix milliseconds; 0 if there is none
	Unacked       time.Duration // how long frames are pending and none has been acked, by the monotonic clock; 0 if none pends
	Segments      int
	Bytes         int64  // on disk, acked or not
	Capacity      int64  // max_bytes
	Full          string // why Append takes nothing, full or failing; empty while it does
	FullFor       time.Duration
	Failing       string // what the disk does not do besides, such as to sync; empty while all is well

	// Events, since Open.
	Recovered int64 // found un-acked by Open
	Appended  int64
	Replayed  int64 // of Appended: out of a file, as Record.Replayed says
	Acked     int64
	Dropped   int64 // by when_full: drop_oldest
	SetAside  int64
	Lost      int64 // in segments that were damaged after Open

	AckedSeq  uint64 // every frame up to here is done with
	LastSeq   uint64 // the last record
	SyncedSeq uint64 // every record up to here is on disk or acked

	BadSegments int64 // in which damage was found since Open
	BadBytes    int64 // that were no record, copied aside
}

// Stats returns the figures of this moment.
func (s *Spool) Stats() Stats {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.count
	st := Stats{
		PendingFrames: c.frames, PendingEvents: c.events, PendingBytes: c.bytes,
		Oldest: s.oldest(), Segments: len(s.segs), Bytes: s.bytes, Capacity: int64(s.cfg.MaxBytes),
		Full: s.fullWhy, FullFor: s.fullFor, Failing: s.failingWhy,
		Recovered: c.recovered, Appended: c.appended, Acked: c.acked, Replayed: c.replayed, Dropped: c.dropped, SetAside: c.setAside, Lost: c.lost,
		AckedSeq: s.acked, LastSeq: s.last, SyncedSeq: s.syncedSeq(),
		BadSegments: c.badSegs, BadBytes: c.badBytes,
	}
	if c.frames > 0 {
		st.Unacked = now.Sub(s.unacked)
	}
	if !s.fullSince.IsZero() {
		st.FullFor += now.Sub(s.fullSince)
	}
	return st
}

// oldest is when the first pending frame was sealed, or at the earliest, if the reader has not come to it. mu is held.
func (s *Spool) oldest() int64 {
	if len(s.reader.flight) > 0 {
		return s.reader.flight[0].sealed
	}
	for _, g := range s.segs {
		if g.frames > 0 {
			return g.sealed
		}
	}
	return 0
}
