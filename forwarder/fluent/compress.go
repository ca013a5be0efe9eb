package fluent

import (
	"bytes"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The forms that the entries of a frame can have: the values of `forward.compress`, and but for the first of the option
// `compressed` of a frame.
const (
	formNone = "none"
	formGzip = "gzip"
	formZstd = "zstd" // Fluentd 1.19 and later
)

func validForm(form string) error {
	switch form {
	case formNone, formGzip, formZstd:
		return nil
	}
	return fmt.Errorf("forward.compress: %q is unknown, use none, gzip or zstd", form)
}

// zstdWindow is as far back as zstd looks for a repetition: a whole frame. More would only cost memory.
const zstdWindow = 256 << 10

// leastPacked is the size from which entries are compressed: below, what is saved is not worth the receiver's work.
const leastPacked = 256

// Compressor packs the entries of frames as they are sealed. One serves all Builders of a goroutine; it keeps one buffer,
// as large as the largest frame it packed. A nil Compressor packs nothing.
type Compressor struct {
	form string
	out  []byte
	gz   *gzip.Writer
	zs   *zstd.Encoder
}

// NewCompressor makes a Compressor of a form that Validate has passed; nil for "none".
func NewCompressor(form string) *Compressor {
	switch form {
	case formGzip:
		return &Compressor{form: form}
	case formZstd:
		// One encoder that packs whole blocks in the caller's goroutine and starts none of its own.
		zs, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false)) // TCP, TLS and the spool have theirs
		if err != nil {
			panic("fluent: zstd: " + err.Error()) // it depends on the options alone
		}
		return &Compressor{form: form, zs: zs}
	}
	return nil
}

// pack returns the entries compressed, valid until the next call; nil if that would not make them smaller.
func (c *Compressor) pack(entries []byte) []byte {
	if c == nil || len(entries) < leastPacked {
		return nil
	}
	switch c.form {
	case formZstd:
		c.out = c.zs.EncodeAll(entries, c.out[:0])
	case formGzip:
		b := bytes.NewBuffer(c.out[:0])
		if c.gz == nil {
			c.gz, _ = gzip.NewWriterLevel(b, gzip.BestSpeed) // the level is valid
		} else {
			c.gz.Reset(b)
		}
		_, _ = c.gz.Write(entries) // into memory
		_ = c.gz.Close()
		c.out = b.Bytes()
	}
	if len(c.out) >= len(entries) {
		return nil
	}
	return c.out
}
