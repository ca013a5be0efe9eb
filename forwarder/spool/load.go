package spool

import (
	"fmt"
	"os"
	"time"

	"github.com/fairlead/fairlead/internal/nowait"
)

const (
	// blockSize is what the Reader reads of small records at once.
	blockSize = 64 << 10
	// smallFrame is the largest frame handed out as bytes. Larger ones are worth a sendfile.
	smallFrame = 32 << 10
	// unreadableAfter is how long a segment may answer with read errors before it is given up. A volume may come back.
	unreadableAfter = 15 * time.Minute
)

// load reads the header of p, and its frame if it is small. It stops where a frame would not go into the call any more.
func (r *Reader) load(p *place, known, some bool, room int64) (data []byte, stop bool, err error) {
	if err := r.open(p.seg); err != nil {
		return nil, false, err
	}
	extent := r.extent(p.seg)
	if !known {
		if r.small && r.pinned && !r.inBlock(p.off, HeaderBytes) {
			return nil, true, nil
		}
		if err := r.header(p, extent); err != nil {
			return nil, false, err
		}
		if p.snapshot() || p.input() {
			return nil, false, nil
		}
	}
	if some && int64(p.frame) > room {
		return nil, true, nil
	}
	r.small = p.frame <= smallFrame
	if known && !r.small { // it was refused or cut off before: make sure that is not because its bytes went bad
		if r.pinned {
			return nil, true, nil
		}
		return nil, false, r.verify(*p, extent)
	}
	if !r.small {
		return nil, false, nil
	}
	return r.data(*p, extent)
}

func (r *Reader) open(g *segment) error {
	if r.file != nil && r.fileSeg == g {
		return nil
	}
	if r.file != nil {
		_ = r.file.Close()
		r.file, r.fileSeg = nil, nil
	}
	r.blockN = 0
	f, err := r.s.openSegment(g)
	if err != nil {
		return err
	}
	r.file, r.fileSeg = f, g
	return nil
}

func (r *Reader) extent(g *segment) int64 {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return g.size
}

func (r *Reader) inBlock(off, n int64) bool {
	return off >= r.blockAt && off+n <= r.blockAt+int64(r.blockN)
}

// fill reads the block at off, need bytes of it at least.
func (r *Reader) fill(off, need, extent int64) error {
	if r.block == nil {
		r.block = make([]byte, blockSize)
	}
	r.blockN = 0
	n, err := nowait.Pread(r.file, r.block[:min(blockSize, extent-off)], off)
	if int64(n) < need {
		return shortened(r.file, err)
	}
	r.blockAt, r.blockN = off, n
	return nil
}

// shortened says why a read got too little: without an error the file ends before where it was written to.
func shortened(f *os.File, err error) error {
	if err == nil {
		return fmt.Errorf("%w: the file was cut off", errDamaged)
	}
	return fmt.Errorf("read %s: %w", f.Name(), err)
}

// header reads the header at p. The checksum of a large frame is not checked: this life wrote it, or recovery has read it.
func (r *Reader) header(p *place, extent int64) error {
	if !r.inBlock(p.off, HeaderBytes) && r.small && extent-p.off >= HeaderBytes {
		if err := r.fill(p.off, HeaderBytes, extent); err != nil {
			return err
		}
	}
	b := r.head[:]
	if r.inBlock(p.off, HeaderBytes) {
		b = r.block[p.off-r.blockAt:]
	} else if n, err := nowait.Pread(r.file, b, p.off); n < len(b) {
		return shortened(r.file, err)
	}
	h, ok := decodeHeader(b)
	if !ok || h.seq != p.seq || h.size() > extent-p.off {
		return errDamaged
	}
	p.header = h
	return nil
}

// data returns the bytes of a small frame. It stops if they are not in the block and the block is in use.
func (r *Reader) data(p place, extent int64) (data []byte, stop bool, err error) {
	n := HeaderBytes + int64(p.frame)
	if !r.inBlock(p.off, n) || (!r.inBlock(p.off, p.size()) && p.size() <= blockSize) {
		if r.pinned {
			return nil, true, nil
		}
		if err := r.fill(p.off, n, extent); err != nil {
			return nil, false, err
		}
	}
	rec := r.block[p.off-r.blockAt:]
	if p.size() <= int64(len(rec)) && checksum(rec[:p.size()]) != p.crc {
		return nil, false, errDamaged
	}
	r.pinned = true
	return rec[HeaderBytes:n:n], false, nil
}

// verify reads the whole record at p.
func (r *Reader) verify(p place, extent int64) error {
	if r.block == nil {
		r.block = make([]byte, blockSize)
	}
	r.blockN = 0
	sc := scanner{f: r.file, end: extent, buf: r.block}
	if h, ok := sc.check(p.off, p.seq, p.seq); !ok || h != p.header {
		if sc.failure != nil {
			return sc.failure
		}
		return errDamaged
	}
	return nil
}
