package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/internal/size"
)

// TestOwnersTogether runs writer, sender and syncer at once, with a spool that is full now and then, and one that drops.
func TestOwnersTogether(t *testing.T) {
	for _, when := range []string{WhenFullWait, WhenFullDropOldest} {
		t.Run(when, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			cfg := testConfig(memoryDir(t))
			cfg.MaxBytes, cfg.WhenFull, cfg.SyncAfter = 2*size.MiB, when, 20*time.Millisecond
			s := opened(t, cfg, func(o *options) { o.segmentBytes = 128 << 10 })
			const n = 5000
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			run, stop := context.WithCancel(ctx)
			var syncer, g errgroup.Group
			syncer.Go(func() error { return s.Run(run) })
			g.Go(func() error { return writeAll(ctx, s, n) })
			var arrived int64
			g.Go(func() error {
				var err error
				arrived, err = sendAll(ctx, s, n)
				return err
			})
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			balanced(t, s)
			st := s.Stats()
			if st.Dropped+arrived < n || st.Acked+st.Dropped != n || (when == WhenFullWait && arrived != n) {
				t.Fatalf("%d arrived, %+v", arrived, st)
			}
			stop()
			if err := syncer.Wait(); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func writeAll(ctx context.Context, s *Spool, n int) error {
	rng := rand.New(rand.NewPCG(1, 2))
	var recs []*Record
	for i := 0; i < n || len(recs) > 0; {
		for len(recs) < 1+rng.IntN(5) && i < n {
			pad := rng.IntN(2000)
			if rng.IntN(50) == 0 {
				pad = 100 << 10
			}
			recs = append(recs, record(fmt.Sprintf("%d %s", i, strings.Repeat("x", pad)), 1, fmt.Sprint("k", i%10), fmt.Sprint(i)))
			i++
		}
		k, err := s.Append(recs)
		recs = recs[k:]
		if errors.Is(err, ErrFull) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		} else if err != nil {
			return err
		}
	}
	return nil
}

// sendAll takes frames until the last has arrived and returns how many different ones there were.
func sendAll(ctx context.Context, s *Spool, n int) (arrived int64, err error) {
	rng := rand.New(rand.NewPCG(3, 4))
	r := s.Reader()
	var frames []Frame
	last := -1
	for done := false; !done; {
		for !r.Ready() {
			select {
			case <-ctx.Done():
				return arrived, ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		if frames, err = r.Next(frames[:0], 1+rng.IntN(100), 1<<20); err != nil {
			return arrived, err
		}
		acked, at := 0, 0
		for _, f := range frames {
			b := f.Data
			if b == nil {
				b = make([]byte, f.Len)
				if _, err := f.File.ReadAt(b, f.Off); err != nil {
					return arrived, err
				}
			}
			var i int
			if _, err := fmt.Sscan(string(b[:min(len(b), 20)]), &i); err != nil {
				return arrived, err
			}
			if i > last { // the first time
				arrived, last = arrived+1, i
			}
			acked, at = acked+1, i
			if rng.IntN(200) == 0 {
				break
			}
		}
		lost := acked == 0 || rng.IntN(10) == 0 // no ack came
		if !lost {
			if _, err := s.Ack(frames[acked-1].Seq); err != nil {
				return arrived, err
			}
			done = at == n-1 // not last: it may have been seen, and its ack lost
		}
		if lost || acked < len(frames) || rng.IntN(10) == 0 {
			r.Rewind()
			if rng.IntN(3) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}
	return arrived, nil
}
