package spool

import (
	"errors"
	"os"
	"slices"
	"time"
)

// Frame is a frame to be sent. File and Data are valid until the next call of Next.
type Frame struct {
	Seq      uint64
	Events   int
	File     *os.File // the reader's own handle: its position is the sender's to move
	Off, Len int64    // where the frame lies in File
	Data     []byte   // the frame, if it is small; else nil
	Sealed   int64    // when it was sealed, Unix milliseconds
}

// Reader hands out the frames of a Spool in order. It belongs to one goroutine, the sender's.
type Reader struct {
	s *Spool

	// Owned by the sender's goroutine.
	file    *os.File
	fileSeg *segment
	block   []byte // block[:blockLen] is the file from blockOff on
	blockAt int64
	blockN  int
	pinned  bool // frames handed out in this call lie in block
	small   bool // the last frame was small, so the next may be
	head    [HeaderBytes]byte
	trouble trouble

	later later // owned by the sender's goroutine

	// Under Spool.mu.
	walk            // where the next frame that was never handed out is looked for
	flight  []place // handed out and not acked, in order
	alone   alone
	replay  int    // the index in flight of what Next hands out next
	handed  uint64 // the highest number handed out
	busy    bool   // in Next
	rewound bool   // Rewind was called after the last Next
}

// place is where a record lies.
type place struct {
	seg *segment
	off int64
	header
}

// walk is a way through the records from the oldest on.
type walk struct {
	seg   *segment // nil: the first segment behind after
	off   int64
	seq   uint64 // of the record at off
	after uint64
}

// at finds the record the walk has come to, over gaps and from one segment to the next. Spool.mu is held.
func (w *walk) at(s *Spool) (p place, ok bool) {
	for {
		if w.seg == nil {
			i, _ := slices.BinarySearchFunc(s.segs, w.after+1, func(g *segment, first uint64) int {
				if g.first < first {
					return -1
				}
				return 1
			})
			if i == len(s.segs) {
				return place{}, false
			}
			w.seg, w.off, w.seq = s.segs[i], 0, s.segs[i].first
		}
		if p, ok := w.seg.gapAt(w.off); ok {
			w.off, w.seq = p.to, p.next
			continue
		}
		if w.off < w.seg.size {
			return place{seg: w.seg, off: w.off, header: header{seq: w.seq}}, true
		}
		if w.seg == s.active {
			return place{}, false
		}
		w.seg, w.after = nil, w.seg.first
	}
}

// past goes on behind p.
func (w *walk) past(p place) { w.off, w.seq = p.off+p.size(), p.seq+1 }

// trouble is a place that could not be read.
type trouble struct {
	seg   *segment
	off   int64
	since time.Time
	scans int // of the segment because of it
}

// errDamaged is what a record is that does not check.
var errDamaged = errors.New("no valid record")

// Next appends the following frames to dst, at least one if there is any, at most maxFrames, and not more than maxBytes of frames
// from the second on. It may stop early; it appends none only at the end. An error says that the disk cannot be read now.
func (r *Reader) Next(dst []Frame, maxFrames int, maxBytes int64) ([]Frame, error) {
	if err := r.begin(); err != nil {
		return dst, err
	}
	defer r.end()
	r.pinned = false
	r.later.close()
	for n, bytes := 0, int64(0); n < maxFrames; {
		p, known, ok := r.locate()
		if !ok || (n > 0 && p.seg != r.fileSeg) {
			break
		}
		data, stop, err := r.load(&p, known, n > 0, maxBytes-bytes)
		if err != nil {
			if n > 0 {
				break // this call's frames first
			}
			if err := r.cope(p, err); err != nil {
				return dst, err
			}
			continue
		}
		if stop {
			break
		}
		if r.pass(p, known) {
			dst = append(dst, Frame{
				Seq: p.seq, Events: int(p.events), File: r.file, Off: p.off + HeaderBytes, Len: int64(p.frame), Data: data, Sealed: p.sealed,
			})
			n++
			bytes += int64(p.frame)
		}
	}
	return dst, nil
}

func (r *Reader) begin() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.closed {
		return ErrClosed
	}
	r.busy, r.rewound = true, false
	return nil
}

func (r *Reader) end() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.busy = false
}

// locate finds the place of the next record. It is known if it was handed out before.
func (r *Reader) locate() (p place, known, ok bool) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.replay < len(r.flight) {
		return r.flight[r.replay], true, true
	}
	p, ok = r.at(s)
	return p, false, ok
}

// pass moves on behind p. It reports whether p is a frame to be sent.
func (r *Reader) pass(p place, known bool) bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	r.trouble = trouble{}
	if known {
		r.replay++
		return true
	}
	r.past(p)
	if p.snapshot() || p.input() || p.seq <= s.acked || r.alone.has(p.seq) {
		return false
	}
	r.flight = append(r.flight, p)
	r.replay++
	r.handed = p.seq
	return true
}

// Rewind goes back to the first frame that is not acked.
func (r *Reader) Rewind() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.replay, r.rewound = 0, true
}

// Ready reports whether Next may have a frame, or an error. Any goroutine may ask; whoever appends wakes the sender.
func (r *Reader) Ready() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.closed || r.replay < len(r.flight) || r.s.count.frames > int64(len(r.flight))
}

// sending reports whether frames may be on their way. mu is held.
func (r *Reader) sending() bool { return r.busy || (len(r.flight) > 0 && !r.rewound) }

// done takes the frames up to seq out of flight and counts their events. mu is held.
func (r *Reader) done(seq uint64) (events int) {
	n := 0
	for n < len(r.flight) && r.flight[n].seq <= seq {
		events += int(r.flight[n].events)
		r.s.settle(&r.flight[n])
		n++
	}
	r.flight = r.flight[n:]
	r.replay = max(0, r.replay-n)
	return events
}

// settle takes a frame out of what is pending. mu is held.
func (s *Spool) settle(p *place) {
	p.seg.sealed = p.sealed // nothing that is left in it is older
	if p.seg.frames--; p.seg.frames == 0 {
		p.seg.sealed = 0
	}
	p.seg.events -= int64(p.events)
	p.seg.bytes -= int64(p.frame)
	s.count.frames--
	s.count.events -= int64(p.events)
	s.count.bytes -= int64(p.frame)
}

// skip forgets what it knows of g, which was dropped. mu is held.
func (r *Reader) skip(g *segment) {
	n := 0
	for n < len(r.flight) && r.flight[n].seg == g {
		n++
	}
	r.flight, r.replay = r.flight[n:], 0
	switch r.seg {
	case nil:
		r.after = max(r.after, g.first)
	case g:
		r.seg, r.after = nil, g.first
	}
}
