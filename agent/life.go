package agent

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/cleanup"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/pulse"
)

// life is the time in which one configuration is at work. Each has metrics of its own: to Prometheus, a reload looks like
// a restart.
type life struct {
	loaded    Loaded
	forwarder *forwarder.Forwarder // nil: there is nowhere to forward to
	cleaner   *cleanup.Cleaner     // also where it is off: `fairlead gc` asks for a pass
	registry  *prometheus.Registry
	ready     <-chan struct{} // closed once the forwarder works
	stopping  atomic.Bool     // what its loops leave unanswered from now on is no fault
	pulse     pulse.Pulse     // of the start and the stop
	stalled   []pulse.Stall   // found by the last look of the loop of live
	health    *health.Health
	drift     func() *ECSStatus // how ecs.config stands
}

// newLife prepares a life; nothing is opened yet.
func (a *Agent) newLife(l Loaded) (*life, error) {
	n := &life{loaded: l, registry: prometheus.NewRegistry(), drift: a.ecs.Status}
	var err error
	if n.health, err = a.newHealth(n); err != nil {
		return nil, err
	}
	if len(l.Config.Forwarder.Forward.To) == 0 {
		// Reading into the spool would only move the logs from one queue into another. In their files they wait as well.
		at := make(chan struct{})
		close(at)
		forwarder.Absent(n.registry)
		n.ready, n.cleaner = at, a.newCleaner(n)
		return n, nil
	}
	f, err := forwarder.New(l.Config.Forwarder, a.log, n.registry)
	if err != nil {
		return nil, err
	}
	f.Show(a.taps)
	if l.Config.Forwarder.Record.Instance {
		f.SetInstance(a.instance.want(l.Config.State.Dir))
	}
	n.forwarder, n.ready = f, f.Ready()
	n.cleaner = a.newCleaner(n)
	return n, nil
}

func (n *life) wasReady() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// inherit has a life go on with the Forward clients of the one before.
func (a *Agent) inherit(n *life) {
	if n.forwarder != nil {
		n.forwarder.Inherit(a.sockets, a.keeper)
		a.sockets = nil
	}
}

// leave takes over what a life left open of its listener.
func (a *Agent) leave(n *life) {
	if n.forwarder != nil {
		a.sockets = n.forwarder.Sockets()
	}
}

// live runs one life to its end. It answers the life that follows after a reload, or none when the daemon is to end.
func (a *Agent) live(ctx context.Context, n *life) (*life, error) {
	a.mu.Lock()
	a.now, a.loaded = n, n.loaded
	a.mu.Unlock()
	a.tellInstance(a.instance.known()) // it may have come since the life was made
	a.metrics.configured(n.loaded.Config)
	a.drain.Configure(n.loaded.Config.Drain)
	logs{a}.Leave(a.drain.Leaving())
	if n.forwarder == nil {
		a.log.Warn("forward.to is not set: nothing is read and nothing is forwarded, the logs wait in their files")
	}

	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stopWithin := pulse.Stage{Doing: "stopping", Limit: n.loaded.Config.Forwarder.Forward.Grace + stopLimit, Disk: true}
	n.pulse.Enter(&opening)
	defer n.pulse.End()
	stop := func() {
		n.pulse.Enter(&stopWithin)
		n.stopping.Store(true)
		cancel()
	}
	a.inherit(n)
	defer a.leave(n)
	ended := make(chan error, 1)
	go func() { ended <- n.run(work) }()

	watchdog := a.watchdog()
	defer watchdog.Stop()
	ready := n.ready
	var next *life
	last := false // the daemon ends with this life
	begin := func() {
		last = true
		a.notify.stopping(n.loaded.Config.Forwarder.Forward.Grace)
		stop()
	}
	done := ctx.Done()
	for {
		select {
		case err := <-ended:
			switch {
			case next != nil && err != nil:
				a.log.Error("the former forwarder did not stop cleanly", "err", err)
			case next == nil && err == nil && !last:
				err = errors.New("the forwarder ended by itself")
			}
			return next, err
		case <-ready:
			ready = nil
			if !n.stopping.Load() {
				n.pulse.End()
			}
			a.notify.ready(a.summary())
			a.log.Info("running", "version", a.build.Version, "files", n.loaded.Files, "to", n.loaded.Config.Forwarder.Forward.To)
		case <-watchdog.C:
			a.lookAfter(n)
		case <-done:
			done = nil
			begin()
		case s := <-a.signals:
			switch {
			case s == syscall.SIGHUP && !last && next == nil:
				if next = a.reload(); next != nil {
					// What is not sent yet is in the spool, for the next life. What cannot get there, because the spool is full
					// and its file is deleted, still has the grace.
					n.handOver()
					stop()
				}
			case s == syscall.SIGHUP && !last:
				defer a.askReload() // what changed meanwhile is for the life after
			case s == syscall.SIGHUP:
			case last:
				a.log.Info("stopping at once", "signal", s.String())
				n.hurry()
			default:
				a.log.Info("stopping", "signal", s.String(), "grace", n.loaded.Config.Forwarder.Forward.Grace)
				next = nil
				begin()
			}
		}
	}
}

// run is all loops of the life. The clean-up ends with the forwarder, whatever became of that.
func (n *life) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { n.health.Run(ctx) })
	beside.Go(func() { n.cleanUp(ctx) })
	defer func() {
		cancel()
		beside.Wait()
	}()
	if n.forwarder == nil {
		<-ctx.Done()
		return nil
	}
	return n.forwarder.Run(ctx)
}

// cleanUp runs the clean-up. Where it is off, what fills the disks is still foretold.
func (n *life) cleanUp(ctx context.Context) {
	if n.loaded.Config.Cleanup.Enabled {
		n.cleaner.Run(ctx)
		return
	}
	n.cleaner.Watch(ctx)
}

func (n *life) handOver() {
	if n.forwarder != nil {
		n.forwarder.HandOver()
	}
}

func (n *life) hurry() {
	if n.forwarder != nil {
		n.forwarder.Hurry()
	}
}

// watchdog ticks as often as systemd wants to hear from us.
func (a *Agent) watchdog() *time.Ticker {
	return time.NewTicker(cmp.Or(a.notify.watchdog, lookEvery))
}

// reload reads the configuration again and answers the life it asks for; none if it is refused, and all stays as it is.
func (a *Agent) reload() *life {
	a.notify.reloading()
	loaded := a.source.Check()
	a.logFindings(loaded.Findings)
	next, err := a.prepare(loaded)
	if err != nil {
		a.reloaded(refusal{err.Error(), loaded.Findings})
		a.log.Error("configuration not taken, the former stays", "err", err)
		a.notify.ready(a.summary())
		return nil
	}
	a.reloaded(refusal{})
	a.log.Info("configuration read again", "files", loaded.Files)
	a.ecs.reloaded()
	return next
}

// prepare makes the next life and opens what it needs, as far as that can be done while the present one goes on.
func (a *Agent) prepare(l Loaded) (*life, error) {
	if !l.OK() {
		return nil, ErrConfig
	}
	next, err := a.newLife(l)
	if err != nil {
		return nil, err
	}
	if err := a.serve(l.Config); err != nil {
		return nil, err
	}
	if old := a.loaded.Config.Forwarder.Spool.Dir; old != l.Config.Forwarder.Spool.Dir {
		a.log.Warn("another spool directory: what the former one still holds is sent when it is configured again",
			"former", old, "now", l.Config.Forwarder.Spool.Dir)
	}
	return next, nil
}
