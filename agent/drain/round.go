package drain

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Result is how a round through the phases ended.
type Result struct {
	Failure string `json:"failure,omitempty"` // what is left: tasks that run, logs that were not delivered; empty: all is done
}

// round goes through the phases once. Each step is harmless where it was done before.
func (d *Drain) round(ctx context.Context) {
	cfg := d.config()
	spills := cfg.Spill != ""
	d.enter(Draining)
	d.parts.Logs.Leave(d.Leaving())
	began := time.Now()
	d.event("notice", d.standing()[0].String(), nil)

	calls, cancel := d.within(ctx, func(cs causes) time.Time {
		return later(cs.tasksBy(spills), began.Add(firstCalls))
	})
	id, known := d.identify(calls)
	if known {
		d.drainInstance(calls, id)
	}
	cancel()

	d.enter(Tasks)
	var left []string
	if known {
		waiting, cancel := d.within(ctx, func(cs causes) time.Time { return cs.tasksBy(spills) })
		left = d.awaitTasks(waiting, id)
		cancel()
	}

	d.enter(Forwarding)
	waiting, cancel := d.within(ctx, func(cs causes) time.Time { return cs.spillBy(spills) })
	err := d.settle(waiting)
	cancel()
	if ctx.Err() != nil {
		return // taken back
	}
	undelivered := ""
	if err != nil {
		undelivered = d.undelivered()
		d.tell(slog.LevelError, "not all logs are delivered in time: "+undelivered, "err", err)
		d.event("gave_up", "not all logs of this instance are delivered in time: "+undelivered, nil)
		if spills && d.standing().any(Cause.final) {
			d.spillRest(ctx)
		}
	} else {
		text := "all logs of this instance are delivered"
		if len(left) > 0 {
			text += " up to now; " + stillRun(left)
		}
		d.tell(slog.LevelInfo, text)
		d.event("delivered", text, nil)
	}
	if d.standing().of(Lifecycle) != nil && cfg.Hook != "" {
		d.complete(ctx)
	}
	d.enter(Out)
	d.ended(left, undelivered)
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
	return text
}

const (
	settleRetry = 500 * time.Millisecond
	tellEvery   = 5 * time.Second
	eventWithin = 2 * time.Second // a full spool takes no events of ours either
)

// settle waits until all that is in the logs now is acknowledged, over reloads of the configuration.
func (d *Drain) settle(ctx context.Context) error {
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
