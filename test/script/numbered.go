package script

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strconv"
)

// Numbered is a line that tells all about itself: who wrote it, the how manieth it is, and when it was written. Its text is a function of
// these, so that a receiver can tell whether it came as it was written.
type Numbered struct {
	Writer string
	Stream byte
	N      int
	At     int64 // Unix nanoseconds
}

// Append appends the line without its newline.
func (l Numbered) Append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "w=%s s=%c n=%d at=%d ", l.Writer, l.Stream, l.N, l.At)
	h := fnv.New64a()
	_, _ = h.Write([]byte(l.Writer))
	x := h.Sum64() + uint64(l.N)*0x9e3779b97f4a7c15
	size := int(x >> 40 % 160)
	if l.N%100 == 99 {
		size = 5000 // over a packet
	}
	for ; size > 0; size -= 16 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		dst = fmt.Appendf(dst, "%016x", x)
	}
	return dst
}

// ParseNumbered reads such a line. It is not ok if the text is another than Append makes.
func ParseNumbered(text []byte) (l Numbered, ok bool) {
	words := bytes.SplitN(text, []byte(" "), 5)
	if len(words) < 5 || !bytes.HasPrefix(words[0], []byte("w=")) || len(words[1]) != 3 || !bytes.HasPrefix(words[1], []byte("s=")) ||
		!bytes.HasPrefix(words[2], []byte("n=")) || !bytes.HasPrefix(words[3], []byte("at=")) {
		return l, false
	}
	l.Writer, l.Stream = string(words[0][2:]), words[1][2]
	var err error
	if l.N, err = strconv.Atoi(string(words[2][2:])); err != nil {
		return l, false
	}
	if l.At, err = strconv.ParseInt(string(words[3][3:]), 10, 64); err != nil {
		return l, false
	}
	return l, bytes.Equal(text, l.Append(nil))
}
