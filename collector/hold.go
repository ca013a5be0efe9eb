package collector

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/s2"
)

// plainHold is what a hold keeps as it is.
const plainHold = 256 << 10

// hold keeps the redacted text of one member until its size is known, which stands before it in a tar. Nothing is staged on disk;
// what is large is kept compressed.
type hold struct {
	plain  bytes.Buffer
	packed bytes.Buffer
	packer *s2.Writer
	size   int64
	lines  int64
}

func (h *hold) Write(b []byte) (int, error) {
	h.size += int64(len(b))
	h.lines += int64(bytes.Count(b, []byte{'\n'}))
	if h.packer == nil {
		if h.plain.Len()+len(b) <= plainHold {
			return h.plain.Write(b)
		}
		h.packer = s2.NewWriter(&h.packed, s2.WriterConcurrency(1), s2.WriterBlockSize(256<<10))
	}
	return h.packer.Write(b)
}

// reader answers the text. Nothing may be written afterwards.
func (h *hold) reader() (io.Reader, error) {
	if h.packer == nil {
		return &h.plain, nil
	}
	if err := h.packer.Close(); err != nil {
		return nil, err
	}
	return io.MultiReader(&h.plain, s2.NewReader(&h.packed, s2.ReaderMaxBlockSize(256<<10))), nil
}
