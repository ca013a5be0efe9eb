package listen

import (
	"encoding/binary"
	"errors"
)

// Only what Forward needs of MessagePack: to find where values end, and to look into maps. A general library costs a call and an
// allocation per value, and would have to be trusted with lengths that a peer makes up.

type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindInt   // n is unused: see integer
	kindFloat // 32 or 64 bits
	kindStr
	kindBin
	kindArray
	kindMap
	kindExt
)

// Limits that hold for every message.
const (
	maxMessage = 16 << 20 // bytes of a message, as it is on the wire
	maxDepth   = 48       // of arrays and maps within each other
)

var (
	errMalformed = errors.New("not MessagePack")
	errTooLarge  = errors.New("message is larger than 16 MiB")
	errTooDeep   = errors.New("message is nested too deeply")
	errPartial   = errors.New("value is cut off")
)

// head reads the head of the value at the start of p: its kind, the bytes of the head (of a number: all of it), and n: the bytes of a
// payload that follow, or the elements of an array, or the pairs of a map.
func head(p []byte) (k kind, size, n int, err error) {
	if len(p) == 0 {
		return 0, 0, 0, errPartial
	}
	c := p[0]
	switch {
	case c < 0x80 || c >= 0xe0:
		return kindInt, 1, 0, nil
	case c < 0x90:
		return kindMap, 1, int(c & 15), nil
	case c < 0xa0:
		return kindArray, 1, int(c & 15), nil
	case c < 0xc0:
		return kindStr, 1, int(c & 31), nil
	}
	h := heads[c-0xc0]
	if h.size == 0 {
		return 0, 0, 0, errMalformed
	}
	if len(p) < int(h.size) {
		return 0, 0, 0, errPartial
	}
	n = int(h.n)
	switch h.length {
	case 1:
		n = int(p[1])
	case 2:
		n = int(binary.BigEndian.Uint16(p[1:]))
	case 4:
		n = int(binary.BigEndian.Uint32(p[1:]))
	}
	return h.kind, int(h.size), n, nil
}

// heads are those of 0xc0 to 0xdf. A length of 0 means that n is given.
var heads = [32]struct {
	kind            kind
	size, length, n uint8
}{
	0x00: {kindNil, 1, 0, 0}, 0x02: {kindBool, 1, 0, 0}, 0x03: {kindBool, 1, 0, 0},
	0x04: {kindBin, 2, 1, 0}, 0x05: {kindBin, 3, 2, 0}, 0x06: {kindBin, 5, 4, 0},
	0x07: {kindExt, 3, 1, 0}, 0x08: {kindExt, 4, 2, 0}, 0x09: {kindExt, 6, 4, 0},
	0x0a: {kindFloat, 5, 0, 0}, 0x0b: {kindFloat, 9, 0, 0},
	0x0c: {kindInt, 2, 0, 0}, 0x0d: {kindInt, 3, 0, 0}, 0x0e: {kindInt, 5, 0, 0}, 0x0f: {kindInt, 9, 0, 0},
	0x10: {kindInt, 2, 0, 0}, 0x11: {kindInt, 3, 0, 0}, 0x12: {kindInt, 5, 0, 0}, 0x13: {kindInt, 9, 0, 0},
	0x14: {kindExt, 2, 0, 1}, 0x15: {kindExt, 2, 0, 2}, 0x16: {kindExt, 2, 0, 4}, 0x17: {kindExt, 2, 0, 8}, 0x18: {kindExt, 2, 0, 16},
	0x19: {kindStr, 2, 1, 0}, 0x1a: {kindStr, 3, 2, 0}, 0x1b: {kindStr, 5, 4, 0},
	0x1c: {kindArray, 3, 2, 0}, 0x1d: {kindArray, 5, 4, 0}, 0x1e: {kindMap, 3, 2, 0}, 0x1f: {kindMap, 5, 4, 0},
}

// scanner finds the end of a value whose bytes come bit by bit. It goes on where it stopped, so that a large message is not looked
// at again with each piece of it.
type scanner struct {
	at    int // everything before it was scanned
	need  int // where the value ends at the earliest
	depth int
	left  [maxDepth]int // values that are still to come, by depth
}

// reset makes it ready for the next value. What is left from before is overwritten as it is used.
func (s *scanner) reset() { s.at, s.need, s.depth = 0, 0, 0 }

// scan looks at p, which begins where the value does. It answers true when the value is whole; at is then its end.
func (s *scanner) scan(p []byte, limit int) (bool, error) {
	if s.at == 0 && s.depth == 0 {
		s.depth, s.left[0] = 1, 1
	}
	for s.depth > 0 {
		if s.left[s.depth-1] == 0 {
			s.depth--
			continue
		}
		k, size, n, err := head(p[min(s.at, len(p)):])
		if err != nil {
			if errors.Is(err, errPartial) {
				s.need = max(s.need, s.at+1)
				return false, nil
			}
			return false, err
		}
		end, inner := s.at+size, 0
		switch k {
		case kindArray:
			inner = n
		case kindMap:
			inner = 2 * n
		default:
			end += n
		}
		if end+inner > limit { // each value has a byte at least
			return false, errTooLarge
		}
		if end > len(p) {
			s.need = max(s.need, end)
			return false, nil
		}
		s.left[s.depth-1]--
		s.at = end
		if inner > 0 {
			if s.depth == maxDepth {
				return false, errTooDeep
			}
			s.left[s.depth] = inner
			s.depth++
		}
	}
	return true, nil
}

// skip returns the end of the value at the start of p.
func skip(p []byte) (int, error) {
	k, size, n, err := head(p)
	if err != nil {
		return 0, err
	}
	if k != kindArray && k != kindMap { // nearly all
		if size+n > len(p) {
			return 0, errPartial
		}
		return size + n, nil
	}
	var s scanner
	done, err := s.scan(p, len(p))
	switch {
	case errors.Is(err, errTooLarge):
		return 0, errPartial
	case err != nil:
		return 0, err
	case !done:
		return 0, errPartial
	}
	return s.at, nil
}

// payload takes a str or bin off p.
func payload(p []byte) (b, rest []byte, ok bool) {
	k, size, n, err := head(p)
	if err != nil || k != kindStr && k != kindBin || size+n > len(p) {
		return nil, nil, false
	}
	return p[size : size+n : size+n], p[size+n:], true
}

// integer takes an integer off p.
func integer(p []byte) (v int64, rest []byte, ok bool) {
	k, size, _, err := head(p)
	if err != nil || k != kindInt {
		return 0, nil, false
	}
	switch c := p[0]; {
	case c < 0x80:
		v = int64(c)
	case c >= 0xe0:
		v = int64(int8(c))
	case c == 0xcc:
		v = int64(p[1])
	case c == 0xcd:
		v = int64(binary.BigEndian.Uint16(p[1:]))
	case c == 0xce:
		v = int64(binary.BigEndian.Uint32(p[1:]))
	case c == 0xcf:
		u := binary.BigEndian.Uint64(p[1:])
		v = int64(min(u, 1<<63-1))
	case c == 0xd0:
		v = int64(int8(p[1]))
	case c == 0xd1:
		v = int64(int16(binary.BigEndian.Uint16(p[1:])))
	case c == 0xd2:
		v = int64(int32(binary.BigEndian.Uint32(p[1:])))
	case c == 0xd3:
		v = int64(binary.BigEndian.Uint64(p[1:]))
	}
	return v, p[size:], true
}
