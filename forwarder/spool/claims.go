package spool

import "encoding/binary"

// A base claims positions whose lines may lie in segments of former lives, not yet acked. Should such a segment rot after the
// base was written, its lines must be read again, so then the base does not count. To know, the base carries a mark of the
// spool's own, with an empty key, that lists these segments, big endian:
//
//	offset  size  field
//	0       8     first sequence number
//	8       8     last sequence number
//	16      8     valid records in it
const claimBytes = 24

// appendClaims appends the mark for the segments of former lives that hold something.
func (s *Spool) appendClaims(dst []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var v []byte
	for _, g := range s.segs {
		if g.frames > 0 || g.lastInput > 0 {
			v = binary.BigEndian.AppendUint64(v, g.first)
			v = binary.BigEndian.AppendUint64(v, g.last)
			v = binary.BigEndian.AppendUint64(v, uint64(g.records))
		}
	}
	if v == nil {
		return dst
	}
	return appendMark(dst, "", v)
}

// intact reports whether all that a base claims, by its marks, is still there or acked.
func (r *recovery) intact(marks []byte) bool {
	ok := true
	_ = eachMark(marks, func(key, v []byte) {
		if len(key) > 0 {
			return
		}
		ok = ok && len(v)%claimBytes == 0
		for ; ok && len(v) >= claimBytes; v = v[claimBytes:] {
			ok = r.holds(binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v[16:]))
		}
	})
	return ok
}

func (r *recovery) holds(first, last, records uint64) bool {
	if last <= r.acked {
		return true
	}
	for _, g := range r.s.segs {
		if g.first == first {
			return uint64(g.records) == records
		}
	}
	// It was acked and unlinked, if only `acked` does not tell because it is torn: segments go from the oldest on.
	return !r.ackedKnown && (len(r.s.segs) == 0 || first < r.s.segs[0].first)
}
