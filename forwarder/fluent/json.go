package fluent

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of an object whose keys become fields. A text beyond them stays text.
const (
	maxJSONDepth = 32
	maxJSONKeys  = 256
)

// appendJSON appends the pairs of a JSON object as MessagePack and answers how many: 0, with dst as it was, where the text is
// anything else than the object x.JSON. Keys that the event has already are left out; of one that comes twice, the first counts. Integers stay integers where 64 bits hold them.
func appendJSON(dst []byte, fields *Fields, x *Extra) ([]byte, int) {
	p := jsonReader{b: x.JSON}
	p.blank()
	before := len(dst)
	if !p.take('{') {
		return dst, 0
	}
	var seen [maxJSONKeys][2]int // where the keys lie in dst
	n, keys := 0, 0
	p.blank()
	for first := true; !p.take('}'); first = false {
		if !first && !p.take(',') {
			return dst[:before], 0
		}
		p.blank()
		at := len(dst)
		var ok bool
		if dst, ok = p.text(dst); !ok {
			return dst[:before], 0
		}
		start := at + 5
		key := dst[start:]
		p.blank()
		if !p.take(':') {
			return dst[:before], 0
		}
		if keys++; keys > maxJSONKeys {
			return dst[:before], 0
		}
		taken := isOurs(key, fields, x) || slices.ContainsFunc(seen[:n], func(s [2]int) bool { return string(dst[s[0]:s[1]]) == string(key) })
		end := len(dst)
		p.blank()
		if dst, ok = p.value(dst, 1); !ok {
			return dst[:before], 0
		}
		p.blank()
		if taken {
			dst = dst[:at]
			continue
		}
		seen[n] = [2]int{start, end}
		n++
	}
	p.blank()
	if p.i != len(p.b) {
		return dst[:before], 0
	}
	return dst, n
}

func isOurs(key []byte, fields *Fields, x *Extra) bool {
	switch string(key) {
	case "log", "part", "part_last", "_id":
		return true
	case "level":
		if x.Level != "" {
			return true
		}
	}
	return fields != nil && slices.Contains(fields.keys, string(key)) || slices.ContainsFunc(x.Fields, func(f Field) bool { return f.Key == string(key) })
}

// jsonReader reads JSON (RFC 8259) and writes MessagePack. Lengths that are not known beforehand take the longest form.
type jsonReader struct {
	b []byte
	i int
}

func (p *jsonReader) blank() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *jsonReader) take(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *jsonReader) value(dst []byte, depth int) ([]byte, bool) {
	if p.i >= len(p.b) || depth > maxJSONDepth {
		return dst, false
	}
	switch c := p.b[p.i]; c {
	case '"':
		return p.text(dst)
	case '{', '[':
		return p.group(dst, depth, c == '{')
	case 't':
		return append(dst, 0xc3), p.word("true")
	case 'f':
		return append(dst, 0xc2), p.word("false")
	case 'n':
		return append(dst, 0xc0), p.word("null")
	}
	return p.number(dst)
}

func (p *jsonReader) word(w string) bool {
	if len(p.b)-p.i < len(w) || string(p.b[p.i:p.i+len(w)]) != w {
		return false
	}
	p.i += len(w)
	return true
}

func (p *jsonReader) group(dst []byte, depth int, object bool) ([]byte, bool) {
	end, kind := byte(']'), byte(0xdd)
	if object {
		end, kind = '}', 0xdf
	}
	p.i++
	head := len(dst)
	dst = append(dst, kind, 0, 0, 0, 0)
	n := uint32(0)
	p.blank()
	for !p.take(end) {
		if n > 0 && !p.take(',') {
			return dst, false
		}
		p.blank()
		var ok bool
		if object {
			if dst, ok = p.text(dst); !ok {
				return dst, false
			}
			p.blank()
			if !p.take(':') {
				return dst, false
			}
			p.blank()
		}
		if dst, ok = p.value(dst, depth+1); !ok {
			return dst, false
		}
		n++
		p.blank()
	}
	binary.BigEndian.PutUint32(dst[head+1:], n)
	return dst, true
}

// text reads a string. Its head is always five bytes.
func (p *jsonReader) text(dst []byte) ([]byte, bool) {
	if !p.take('"') {
		return dst, false
	}
	head := len(dst)
	dst = append(dst, 0xdb, 0, 0, 0, 0)
	for p.i < len(p.b) {
		from := p.i
		for p.i < len(p.b) && p.b[p.i] != '"' && p.b[p.i] != '\\' && p.b[p.i] >= ' ' {
			p.i++
		}
		if s := p.b[from:p.i]; valid(s) {
			dst = append(dst, s...)
		} else {
			dst = appendValid(dst, s)
		}
		switch {
		case p.i >= len(p.b):
			return dst, false
		case p.take('"'):
			binary.BigEndian.PutUint32(dst[head+1:], uint32(len(dst)-head-5))
			return dst, true
		case p.b[p.i] != '\\':
			return dst, false // a control character
		}
		var ok bool
		if dst, ok = p.escape(dst); !ok {
			return dst, false
		}
	}
	return dst, false
}

func (p *jsonReader) escape(dst []byte) ([]byte, bool) {
	p.i++
	if p.i >= len(p.b) {
		return dst, false
	}
	c := p.b[p.i]
	p.i++
	switch c {
	case '"', '\\', '/':
		return append(dst, c), true
	case 'b':
		return append(dst, '\b'), true
	case 'f':
		return append(dst, '\f'), true
	case 'n':
		return append(dst, '\n'), true
	case 'r':
		return append(dst, '\r'), true
	case 't':
		return append(dst, '\t'), true
	case 'u':
		r, ok := p.hex()
		if !ok {
			return dst, false
		}
		if utf16.IsSurrogate(r) {
			half := p.i
			if p.take('\\') && p.take('u') {
				if low, ok := p.hex(); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						return utf8.AppendRune(dst, both), true
					}
				}
			}
			p.i, r = half, utf8.RuneError
		}
		return utf8.AppendRune(dst, r), true
	}
	return dst, false
}

func (p *jsonReader) hex() (rune, bool) {
	if len(p.b)-p.i < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(p.b[p.i:p.i+4]), 16, 16)
	p.i += 4
	return rune(n), err == nil
}

func (p *jsonReader) number(dst []byte) ([]byte, bool) {
	from := p.i
	digits := func() bool {
		at := p.i
		for p.i < len(p.b) && p.b[p.i]-'0' <= 9 {
			p.i++
		}
		return p.i > at
	}
	p.take('-')
	if !p.take('0') && !digits() {
		return dst, false
	}
	whole := true
	if p.take('.') {
		if whole = false; !digits() {
			return dst, false
		}
	}
	if p.take('e') || p.take('E') {
		whole = false
		if !p.take('+') {
			p.take('-')
		}
		if !digits() {
			return dst, false
		}
	}
	s := string(p.b[from:p.i])
	if whole && s != "-0" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(n)), true
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return binary.BigEndian.AppendUint64(append(dst, 0xcf), n), true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil { // beyond what a float can be
		return dst, false
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcb), math.Float64bits(f)), true
}
