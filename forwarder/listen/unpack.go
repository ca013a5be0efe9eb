package listen

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// What a compressed body may become: no more than Fluentd takes, and no more than text gives for its size.
const (
	maxUnpacked = 256 << 20
	maxRatio    = 500
	freeRatio   = 4 << 20 // up to here the ratio does not count
	maxNoEvents = 1000    // entries that are none: what is full of them is no log, and would be looked at byte by byte
	windowBytes = 256 << 10
	zstdWindow  = 8 << 20 // what compressors use up to level 19; a larger one would be memory that the peer chooses
)

var (
	errBomb     = errors.New("compressed body unpacks to more than it may")
	errNoEvents = errors.New("compressed body holds no events")
)

// unpacker unpacks bodies, one at a time for all connections. The text is never there as a whole.
type unpacker struct {
	mu     sync.Mutex // guards what follows
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
	window []byte
}

// check unpacks a body to see whether all of it is well-formed, before any of it is passed on: a client whose message is refused
// sends it again, and again what comes before the fault. tail is the length of an entry cut off at the end.
func (u *unpacker) check(packing string, packed []byte) (tail int, err error) {
	return u.each(packing, packed, func([]byte) error { return nil })
}

// each calls f for runs of whole entries. mu is held by the caller.
func (u *unpacker) each(packing string, packed []byte, f func(entries []byte) error) (tail int, err error) {
	r, err := u.open(packing, packed)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", packing, err)
	}
	limit := min(maxUnpacked, max(freeRatio, maxRatio*len(packed)))
	if u.window == nil {
		u.window = make([]byte, windowBytes)
	}
	have, total, none := 0, 0, 0
	var s scanner
	for {
		n, err := io.ReadFull(r, u.window[have:])
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return 0, fmt.Errorf("%s: %w", packing, err)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			// ReadFull says the same of a text that ends here and of a body that is cut off: asking once more tells.
			if _, err := r.Read(u.window[have+n : have+n+1]); !errors.Is(err, io.EOF) {
				return 0, fmt.Errorf("%s: %w", packing, err)
			}
		}
		have += n
		if total += n; total > limit {
			return 0, fmt.Errorf("%w: over %d bytes from %d", errBomb, limit, len(packed))
		}
		whole := 0
		for whole < have {
			done, err := s.scan(u.window[whole:have], maxMessage)
			if err != nil {
				return 0, err
			}
			if !done {
				break
			}
			if k, _, n, _ := head(u.window[whole:]); k != kindArray || n < 2 {
				if none++; none > maxNoEvents {
					return 0, errNoEvents
				}
			}
			whole += s.at
			s.reset()
		}
		if whole > 0 {
			if err := f(u.window[:whole]); err != nil {
				return 0, err
			}
		}
		have = copy(u.window, u.window[whole:have])
		if end {
			u.close()
			return have, nil
		}
		if have == len(u.window) { // one entry is larger than the window
			u.window = append(u.window, make([]byte, len(u.window))...)
		}
	}
}

func (u *unpacker) open(packing string, packed []byte) (io.Reader, error) {
	if packing == "gzip" {
		var err error
		if u.gzip == nil {
			u.gzip, err = gzip.NewReader(bytes.NewReader(packed)) // it goes on over several members
		} else {
			err = u.gzip.Reset(bytes.NewReader(packed))
		}
		return u.gzip, err
	}
	if u.zstd == nil {
		var err error
		u.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(maxUnpacked))
		if err != nil {
			return nil, err
		}
	}
	return u.zstd, u.zstd.Reset(bytes.NewReader(packed))
}

// close lets go of what a body made large.
func (u *unpacker) close() {
	if len(u.window) > windowBytes {
		u.window = nil
	}
	if u.zstd != nil {
		_ = u.zstd.Reset(nil) // nothing of the body is held any longer
	}
}
