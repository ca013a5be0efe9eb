package spool

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
)

var (
	historySeeds = flag.Int("histories", 0, "how many random histories (default 3000, 150 with -race, 300 with -short)")
	historySeed  = flag.Uint64("history", 0, "run only the history of this seed")
)

const lives = 8

var allRules = rules{true, true, true, true}

// TestHistories plays random histories of a log, its owner and its receiver: processes that are killed, power that is cut, disks
// that fail, fill up and rot. Whatever happens: a number that was promised arrives.
func TestHistories(t *testing.T) {
	if *historySeed != 0 {
		if err := history(t, t.TempDir(), *historySeed, allRules, true); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *historySeeds
	switch {
	case n > 0:
	case raceEnabled:
		n = 150
	case testing.Short():
		n = 300
	default:
		n = 3000
	}
	if seed, err := firstFailure(t, uint64(n), allRules, true); err != nil {
		t.Fatalf("history %d (run it alone with -history %d): %v", seed, seed, err)
	}
}

// TestHistoriesNeedEachRule shows that the histories would notice if a rule were not kept.
func TestHistoriesNeedEachRule(t *testing.T) {
	for _, c := range []struct {
		name   string
		off    func(*rules)
		marker bool
	}{
		{"positions from beyond a hole", func(r *rules) { r.unbrokenRun = false }, true},
		{"sequence numbers used again", func(r *rules) { r.neverReuse = false }, true},
		{"no sync before unlink", func(r *rules) { r.syncBeforeUnlink = false }, true},
		{"base claims what is not synced", func(r *rules) { r.syncRecovered = false }, true},
		{"no marker", func(*rules) {}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := allRules
			c.off(&r)
			seed, err := firstFailure(t, 3000, r, c.marker)
			if err == nil {
				t.Fatal("3000 histories went well without the rule")
			}
			t.Logf("history %d: %v", seed, err)
		})
	}
}

// firstFailure plays the histories of seeds 1 to n and returns a failure, if there is one.
func firstFailure(t *testing.T, n uint64, r rules, marker bool) (seed uint64, err error) {
	dir := memoryDir(t)
	var next atomic.Uint64
	var g errgroup.Group
	type failure struct {
		seed uint64
		error
	}
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for {
				seed := next.Add(1)
				if seed > n {
					return nil
				}
				d := filepath.Join(dir, fmt.Sprint(seed))
				if err := history(t, d, seed, r, marker); err != nil {
					next.Store(n)
					return failure{seed, err}
				}
				if err := os.RemoveAll(d); err != nil {
					return failure{seed, err}
				}
			}
		})
	}
	var f failure
	if errors.As(g.Wait(), &f) {
		return f.seed, f.error
	}
	return 0, nil
}

// memoryDir is a temporary directory, in memory if there is one: the disk is a model anyway.
func memoryDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "spool")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
