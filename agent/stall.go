package agent

import (
	"context"
	"slices"
	"time"

	"github.com/fairlead/fairlead/internal/pulse"
)

// Three things ask whether the loops make progress: /healthz and /readyz, whose answer is for a monitoring system, and the watchdog of
// systemd, whose answer is a restart. What a restart cannot cure must not lead to one: a receiver that is down, a full spool
// (in both our loops turn), and a disk that hangs. A process that waits for such a disk cannot even be killed; the next one would
// wait behind its lock on the spool. So then the watchdog is fed on, and /healthz and /readyz say what is the matter.

// What a life is at where its loops do not run yet, or not any more.
var opening = pulse.Stage{Doing: "opening the spool", Limit: 10 * time.Minute, Disk: true}

// stopLimit is what a stop may take beyond forward.grace; systemd is told the same.
const stopLimit = 30 * time.Second

// lookEvery is how often loops are looked at where systemd does not want to hear of them, for the log.
const lookEvery = 30 * time.Second

// loops are all that must make progress.
func (n *life) loops() []pulse.Loop {
	if n == nil {
		return nil
	}
	var loops []pulse.Loop
	if n.forwarder != nil {
		loops = append(loops, pulse.Loop{Name: "daemon", Pulse: &n.pulse})
		if n.wasReady() && !n.stopping.Load() {
			loops = append(loops, n.forwarder.Loops()...)
		}
	}
	if n.cleaner != nil && !n.stopping.Load() {
		loops = append(loops, n.cleaner.Loop())
	}
	return loops
}

// stalls answers which loops stand still. It takes a moment where one seems to: a second look must find it where it was. When ctx
// ends before, what is only suspected does not count.
func (a *Agent) stalls(ctx context.Context) []pulse.Stall {
	a.mu.Lock()
	n := a.now
	a.mu.Unlock()
	stalls, suspects := a.monitor.Look(n.loops())
	if !suspects {
		return stalls
	}
	timer := time.NewTimer(a.monitor.Chance)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
		stalls, _ = a.monitor.Look(n.loops())
	}
	return stalls
}

// curable says whether a restart may help.
func curable(stalls []pulse.Stall) bool {
	return slices.ContainsFunc(stalls, func(s pulse.Stall) bool { return !s.Disk })
}

// lookAfter is what the daemon does as often as systemd wants to hear from it. It does not wait for a second look: the next is to
// come, and one sign of life too many does no harm.
func (a *Agent) lookAfter(n *life) {
	stalls, _ := a.monitor.Look(n.loops())
	for _, s := range stalls {
		if slices.ContainsFunc(n.stalled, func(b pulse.Stall) bool { return b.Loop == s.Loop && b.Disk == s.Disk }) {
			continue
		}
		a.log.Error("a loop stands still", "loop", s.Loop, "at", s.Doing, "silent", s.Silent.Round(time.Second).String(), "disk_stalled", s.Disk)
	}
	if len(stalls) == 0 && len(n.stalled) > 0 {
		a.log.Info("all loops turn again")
	}
	n.stalled = stalls
	if a.notify.watchdog == 0 || curable(stalls) {
		return // systemd hears nothing, and restarts us in the end; SIGABRT has the stacks of all goroutines logged
	}
	if len(stalls) > 0 {
		a.notify.alive(stalls[0].String())
		return
	}
	a.notify.alive(a.summary())
}
