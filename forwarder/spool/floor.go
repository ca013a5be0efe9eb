package spool

// floor says which input records are still needed. The owner raises it when the frames that hold their events, with the
// marks that say so, are appended; it takes effect when these frames are on disk or acked. Else a power cut could take
// the frame after the input record it stands for was unlinked.
type floor struct {
	effective uint64
	waiting   []raise // at most two: the one waited for, and the newest
}

type raise struct{ floor, after uint64 }

// SetInputFloor tells that input records from seq on are still needed, 0 that none of those appended so far is. Until the first
// call all are.
func (s *Spool) SetInputFloor(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq == 0 {
		seq = s.last + 1
	}
	var after uint64
	for i := len(s.segs) - 1; i >= 0 && after == 0; i-- {
		after = s.segs[i].lastFrame
	}
	f := &s.floor
	switch {
	case seq <= f.effective:
		f.effective, f.waiting = seq, nil
	case len(f.waiting) == 2:
		f.waiting[1] = raise{seq, after}
	case len(f.waiting) == 0 || f.waiting[0].floor != seq:
		f.waiting = append(f.waiting, raise{seq, after})
	}
}

// settle lets take effect what waited for records up to safe.
func (f *floor) settle(safe uint64) {
	for len(f.waiting) > 0 && f.waiting[0].after <= safe {
		f.effective, f.waiting = f.waiting[0].floor, f.waiting[1:]
	}
}

// pins reports whether g holds an input record that is needed.
func (f *floor) pins(g *segment) bool { return g.lastInput > 0 && g.lastInput >= f.effective }
