package drain

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Result is how a round through the phases ended.
type Result struct {
	Failure string `json:"failure,omitempty"` // what is left: tasks that run, logs that were not delivered; empty: all is done
}

// round goes through the phases once, for the causes that were added up to now. Each step is harmless where it was done before. It says
// whether something was to be spilled.
func (d *Drain) round(ctx context.Context, added int) (spilled bool) {
	cfg := d.config()
	spills := cfg.Spill != ""
	d.enter(Draining)
	d.parts.Logs.Leave(d.Leaving())
	began := time.Now()
	if cs := d.standing(); len(cs) > 0 { // else it was taken back in this moment
		d.event("notice", cs[0].String(), nil)
	}

	calls, cancel := d.within(ctx, func(cs causes) time.Time {
		return later(cs.tasksBy(spills), began.Add(firstCalls))
	})
	defer cancel()
	var beside sync.WaitGroup
	defer beside.Wait()
	var left []string
	if id, known := d.identify(calls); known {
		// ECS that does not listen is no reason not to follow the tasks: others may have drained the instance.
		told := make(chan struct{})
		beside.Go(func() {
			defer close(told)
			d.drainInstance(calls, id)
			d.pass(Draining, Tasks)
		})
		waiting, cancel := d.within(ctx, func(cs causes) time.Time { return cs.tasksBy(spills) })
		left = d.awaitTasks(waiting, id, told)
		cancel()
	}

	d.enter(Forwarding)
	err := d.settle(ctx, spills)
	if d.overtaken(ctx, added) {
		return false // taken back; or there is more to it now, and what was waited for may be too little
	}
	undelivered := ""
	if err != nil {
		undelivered = d.undelivered()
		spilled = d.gaveUp(ctx, spills, undelivered, err)
	} else {
		text := "all logs of this instance are delivered"
		if len(left) > 0 {
			text += " up to now; " + stillRun(left)
		}
		d.tell(slog.LevelInfo, text)
		d.event("delivered", text, nil)
	}
	lifecycle := d.standing().of(Lifecycle) != nil && cfg.Hook != ""
	switch {
	case err != nil && lifecycle: // our last words are all that is waited for
		short, cancel := context.WithTimeout(ctx, reportWithin)
		_ = d.parts.Logs.Settle(short) // what there is else was given up, or is in S3
		cancel()
	case lifecycle:
		// What was written since is waited for as long as there is time, the report that all is delivered among it: else it is lost with
		// the host. While that takes long, more is written.
		for range lastSettles {
			since := time.Now()
			if err := d.settle(ctx, spills); err != nil && !d.overtaken(ctx, added) {
				undelivered = d.undelivered()
				spilled = d.gaveUp(ctx, spills, undelivered, err)
				break
			}
			if time.Since(since) < reportWithin {
				break
			}
		}
	}
	if final := d.standing().any(Cause.final); spills && final && !spilled && d.parts.Logs.Rest().Aside > 0 {
		d.spill(ctx) // what the receiver refuses ends with the disk as well
	}
	if d.overtaken(ctx, added) {
		return spilled
	}
	if lifecycle {
		d.complete(ctx)
	}
	d.enter(Out)
	d.ended(left, undelivered)
	return spilled
}

// overtaken says that nothing stands any more, or more than when the round began.
func (d *Drain) overtaken(ctx context.Context, added int) bool {
	return ctx.Err() != nil || d.addedCauses() != added || len(d.standing()) == 0
}

// gaveUp says what is not delivered, and spills it where the disk ends with the host.
func (d *Drain) gaveUp(ctx context.Context, spills bool, undelivered string, err error) (spilled bool) {
	d.tell(slog.LevelError, "not all logs are delivered in time: "+undelivered, "err", err)
	d.event("gave_up", "not all logs of this instance are delivered in time: "+undelivered, nil)
	if spilled = spills && d.standing().any(Cause.final); spilled {
		d.spillRest(ctx)
	}
	return spilled
}

