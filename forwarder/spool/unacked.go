package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
)

// Batch is what a segment holds of frames that are not acked: whole records as they lie in it, without positions and input records.
// It is valid during the call it is given in.
type Batch struct {
	First, Last uint64 // sequence numbers of the first and the last of them
	Frames      int64
	Events      int64
	Bytes       int64 // of the records

	file    io.ReaderAt
	extents []extent
}

// extent is a stretch of a file.
type extent struct{ off, n int64 }

// Open reads the records from the first on, each time it is called.
func (b *Batch) Open() io.Reader {
	parts := make([]io.Reader, len(b.extents))
	for i, e := range b.extents {
		parts[i] = io.NewSectionReader(b.file, e.off, e.n)
	}
	return io.MultiReader(parts...)
}

// Unacked syncs what is in the spool and calls visit for each segment that holds frames that are not acked, the oldest first. The checksum
// of each record was checked. What is acked meanwhile may be among them: the spool does not change, and goes on being sent.
func (s *Spool) Unacked(ctx context.Context, visit func(*Batch) error) error {
	s.mu.Lock()
	last := s.last
	segs := slices.Clone(s.segs)
	s.mu.Unlock()
	// On a disk that fails to sync the records can still be read; all the more they are wanted elsewhere.
	_ = s.SyncTo(ctx, last)
	var failed []error
	for i, g := range segs {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, err)...)
		}
		limit := uint64(math.MaxUint64)
		if i+1 < len(segs) {
			limit = segs[i+1].first
		}
		refused := false
		if err := s.unackedOf(g, limit, func(b *Batch) error {
			err := visit(b)
			refused = err != nil
			return err
		}); err != nil {
			failed = append(failed, err)
		}
		if refused {
			break
		} // but a segment that cannot be read keeps none of the others back
	}
	return errors.Join(failed...)
}

// Aside calls visit for each frame that was set aside: its disk may end with the host.
func (s *Spool) Aside(ctx context.Context, visit func(*Batch) error) error {
	paths, _, err := SetAsideFiles(s.cfg.Dir)
	failed := []error{err}
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, err)...)
		}
		text, err := os.ReadFile(path) // one record
		if errors.Is(err, os.ErrNotExist) {
			continue // replayed in this moment
		}
		var k Kept
		if err == nil {
			k, err = ReadRecord(bytes.NewReader(text))
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("read %s: %w", path, err))
			continue
		}
		if err := visit(&Batch{First: k.Seq, Last: k.Seq, Frames: 1, Events: int64(k.Events), Bytes: int64(len(text)),
			file: bytes.NewReader(text), extents: []extent{{0, int64(len(text))}}}); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	return errors.Join(failed...)
}

func (s *Spool) unackedOf(g *segment, limit uint64, visit func(*Batch) error) error {
	s.mu.Lock()
	gone, size, acked := g.frames == 0, g.size, s.acked
	alone := make(map[uint64]bool, len(s.reader.alone))
	for seq := range s.reader.alone {
		alone[seq] = true
	}
	s.mu.Unlock()
	if gone {
		return nil
	}
	f, err := s.openSegment(g)
	if err != nil {
		return fmt.Errorf("read segment %s: %w", g.path, err)
	}
	defer f.Close()
	b := Batch{file: f}
	sc := newScanner(f, size)
	_, err = sc.scan(g.first, limit, func(off int64, h header) error {
		if h.snapshot() || h.input() || h.seq <= acked || alone[h.seq] {
			return nil
		}
		if b.Frames == 0 {
			b.First = h.seq
		}
		b.Last = h.seq
		b.Frames++
		b.Events += int64(h.events)
		b.Bytes += h.size()
		if n := len(b.extents); n > 0 && b.extents[n-1].off+b.extents[n-1].n == off {
			b.extents[n-1].n += h.size()
		} else {
			b.extents = append(b.extents, extent{off, h.size()})
		}
		return nil
	})
	if err == nil {
		err = sc.failure // what can be read of it is wanted all the same
	}
	if err != nil {
		err = fmt.Errorf("read segment %s: %w", g.path, err)
	}
	if b.Frames > 0 {
		err = errors.Join(visit(&b), err)
	}
	return err
}

// Unbound has the spool take what the disk takes, max_bytes notwithstanding, or not any more: on a host that is about to end, the log
// files cannot be the queue behind it. min_free holds as ever.
func (s *Spool) Unbound(on bool) {
	s.wr.Lock()
	defer s.wr.Unlock()
	s.unbound = on
}
