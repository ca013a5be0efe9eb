package fluent

import (
	"encoding/binary"
	"unicode/utf8"
)

const replacement = string(utf8.RuneError) // U+FFFD

// valid is utf8.Valid, quicker for what is ASCII, as nearly all text is: the rest of a last word is looked at in words as well.
func valid(p []byte) bool {
	t := p
	for len(t) >= 32 {
		if (word(t)|word(t[8:])|word(t[16:])|word(t[24:]))&highBits != 0 {
			return utf8.Valid(t)
		}
		t = t[32:]
	}
	for len(t) >= 8 {
		if word(t)&highBits != 0 {
			return utf8.Valid(t)
		}
		t = t[8:]
	}
	return len(p) >= 8 && word(p[len(p)-8:])&highBits == 0 || utf8.Valid(t)
}

const highBits = 0x8080808080808080

func word(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// invalidBytes counts the bytes that appendValid replaces.
func invalidBytes(p []byte) (n int) {
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			n++
		}
		p = p[size:]
	}
	return n
}

// appendValid appends p with each byte that is not part of valid UTF-8 as U+FFFD.
func appendValid(dst, p []byte) []byte {
	for len(p) > 0 {
		good := 0
		for good < len(p) {
			r, size := utf8.DecodeRune(p[good:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			good += size
		}
		dst = append(dst, p[:good]...)
		if p = p[good:]; len(p) > 0 {
			dst = append(dst, replacement...)
			p = p[1:]
		}
	}
	return dst
}

func toValid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string(appendValid(nil, []byte(s)))
}
