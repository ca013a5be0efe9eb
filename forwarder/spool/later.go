package spool

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/fairlead/fairlead/internal/nowait"
)

// A frame that is acked out of its turn: the sender tries a later frame by itself when the receiver keeps refusing the first
// one, to see whether it refuses everything. What is known of such acks is kept in memory only: a process that is killed
// before the cursor has come so far sends these frames again.

const (
	// beginBytes is how much of a frame tells what it is.
	beginBytes = 4 << 10
	// maxLook bounds the records one call of Later looks at; the next call goes on behind them.
	maxLook = 1 << 16
)

// later is how far Later has looked. It is owned by the sender's goroutine.
type later struct {
	head  uint64 // the first un-acked frame it was looked for behind
	begin []byte // of that frame
	walk  walk
	file  *os.File // of the frame that was given, or where the look goes on
	seg   *segment // of file
	found bool     // one was given since the look began at head
	given place    // the last one given; under Spool.mu
}

func (l *later) close() {
	if l.file != nil {
		_ = l.file.Close()
		l.file, l.seg = nil, nil
	}
}

// alone holds the sequence numbers behind the cursor that are acked.
type alone map[uint64]struct{}

func (a alone) has(seq uint64) bool {
	_, ok := a[seq]
	return ok
}

func (a alone) forget(acked uint64) {
	maps.DeleteFunc(a, func(seq uint64, _ struct{}) bool { return seq <= acked })
}

// Later returns the next frame behind head, the first un-acked one, that is like it: like is given the beginnings of both.
// After the last such frame it begins again with the first. It reports false when there is none, or it has not come across
// one yet, or head is not the first un-acked frame any more. What Next gives does not change. File is valid until the next
// call of Next or Later.
func (r *Reader) Later(head uint64, like func(head, other []byte) bool) (Frame, bool, error) {
	first, err := r.firstIs(head)
	if err != nil || first.seg == nil {
		return Frame{}, false, err
	}
	defer r.end()
	l := &r.later
	if l.head != head {
		b, err := r.beginOf(&first)
		if err != nil {
			return Frame{}, false, fmt.Errorf("read spool: %w", err)
		}
		l.head, l.begin = head, b
		l.restart(first)
	}
	for range maxLook {
		r.s.mu.Lock()
		p, ok := l.walk.at(r.s)
		known := r.alone.has(p.seq)
		r.s.mu.Unlock()
		if !ok {
			if !l.found {
				return Frame{}, false, nil
			}
			l.restart(first)
			continue
		}
		b, err := r.beginOf(&p)
		if errors.Is(err, errDamaged) { // Next will see to that
			return Frame{}, false, nil
		}
		if err != nil {
			return Frame{}, false, fmt.Errorf("read spool: %w", err)
		}
		l.walk.past(p)
		if known || p.snapshot() || p.input() || !like(l.begin, b) {
			continue
		}
		l.found = true
		r.s.mu.Lock()
		l.given = p
		r.s.mu.Unlock()
		return Frame{Seq: p.seq, Events: int(p.events), File: l.file, Off: p.off + HeaderBytes, Len: int64(p.frame), Sealed: p.sealed}, true, nil
	}
	return Frame{}, false, nil
}

func (l *later) restart(first place) {
	l.walk = walk{seg: first.seg}
	l.walk.past(first)
	l.found = false
}

// firstIs returns the place of head if it is the first un-acked frame. Frames may be on their way from now on.
func (r *Reader) firstIs(head uint64) (place, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.closed {
		return place{}, ErrClosed
	}
	if len(r.flight) == 0 || r.flight[0].seq != head {
		return place{}, nil
	}
	r.busy, r.rewound = true, false
	return r.flight[0], nil
}

// beginOf reads the header at p into it, and returns how its frame begins.
func (r *Reader) beginOf(p *place) ([]byte, error) {
	l := &r.later
	if l.file == nil || l.seg != p.seg {
		l.close()
		f, err := r.s.openSegment(p.seg)
		if err != nil {
			return nil, err
		}
		l.file, l.seg = f, p.seg
	}
	extent := r.extent(p.seg)
	b := make([]byte, min(HeaderBytes+beginBytes, extent-p.off))
	n, err := nowait.Pread(l.file, b, p.off)
	if n < HeaderBytes {
		return nil, shortened(l.file, err)
	}
	if err != nil {
		return nil, err
	}
	h, ok := decodeHeader(b)
	if !ok || h.seq != p.seq || h.size() > extent-p.off {
		return nil, errDamaged
	}
	p.header = h
	return b[HeaderBytes:min(n, HeaderBytes+int(h.frame))], nil
}

// AckAlone says that the frame Later gave last has been acknowledged, though the ones before it have not: it is not sent
// again. The cursor passes it when it has come so far. It says how many events that adds.
func (s *Spool) AckAlone(seq uint64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reader
	p := r.later.given
	switch {
	case s.closed:
		return 0, ErrClosed
	case p.seg == nil || p.seq != seq:
		return 0, fmt.Errorf("ack of frame %x by itself, which was not given so", seq)
	case seq <= s.acked || r.alone.has(seq):
		return 0, nil
	}
	for i, q := range r.flight {
		if q.seq == seq {
			r.flight = append(r.flight[:i:i], r.flight[i+1:]...)
			if r.replay > i {
				r.replay--
			}
			break
		}
	}
	if r.alone == nil {
		r.alone = alone{}
	}
	r.alone[seq] = struct{}{}
	sealed := p.seg.sealed
	if s.settle(&p); p.seg.frames > 0 {
		p.seg.sealed = sealed // older ones are left in it
	}
	s.count.acked += int64(p.events)
	s.cursor(s.acked)
	return int(p.events), nil
}
