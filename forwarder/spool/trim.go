package spool

// Trim has the next record begin a new segment, so that the present one can go if all of it is acked. It answers how many bytes that frees;
// less than the smallest segment is not worth a new one. What is not acked stays whatever the disk looks like.
func (s *Spool) Trim() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.active
	if s.closed || g == nil || g.disk < minSegmentBytes || s.rollNext || s.acked < g.last {
		return 0
	}
	s.rollNext = true
	return g.disk
}
