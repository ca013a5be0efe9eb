package fluent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// racing runs attempts that take so many milliseconds, with 100 ms between their starts.
func racing(t *testing.T, try []int, want int) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		failed, dropped := 0, 0
		won, ok := race(t.Context(), len(try), 100*time.Millisecond, func(ctx context.Context, i int) (int, error) {
			d := time.Duration(try[i]) * time.Millisecond
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(max(d, -d)):
			}
			if d < 0 {
				return 0, errors.New("no")
			}
			return i, nil
		}, func(i int, _ error) {
			if try[i] > 0 {
				t.Errorf("attempt %d counts as failed", i)
			}
			failed++
		}, func(int) { dropped++ })
		if ok != (want >= 0) || ok && won != want {
			t.Errorf("%d won, %v; want %d", won, ok, want)
		}
		if want < 0 && failed != len(try) {
			t.Errorf("%d failures, want %d", failed, len(try))
		}
		if d := time.Since(begin); d > 250*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

// An address that swallows packets does not hold up the next one.
func TestRace(t *testing.T) {
	for _, c := range []struct {
		name string
		try  []int // how long each takes; negative: and fails
		want int   // -1: none
	}{
		{"one", []int{1}, 0},
		{"the first is as good", []int{20, 1}, 0},
		{"the first swallows", []int{-5000, 1}, 1},
		{"two swallow", []int{-5000, -5000, 1}, 2},
		{"the first is late and still first", []int{150, -200}, 0},
		{"failures are quick", []int{-1, -1, -1, 1}, 3},
		{"none", []int{-1, -120, -1}, -1},
	} {
		t.Run(c.name, func(t *testing.T) { racing(t, c.try, c.want) })
	}
}

// What succeeds after another has won is dropped, and a race ends with its context.
func TestRaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dropped := 0
		_, ok := race(t.Context(), 2, time.Second, func(_ context.Context, i int) (int, error) {
			time.Sleep([]time.Duration{1500 * time.Millisecond, 600 * time.Millisecond}[i]) // heeds no context
			return i, nil
		}, func(int, error) {}, func(int) { dropped++ })
		if !ok || dropped != 1 {
			t.Errorf("ok %v, %d dropped; want the second one dropped", ok, dropped)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, ok = race(ctx, 3, time.Minute, func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, func(int, error) { t.Error("counts as failed") }, func(int) {})
		if ok || time.Since(begin) != time.Second {
			t.Errorf("ok %v after %v", ok, time.Since(begin))
		}
	})
}
