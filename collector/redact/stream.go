package redact

import (
	"bytes"
	"fmt"
	"io"
)

// maxLine bounds a line. The rest of a longer one is left out: cut anywhere, half a secret might stand on either side.
const maxLine = 1 << 20

// Stream redacts what is written to it, line by line. It is for one goroutine.
type Stream struct {
	r    *Redactor
	to   io.Writer
	pass pass
	part []byte // a line without its end
	out  []byte
	left int64 // bytes of this line that are left out
}

// Stream answers a writer whose text arrives redacted at to. member is what the report calls it. Close writes what is held.
func (r *Redactor) Stream(member string, to io.Writer) *Stream {
	return &Stream{r: r, to: to, pass: pass{r: r, member: member}}
}

// Write implements io.Writer. The result is the same however the text is cut into writes.
func (s *Stream) Write(text []byte) (int, error) {
	n := len(text)
	s.r.mu.Lock()
	s.out = s.out[:0]
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n') + 1
		piece := text[:max(end, 0)]
		if end == 0 {
			piece = text
		}
		text = text[len(piece):]
		if end > 0 && len(s.part) == 0 && s.left == 0 && len(piece) <= maxLine {
			s.out = s.pass.line(s.out, piece)
			continue
		}
		room := maxLine - len(s.part)
		if len(piece) > room {
			s.left += int64(len(piece) - room)
			piece = piece[:room]
		}
		s.part = append(s.part, piece...)
		if end > 0 {
			s.endLine()
		}
	}
	s.r.mu.Unlock()
	if len(s.out) > 0 {
		if _, err := s.to.Write(s.out); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// endLine redacts the line in part. What a line was cut to may end in half a secret: its last word goes too.
func (s *Stream) endLine() {
	if s.left > 0 {
		cut := len(s.part)
		for cut > 0 && s.part[cut-1] > ' ' {
			cut--
		}
		s.left += int64(len(s.part) - cut)
		s.out = s.pass.line(s.out, s.part[:cut])
		s.out = fmt.Appendf(s.out, " [%d bytes of this line are left out]\n", s.left)
	} else {
		s.out = s.pass.line(s.out, s.part)
	}
	s.part, s.left = s.part[:0], 0
}

// Cut is Close for a text that was not read to its end: a line without one may be half a secret, and is left out.
func (s *Stream) Cut() error {
	s.part, s.left = s.part[:0], 0
	return s.Close()
}

// Close writes what is held. It does not close what it writes to.
func (s *Stream) Close() error {
	s.r.mu.Lock()
	s.out = s.out[:0]
	if len(s.part) > 0 || s.left > 0 {
		s.endLine()
	}
	s.out = s.pass.end(s.out)
	s.r.mu.Unlock()
	_, err := s.to.Write(s.out)
	return err
}
