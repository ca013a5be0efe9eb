package spool

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
)

const (
	scanBytes     = 256 << 10
	blockBytes    = 4 << 10 // after a read error the search goes on at the next block
	maxReadErrors = 16      // in one segment; a dying disk may take seconds over each
)

var magic = []byte{magic0, magic1, version}

// scanner reads a segment file record by record and checks every byte of it. After damage it searches on for the next
// record that checks.
type scanner struct {
	f   io.ReaderAt
	end int64 // the scan looks at the file up to here

	buf      []byte // buf[:n] is the file from off on
	off      int64
	n        int
	failures int   // reads that ended in an error
	failure  error // the last of them
}

// scanned is what a scan found besides the records it handed to its visitor.
type scanned struct {
	end  int64 // end of the last whole record
	gaps []gap // damage before it
	tail int64 // bytes of no record behind it
}

func newScanner(f io.ReaderAt, end int64) *scanner {
	return &scanner{f: f, end: end, buf: make([]byte, min(scanBytes, max(end, HeaderBytes)))}
}

// at returns n bytes at off, at most len(sc.buf). They are valid until the next call. With an error it returns fewer.
func (sc *scanner) at(off int64, n int) ([]byte, error) {
	if off >= sc.off && off+int64(n) <= sc.off+int64(sc.n) {
		i := int(off - sc.off)
		return sc.buf[i : i+n], nil
	}
	k, err := sc.f.ReadAt(sc.buf[:min(int64(len(sc.buf)), sc.end-off)], off)
	sc.off, sc.n = off, k
	if k >= n {
		return sc.buf[:n], nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // shorter than it was a moment ago
	}
	sc.failures++
	sc.failure = err
	return sc.buf[:k], err
}

// rest returns what the buffer holds from off on, a header at least.
func (sc *scanner) rest(off int64) ([]byte, error) {
	if off >= sc.off && off+HeaderBytes <= sc.off+int64(sc.n) {
		return sc.buf[off-sc.off : sc.n], nil
	}
	return sc.at(off, int(min(int64(len(sc.buf)), sc.end-off)))
}

// bytes returns n bytes at off, however many, valid until the next use of the scanner.
func (sc *scanner) bytes(off int64, n int) ([]byte, error) {
	if n <= len(sc.buf) {
		return sc.at(off, n)
	}
	b := make([]byte, n)
	_, err := sc.f.ReadAt(b, off)
	return b, err
}

// check reports whether a whole valid record with a sequence number from lo to hi lies at off.
func (sc *scanner) check(off int64, lo, hi uint64) (header, bool) {
	if sc.end-off < HeaderBytes {
		return header{}, false
	}
	b, err := sc.at(off, HeaderBytes)
	if err != nil {
		return header{}, false
	}
	h, ok := decodeHeader(b)
	if !ok || h.seq < lo || h.seq > hi || h.size() > sc.end-off {
		return header{}, false
	}
	sum := crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[8:])
	for p, end := off+HeaderBytes, off+h.size(); p < end; {
		b, err := sc.at(p, int(min(int64(len(sc.buf)), end-p)))
		if err != nil {
			return header{}, false
		}
		sum = crc32.Update(sum, castagnoli, b)
		p += int64(len(b))
	}
	return h, sum == h.crc
}

// scan visits each valid record of a segment whose first record has sequence number first and whose successor starts at limit.
// A record counts only with the number its place allows, so bytes that merely look like one are not taken for it.
func (sc *scanner) scan(first, limit uint64, visit func(off int64, h header) error) (scanned, error) {
	var res scanned
	last := first - 1
	for off := int64(0); off < sc.end; {
		h, ok := sc.check(off, last+1, min(last+1, limit-1))
		if !ok {
			to, found, any := sc.search(off, last, limit)
			if !any {
				break
			}
			res.gaps = append(res.gaps, gap{off, to, found.seq})
			off, h = to, found
		}
		if err := visit(off, h); err != nil {
			return res, err
		}
		off += h.size()
		last, res.end = h.seq, off
	}
	res.tail = sc.end - res.end
	return res, nil
}

// search looks behind the damage at from for the next valid record. Every record that was lost there took HeaderBytes at
// least, which bounds the number the next one can have; that keeps the search from checking much in vain.
func (sc *scanner) search(from int64, last, limit uint64) (int64, header, bool) {
	return sc.find(from+1, func(off int64) (header, bool) {
		return sc.check(off, last+1, min(last+1+uint64((off-from)/HeaderBytes), limit-1))
	})
}

// find looks from off on for the first place with the magic where fits finds a record. Without one it returns the end.
func (sc *scanner) find(off int64, fits func(off int64) (header, bool)) (int64, header, bool) {
	for off+HeaderBytes <= sc.end && sc.failures < maxReadErrors {
		w, err := sc.rest(off)
		i := bytes.Index(w, magic)
		switch {
		case i >= 0:
			off += int64(i)
			if h, ok := fits(off); ok {
				return off, h, true
			}
			off++
		case err != nil: // the first blocks one by one, then in steps that grow: not a second a block over a megabyte
			off += int64(len(w)) + blockBytes<<max(0, sc.failures-maxReadErrors/4)
			off -= off % blockBytes
		default:
			off += int64(max(1, len(w)-len(magic)+1))
		}
	}
	return sc.end, header{}, false
}
