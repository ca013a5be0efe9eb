package cleanup

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/cleanup/plan"
	"github.com/fairlead/fairlead/internal/pulse"
)

// What Run may be at. Every call of the engine has a limit of its own, and so has a pass; what hangs beyond that is a disk.
var (
	awaitSample = pulse.Stage{Doing: "waiting for the time to look at the disks", Limit: sampleEvery}
	inSample    = pulse.Stage{Doing: "looking at the disks", Limit: sampleEvery, Disk: true}
	inPass      = pulse.Stage{Doing: "in a pass", Limit: passWithin + time.Minute, Disk: true}
)

// Loop is the loop of Run, to be looked after.
func (c *Cleaner) Loop() pulse.Loop { return pulse.Loop{Name: "clean-up", Pulse: &c.pulse} }

const (
	sampleEvery = 30 * time.Second // of the disks, for the forecast
	reconnect   = 5 * time.Second  // to the engine's events, at first
	reconnectAt = time.Minute      // at most
)

// Run does passes until the context ends: every interval; some time after a container has ended or gone, so that a volume is first seen soon;
// and as soon as a disk is above its mark. It closes the engine at its end.
func (c *Cleaner) Run(ctx context.Context) {
	woken := make(chan struct{}, 1)
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		c.listen(ctx, woken)
	}()
	defer func() { <-listening }()

	sample := time.NewTicker(min(sampleEvery, c.cfg.Interval))
	defer sample.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	var last time.Time // the end of the last pass
	due := time.Now()
	at := func(t time.Time) {
		if t.Before(due) {
			due = t
			next.Reset(max(0, time.Until(t)))
		}
	}
	for {
		c.pulse.Enter(&awaitSample)
		select {
		case <-ctx.Done():
			c.pulse.End()
			c.Close()
			return
		case <-next.C:
			c.pulse.Enter(&inPass)
			if _, err := c.Pass(ctx, false); err != nil && ctx.Err() == nil {
				c.failed(err)
			}
			last = time.Now()
			due = last.Add(c.cfg.Interval)
			next.Reset(c.cfg.Interval)
		case <-woken:
			at(last.Add(c.cfg.Interval / 5))
		case <-sample.C:
			c.pulse.Enter(&inSample)
			w := plan.World{Disks: c.gauge.sample(c.now())}
			if c.pressed(&w) {
				at(last.Add(c.cfg.Interval / 10))
			}
		}
	}
}

// Watch only looks at the disks, for the forecast, until the context ends, where nothing is to be cleaned up. Then it closes what a pass that
// was asked for may have opened.
func (c *Cleaner) Watch(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		c.gauge.sample(c.now())
		select {
		case <-ctx.Done():
			c.Close()
			return
		case <-tick.C:
		}
	}
}

// failed notes a pass that could not begin.
func (c *Cleaner) failed(err error) {
	c.metrics.errors.Inc()
	c.mu.Lock()
	before := c.status.Error
	c.status.Error = err.Error()
	c.mu.Unlock()
	if before != err.Error() {
		c.log.Error("no clean-up", "err", err)
	}
}

// listen hears from the engine which volumes are used, and when something may have become unused. It has a connection of its own: the
// one of the passes may hang.
func (c *Cleaner) listen(ctx context.Context, woken chan<- struct{}) {
	pause := reconnect
	for ctx.Err() == nil {
		heard := c.hear(ctx, woken)
		c.mu.Lock()
		c.upSince = plan.Clock{}
		c.mu.Unlock()
		if heard {
			pause = reconnect
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, reconnectAt)
		}
	}
}

// hear listens until the connection ends, and says whether anything was heard.
func (c *Cleaner) hear(ctx context.Context, woken chan<- struct{}) (heard bool) {
	d, err := c.open()
	if err != nil {
		return false
	}
	err = d.events(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.upSince = c.now()
	}, func(e event) {
		heard = true
		c.happened(e, woken)
	})
	if cerr := d.close(); cerr != nil || err != nil {
		c.log.Debug("the engine's events ended", "err", err)
	}
	return heard
}

func (c *Cleaner) happened(e event, woken chan<- struct{}) {
	if e.kind == "volume" && e.action != "destroy" {
		c.mu.Lock()
		c.used[e.id] = true
		c.mu.Unlock()
	}
	if e.kind == "container" && (e.action == "die" || e.action == "destroy") {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
}
