package fold

import "bytes"

// Terminal colours are text like any other to the receiver, but say nothing of what a line is. ESC [ 1 ; 34 m is an example; K at the
// end erases the rest of the line, which programs that colour do as well.

// maxUncoloured is within how many bytes a line must begin to be coloured: no line has its prefix or its shape behind them.
const maxUncoloured = 128

// withoutColours is b, whose first escape is at i, as it is judged: a copy that is good until the next call.
func (f *Folder) withoutColours(b []byte, i int) []byte {
	dst := append(f.plain[:0], b[:i]...)
	for b = b[i:]; len(b) > 0; {
		n := colour(b)
		if n == 0 { // another escape
			n = 1
			dst = append(dst, b[0])
		}
		b = b[n:]
		if i = bytes.IndexByte(b, 0x1b); i < 0 {
			i = len(b)
		}
		dst = append(dst, b[:i]...)
		b = b[i:]
	}
	if cap(dst) <= maxIdleBytes {
		f.plain = dst
	}
	return dst
}

// colour returns the length of the escape that sets a colour (or erases to the end of the line) at the start of b; 0 if it is none.
func colour(b []byte) int {
	if len(b) < 3 || b[0] != 0x1b || b[1] != '[' {
		return 0
	}
	for i := 2; i < len(b) && i < 32; i++ {
		switch c := b[i]; {
		case c == 'm', c == 'K':
			return i + 1
		case !isDigit(c) && c != ';' && c != ':':
			return 0
		}
	}
	return 0
}
