package spool

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

var (
	historySeeds = flag.Int("histories", 0, "how many random histories (default up to 3000, 150 with -race, 300 with -short)")
	historySeed  = flag.Uint64("history", 0, "run only the history of this seed")
)

const lives = 8

var (
	allRules  = rules{true, true, true, true}
	everyRule = variant{rules: allRules}
)

// TestHistories plays random histories of a log, its owner and its receiver: processes that are killed, power that is cut, disks
// that fail, fill up and rot, frames that are set aside. Whatever happens: a number that was promised arrives.
//
// FAIRLEAD_SOAK, a time, makes it go on for a tenth of that with seeds never tried before; FAIRLEAD_TEST_SEED is the first of them.
func TestHistories(t *testing.T) {
	if *historySeed != 0 {
		if err := history(t, t.TempDir(), *historySeed, everyRule); err != nil {
			t.Fatal(err)
		}
		return
	}
	first, n, until := uint64(1), uint64(*historySeeds), time.Time{}
	switch {
	case n > 0:
	case raceEnabled:
		n, until = 150, time.Now().Add(20*time.Second)
	case testing.Short():
		n, until = 300, time.Now().Add(20*time.Second)
	default:
		n, until = 3000, time.Now().Add(50*time.Second)
	}
	if text := os.Getenv("FAIRLEAD_SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("FAIRLEAD_SOAK: %v", err)
		}
		first, n, until = rand.Uint64()>>1, math.MaxInt64, time.Now().Add(d/10)
	}
	if text := os.Getenv("FAIRLEAD_TEST_SEED"); text != "" {
		seed, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("FAIRLEAD_TEST_SEED: %v", err)
		}
		first = uint64(seed)
	}
	t.Logf("FAIRLEAD_TEST_SEED=%d", first)
	played, seed, err := firstFailure(t, first, n, until, everyRule)
	if err != nil {
		t.Fatalf("history %d (run it alone with -history %d): %v", seed, seed, err)
	}
	t.Logf("%d histories", played)
}

// TestHistoriesNeedEachRule shows that the histories would notice if a rule were not kept.
func TestHistoriesNeedEachRule(t *testing.T) {
	without := func(off func(*rules)) variant {
		v := everyRule
		off(&v.rules)
		return v
	}
	lying := func(lies func(op, name string) bool) variant { return variant{rules: allRules, lies: lies} }
	for _, c := range []struct {
		name string
		v    variant
	}{
		{"positions from beyond a hole", without(func(r *rules) { r.unbrokenRun = false })},
		{"sequence numbers used again", without(func(r *rules) { r.neverReuse = false })},
		{"no sync before unlink", without(func(r *rules) { r.syncBeforeUnlink = false })},
		{"base claims what is not synced", without(func(r *rules) { r.syncRecovered = false })},
		{"no marker", variant{rules: allRules, noMarker: true}},
		{"recovered segments are not synced", lying(func(op, _ string) bool { return op == "recovered" })},
		{"no base is synced", lying(func(op, name string) bool { return op == "file" && name == baseTemp })},
		{"no other segment is synced", lying(func(op, name string) bool { return op == "file" && strings.HasSuffix(name, segmentSuffix) })},
		{"the directory is not synced", lying(func(op, name string) bool { return op == "dir" && name == "." })},
		{"what is set aside is not synced", lying(func(op, name string) bool { return op == "file" && strings.HasPrefix(name, setAsideDir) })},
		{"the folder set-aside is not synced", lying(func(op, name string) bool { return op == "dir" && name == setAsideDir })},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, seed, err := firstFailure(t, 1, 3000, time.Time{}, c.v)
			if err == nil {
				t.Fatal("3000 histories went well without the rule")
			}
			t.Logf("history %d: %v", seed, err)
		})
	}
}

// firstFailure plays n histories, or until a time, and returns how many, and a failure, if there is one.
func firstFailure(t *testing.T, first, n uint64, until time.Time, v variant) (played, seed uint64, err error) {
	dir := memoryDir(t)
	var next atomic.Uint64
	var failed atomic.Bool
	var g errgroup.Group
	type failure struct {
		seed uint64
		error
	}
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for !failed.Load() && (until.IsZero() || time.Now().Before(until)) {
				i := next.Add(1) - 1
				if i >= n {
					return nil
				}
				seed := first + i
				d := filepath.Join(dir, fmt.Sprint(seed))
				if err := history(t, d, seed, v); err != nil {
					failed.Store(true)
					return failure{seed, err}
				}
				if err := os.RemoveAll(d); err != nil {
					return failure{seed, err}
				}
			}
			return nil
		})
	}
	err = g.Wait()
	played = min(next.Load(), n)
	var f failure
	if errors.As(err, &f) {
		return played, f.seed, f.error
	}
	return played, 0, nil
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
