package fluent

import "unicode/utf8"

const replacement = string(utf8.RuneError) // U+FFFD

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
