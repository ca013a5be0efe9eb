package health

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// maxEnds bounds how many ended containers are remembered, for the tasks they were part of.
const maxEnds = 1000

// listen counts what happens to containers, also to those that live too short to be listed. After a lost connection the engine is asked for
// what was missed.
func (d *Docker) listen(ctx context.Context) {
	last := time.Now()
	for ctx.Err() == nil {
		stream := d.cli.Events(ctx, client.EventsListOptions{
			Since: fmt.Sprintf("%d.%09d", last.Unix(), last.Nanosecond()),
			Filters: client.Filters{}.Add("type", string(events.ContainerEventType)).
				Add("event", string(events.ActionStart), string(events.ActionKill), string(events.ActionDie), string(events.ActionOOM)),
		})
		for open := true; open; {
			select {
			case m := <-stream.Messages:
				if at := time.Unix(0, m.TimeNano); at.After(last) { // the one at the time asked for comes again
					last = at
					d.heard(m, at)
				}
			case err := <-stream.Err:
				d.log.Debug("the engine's events ended", "err", err)
				open = false
			}
		}
		pause := time.NewTimer(min(d.every, 10*time.Second))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// harmless are signals that tell a container something else than to stop: HUP, USR1, USR2, WINCH.
var harmless = []string{"1", "10", "12", "28"}

// heard counts one event.
func (d *Docker) heard(m events.Message, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id, attributes := m.Actor.ID, m.Actor.Attributes
	t := d.groups[d.bounded(groupOf(attributes, attributes["name"]))]
	switch m.Action {
	case events.ActionOOM:
		t.oomKills++
		d.remember(id, func(e *end) { e.oom = true })
	case events.ActionKill: // docker stop, and what else signals through the engine
		if !slices.Contains(harmless, attributes["signal"]) {
			d.remember(id, func(e *end) { e.told = true })
		}
	case events.ActionDie:
		code := attributes["exitCode"]
		t.exits[exitCode(code)]++
		d.remember(id, func(e *end) { e.code = code })
		if code != "0" && !d.ended[id].told {
			t.failures++
		}
		if w := d.containers[id]; w != nil {
			w.pid = 0
		}
	case events.ActionStart:
		if attributes["name"] == agentName {
			if d.agentSeen { // ecs-init makes a new container each time
				d.agentStarts++
			}
			d.agentSeen = true
		}
		if _, before := d.ended[id]; before {
			t.restarts++
			delete(d.ended, id)
		}
	}
	if e, ok := d.ended[id]; ok {
		e.at = at
		d.ended[id] = e
	}
	select {
	case d.probeNow <- struct{}{}:
	default:
	}
}

// remember notes how a container ends. Called with mu held.
func (d *Docker) remember(id string, note func(*end)) {
	if _, known := d.ended[id]; !known && len(d.ended) >= maxEnds {
		oldest, at := "", time.Now()
		for id, e := range d.ended {
			if e.at.Before(at) {
				oldest, at = id, e.at
			}
		}
		delete(d.ended, oldest)
	}
	e := d.ended[id]
	e.at = time.Now()
	note(&e)
	d.ended[id] = e
}

// ending answers how a container ended, as far as it was heard of.
func (d *Docker) ending(id string) (end, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.ended[id]
	return e, ok
}