// ended tells how a round ended.
func (d *Drain) ended(left []string, undelivered string) {
	var failures []string
	if len(left) > 0 {
		failures = append(failures, stillRun(left))
	}
	if undelivered != "" {
		failures = append(failures, "not delivered: "+undelivered)
	}
	r := Result{Failure: strings.Join(failures, "; ")}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.result = &r
	for v := range d.viewers {
		v.end(r)
		delete(d.viewers, v)
	}
}

// stillRun says which tasks do, the first few of them.
func stillRun(tasks []string) string {
	verb := "tasks still run"
	if len(tasks) == 1 {
		verb = "task still runs"
	}
	text := fmt.Sprintf("%d %s: %s", len(tasks), verb, strings.Join(tasks[:min(len(tasks), 5)], ", "))
	if len(tasks) > 5 {
		text += ", ..."
	}
	return text
}

func (d *Drain) undelivered() string {
	r := d.parts.Logs.Rest()
	text := fmt.Sprintf("%d events read and not acknowledged, %d bytes of log files not read", r.Events, r.LagBytes)
	if r.Folding > 0 {
		text += fmt.Sprintf(", %d bytes being folded", r.Folding)
	}
	if r.Aside > 0 {
		text += fmt.Sprintf(", %d frames set aside that the receiver refuses", r.Aside)
	}
	return text
}

const (
	settleRetry = 500 * time.Millisecond
	lastSettles = 5
	lastLook    = time.Second // also where no time is left: all may be there
	tellEvery   = 5 * time.Second
	eventWithin = 2 * time.Second // a full spool takes no events of ours either
)

// settle waits until all that is in the logs now is acknowledged, over reloads of the configuration, as long as there is time.
func (d *Drain) settle(ctx context.Context, spills bool) error {
	atLeast := time.Now().Add(lastLook)
	ctx, cancel := d.within(ctx, func(cs causes) time.Time {
		by := cs.spillBy(spills)
		if by.IsZero() {
			return by
		}
		return later(by, atLeast)
	})
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		for {
			err := d.parts.Logs.Settle(ctx)
			if err == nil || ctx.Err() != nil || !pause(ctx, settleRetry) {
				if err != nil && timeUp(ctx) {
					err = errTime
				}
				ended <- err
				return
			}
		}
	}()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
			d.tell(slog.LevelInfo, "waiting for Fluentd: "+d.undelivered())
		}
	}
}

// pause waits, and says whether that came to its end.
func pause(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// event sends an event of our own to Fluentd.
func (d *Drain) event(phase, text string, more map[string]any) {
	d.mu.Lock()
	record := map[string]any{"log": text, "phase": phase, "cause": d.causes.kinds()}
	if id := d.note.Identity; id.ARN != "" {
		record["ecs_cluster"], record["container_instance"] = id.Cluster, id.ARN
	}
	d.mu.Unlock()
	for k, v := range more {
		record[k] = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), eventWithin)
	defer cancel()
	if err := d.parts.Logs.Say(ctx, time.Now(), record); err != nil {
		d.log.Debug("event is not sent", "event", text, "err", err)
	}
}

// takeBack has ECS place tasks on the instance again.
func (d *Drain) takeBack(ctx context.Context) {
	d.enter(Returning)
	d.tell(slog.LevelInfo, "nothing speaks against this instance any more: it is taken back into service")
	ctx, cancel := d.watching(ctx, func() (time.Time, bool) { return time.Time{}, len(d.standing()) > 0 })
	defer cancel()
	d.parts.Logs.Leave(d.Leaving())
	err := error(nil)
	if id, known := d.identify(ctx); known {
		err = d.setState(ctx, id, types.ContainerInstanceStatusActive)
	}
	if ctx.Err() != nil {
		return // it is wanted out again, or we stop: the note stands
	}
	r := Result{}
	if err != nil {
		r.Failure = fmt.Sprintf("the instance is not set ACTIVE: %v (aws ecs update-container-instances-state --status ACTIVE)", err)
		d.tell(slog.LevelError, r.Failure)
	} else {
		d.event("active", "this instance is back in service", nil)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note.Out, d.note.Causes = false, nil
	d.keep()
	d.phase = Serving
	d.status = Status{}
	d.hook = hook{}
	d.said = map[string]bool{}
	for v := range d.viewers {
		v.end(r)
		delete(d.viewers, v)
	}
}
