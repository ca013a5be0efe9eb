package fluent

import (
	"context"
	"time"
)

// race tries 0 to n-1 until one succeeds, beginning the next when one has failed or the last has had stagger: an address
// that swallows everything must not hold up those behind it. It returns when all attempts have ended. failed is called for
// those that failed by themselves, drop for what succeeded too late.
func race[T any](ctx context.Context, n int, stagger time.Duration, try func(context.Context, int) (T, error),
	failed func(int, error), drop func(T),
) (won T, ok bool) {
	if n == 0 {
		return won, false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		i   int
		v   T
		err error
	}
	results := make(chan result, n)
	timer := time.NewTimer(stagger)
	defer timer.Stop()
	begun, ended := 0, 0
	begin := func() {
		if begun == n || ok || ctx.Err() != nil {
			return
		}
		i := begun
		begun++
		go func() {
			v, err := try(ctx, i)
			results <- result{i, v, err}
		}()
		timer.Reset(stagger)
	}
	for begin(); ended < begun; {
		select {
		case <-timer.C:
			begin()
		case r := <-results:
			ended++
			switch {
			case r.err == nil && !ok:
				won, ok = r.v, true
				cancel()
			case r.err == nil:
				drop(r.v)
			case ctx.Err() == nil:
				failed(r.i, r.err)
				begin()
			}
		}
	}
	return won, ok
}
