package collector

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// share is the part of one core that gathering may take on average.
const share = 0.048

// pace keeps the processor time of this process and of the commands it has run below its share: the host that is looked at has other work.
// It is for one goroutine at a time.
type pace struct {
	began time.Time
	until time.Time     // from then on nothing is held back: the deadline counts more
	base  time.Duration // used before
}

func newPace(now time.Time, deadline time.Duration) *pace {
	return &pace{began: now, until: now.Add(deadline / 2), base: used()}
}

// used is the processor time of this process and its children that have ended.
func used() time.Duration {
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return total
}

// wait sleeps until the share is kept.
func (p *pace) wait(ctx context.Context) {
	for {
		now := time.Now()
		free := p.began.Add(time.Duration(float64(used()-p.base) / share))
		if free.After(p.until) {
			free = p.until
		}
		d := free.Sub(now)
		if d < 5*time.Millisecond {
			return
		}
		t := time.NewTimer(min(d, time.Second))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}
