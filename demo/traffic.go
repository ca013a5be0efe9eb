package demo

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// traffic writes the logs of all containers. What is not atomic belongs to the goroutine of run.
type traffic struct {
	root    string
	oracle  *oracle
	corpora []*corpus // in the order of casts

	containers []*container // in the order of casts
	numbers    []int        // how many there were of each
	removals   int

	rotations, removed atomic.Int64
}

func newTraffic(root string, o *oracle) (*traffic, error) {
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, err
	}
	t := &traffic{root: root, oracle: o, numbers: make([]int, len(casts)), containers: make([]*container, len(casts))}
	var err error
	t.corpora, err = loadCorpora()
	return t, err
}

func (t *traffic) logs() string { return t.root }

func (t *traffic) close() error { return nil } // all is in the demo's folder

func (t *traffic) figures() string {
	return fmt.Sprintf("by %d containers; %d files rotated, %d containers removed", len(casts), t.rotations.Load(), t.removed.Load())
}

// run writes for a time, or until the context ends, and always to the end of an event.
func (t *traffic) run(ctx context.Context, began time.Time, d time.Duration) (err error) {
	defer func() {
		for _, k := range t.containers {
			if k != nil {
				if cerr := k.file.Close(); err == nil {
					err = cerr
				}
			}
		}
	}()
	for i := range casts {
		if err := t.start(i, began); err != nil {
			return err
		}
	}
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		if now.Sub(began) >= d {
			return nil
		}
		if a := actAt(now.Sub(began)); a.writing {
			for _, k := range t.containers {
				if err := t.play(k, now); err != nil {
					return err
				}
			}
			if a.leave && t.removals == a.round {
				if err := t.replace(a.round%len(casts), now); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (t *traffic) start(i int, now time.Time) (err error) {
	t.numbers[i]++
	t.containers[i], err = newContainer(t.root, fmt.Sprintf("%s-%d", casts[i].role, t.numbers[i]), t.corpora[i], t.oracle, now)
	return err
}

// play writes what a container has to write up to now.
func (t *traffic) play(k *container, now time.Time) error {
	before := k.rotations
	for g := k.pace.next(now); g != nil; g = k.pace.next(now) {
		if err := k.write(t.oracle, g, now); err != nil {
			return err
		}
	}
	t.rotations.Add(int64(k.rotations - before))
	return nil
}

// replace removes a container right after its last line, and another one takes its place.
func (t *traffic) replace(i int, now time.Time) error {
	k := t.containers[i]
	k.leaving = true
	if now.Sub(k.opened) < removeAge {
		return nil
	}
	if err := k.remove(); err != nil {
		return err
	}
	t.removals++
	t.removed.Add(1)
	return t.start(i, now)
}
