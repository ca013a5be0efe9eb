package fold

import "math/bits"

// Nearly every line begins no report, and nearly every other one of a single language: its first byte, its last byte or its shape
// tells of which.

// openers says which languages may open something with a line, as bits by their place in Folder.langs.
type openers struct {
	first, last [256]uint16
	shapes      [shapeLast]uint16
}

func openersOf(langs []*language) *openers {
	o := new(openers)
	for i, lang := range langs {
		bit := uint16(1) << i
		for _, c := range []byte(lang.first) {
			o.first[c] |= bit
		}
		for _, c := range []byte(lang.last) {
			o.last[c] |= bit
		}
		for _, s := range lang.shapes {
			o.shapes[s] |= bit
		}
	}
	return o
}

// of is the set of languages that may open something with l.
func (o *openers) of(l *line) uint16 {
	set := o.shapes[l.shape]
	if n := len(l.msg); n > 0 {
		set |= o.first[l.msg[0]] | o.last[l.msg[n-1]]
	}
	return set
}

// opens asks the languages what s.line begins. Where a prefix tells what follows, a name that promises frames says no more.
func (s *Stream) opens(prefixed bool) (*language, uint8) {
	l := &s.line
	if l.shape == shapeRequest {
		return nil, 0
	}
	for set := s.f.openers.of(l); set != 0; set &= set - 1 {
		lang := s.f.langs[bits.TrailingZeros16(set)]
		if state := lang.opens(l); state != 0 {
			return lang, state
		}
	}
	if state := plainOpens(l, prefixed); state != 0 {
		return plain, state
	}
	return nil, 0
}
