package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kept is a record as it lies in a file: a segment, a .bad file, one that was set aside.
type Kept struct {
	Off    int64 // in the file
	Seq    uint64
	Events int
	Bytes  []byte // the whole record; valid during the call it is given in
	Frame  []byte // the part that is sent; empty: a snapshot of positions
	Input  bool   // an input record: events as they were received, to be folded, which no receiver takes
}

// maxRecordBytes bounds what ReadRecord reads for one record.
const maxRecordBytes = 256 << 20

func kept(off int64, h header, b []byte) Kept {
	return Kept{Off: off, Seq: h.seq, Events: int(h.events), Bytes: b, Frame: b[HeaderBytes : HeaderBytes+int64(h.frame)], Input: h.input()}
}

// Records calls visit for each whole record in a file, whatever lies between them, and skip for each stretch of bytes that is
// none. It goes on behind damage; an error is that of a disk that cannot be read, or of visit.
func Records(f io.ReaderAt, size int64, visit func(Kept) error, skip func(off, n int64)) error {
	sc := newScanner(f, size)
	for off := int64(0); off < size; {
		h, ok := sc.check(off, 0, math.MaxUint64)
		if !ok {
			to, _, _ := sc.find(off+1, func(off int64) (header, bool) { return sc.check(off, 0, math.MaxUint64) })
			skip(off, to-off)
			off = to
			continue
		}
		b, err := sc.bytes(off, int(h.size()))
		if err != nil {
			return err
		}
		if err := visit(kept(off, h, b)); err != nil {
			return err
		}
		off += h.size()
	}
	if sc.failure != nil {
		return sc.failure
	}
	return nil
}

// ReadRecord reads one record off a stream of whole records; io.EOF is the end of it.
func ReadRecord(r io.Reader) (Kept, error) {
	head := make([]byte, HeaderBytes)
	if _, err := io.ReadFull(r, head); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errDamaged
		}
		return Kept{}, err
	}
	h, ok := decodeHeader(head)
	if !ok || h.size() > maxRecordBytes {
		return Kept{}, errDamaged
	}
	var body bytes.Buffer // grows with what really comes
	if n, err := io.CopyN(&body, r, h.size()-HeaderBytes); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Kept{}, fmt.Errorf("record of %d bytes ends after %d: %w", h.size(), n+HeaderBytes, err)
	}
	b := slices.Concat(head, body.Bytes())
	if checksum(b) != h.crc {
		return Kept{}, errDamaged
	}
	return kept(0, h, b), nil
}

// Again returns the frame of k as a new record, without its marks: they spoke of positions of another time.
func (k Kept) Again() *Record {
	buf := append(make([]byte, HeaderBytes, HeaderBytes+len(k.Frame)), k.Frame...)
	return &Record{Buf: buf, Frame: len(k.Frame), Events: k.Events, Replayed: true}
}

// SetAsideFiles lists the files that hold what was set aside from the spool in dir, the oldest first, and their bytes.
func SetAsideFiles(dir string) (paths []string, bytes int64, err error) {
	folder := filepath.Join(dir, setAsideDir)
	entries, err := os.ReadDir(folder) // sorted by name, which is by number
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), setAsideSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil { // else it was replayed in this moment
			paths, bytes = append(paths, filepath.Join(folder, e.Name())), bytes+info.Size()
		}
	}
	return paths, bytes, err
}

// IsSegment reports whether path is a segment in the spool of dir: what is in it is on its way anyway.
func IsSegment(dir, path string) bool {
	if _, ok := parseName(filepath.Base(path), segmentSuffix); !ok {
		return false
	}
	a, err := os.Stat(dir)
	if err != nil {
		return false
	}
	b, err := os.Stat(filepath.Dir(path))
	return err == nil && os.SameFile(a, b)
}
