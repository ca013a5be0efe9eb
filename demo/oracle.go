package demo

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// overdueAfter is when an event that has not arrived is shown as lost. It may still come; the verdict waits longer.
const overdueAfter = 10 * time.Second

// oracle knows what was written and sees what arrives. An event is the one that its container wrote with that time: two events
// of the same text stay two, and a second copy of one is a repeat.
type oracle struct {
	mu         sync.Mutex // guards what follows
	containers map[string]*account
	waiting    []*expected // in the order they were written; those at the front that arrived are taken off
	n          Count
	problems   []string // the first few, in words
}

// Count is what the oracle has seen.
type Count struct {
	Lines      int // records written
	Expected   int // events written
	Events     int // of these, arrived with the exact text
	Traces     int // of these, of several lines
	Wrong      int // arrived with another text
	Unexpected int // arrived and never written
	Repeated   int // arrived again
	Overdue    int // not arrived for overdueAfter
}

// Missing is how many events have not arrived in any form.
func (c Count) Missing() int { return c.Expected - c.Events - c.Wrong }

// account is one container's.
type account struct {
	name   string
	byTime map[moment]*expected
	byText map[string][]*expected // those whose time only the engine knows, oldest first, by source and text

	// refresh, if set, makes known what the container wrote up to now; called with the oracle locked.
	refresh func()
}

// moment is what tells the events of a container apart.
type moment struct {
	stderr bool
	time   int64
}

type expected struct {
	event   *event
	who     *account
	written time.Time
	time    int64 // 0 until known
	arrived bool
	wrong   bool
}

func newOracle() *oracle { return &oracle{containers: map[string]*account{}} }

// open begins the account of a container.
func (o *oracle) open(id, name string, refresh func()) *account {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := &account{name: name, byTime: map[moment]*expected{}, byText: map[string][]*expected{}, refresh: refresh}
	o.containers[id] = a
	return a
}

// expect notes a group that is about to be written, with the times of its records, or without them where they are not known. The
// oracle must be locked.
func (o *oracle) expect(a *account, g *group, times []int64, now time.Time) {
	o.n.Lines += len(g.records)
	o.n.Expected += len(g.events)
	all := make([]expected, len(g.events))
	for i := range g.events {
		e := &g.events[i]
		x := &all[i]
		*x = expected{event: e, who: a, written: now}
		if times != nil {
			x.time = times[e.first]
			a.byTime[moment{e.stderr, x.time}] = x
		} else {
			key := textKey(e.stderr, e.text)
			a.byText[key] = append(a.byText[key], x)
		}
		o.waiting = append(o.waiting, x)
	}
}

func textKey(stderr bool, text string) string {
	if stderr {
		return "2" + text
	}
	return "1" + text
}

// receive takes an event that arrived. Containers that are not ours do not count.
func (o *oracle) receive(id string, stderr bool, t int64, text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.containers[id]
	if a == nil {
		return
	}
	x := a.find(stderr, t, text)
	if x == nil && a.refresh != nil {
		a.refresh()
		x = a.find(stderr, t, text)
	}
	switch {
	case x == nil:
		o.n.Unexpected++
		o.problem("%s never wrote, but there arrived: %s", a.name, quote(string(text)))
	case string(text) != x.event.text && !x.wrong:
		if x.arrived {
			o.n.Events--
			o.countTrace(x, -1)
		}
		x.arrived, x.wrong = true, true
		o.n.Wrong++
		o.problem("%s wrote %d lines: %s, but there arrived: %s", a.name, x.event.lines, quote(x.event.text), quote(string(text)))
	case x.arrived:
		o.n.Repeated++
	default:
		x.arrived = true
		o.n.Events++
		o.countTrace(x, 1)
	}
}

func (o *oracle) countTrace(x *expected, n int) {
	if x.event.lines > 1 {
		o.n.Traces += n
	}
}

// find looks the event up by its time, or gives the time to the oldest one of its text that has none.
func (a *account) find(stderr bool, t int64, text []byte) *expected {
	at := moment{stderr, t}
	if x := a.byTime[at]; x != nil {
		return x
	}
	key := textKey(stderr, string(text))
	list := a.byText[key]
	if len(list) == 0 {
		return nil
	}
	x := list[0]
	a.byText[key] = list[1:]
	x.time = t
	a.byTime[at] = x
	return x
}

// count says how it stands.
func (o *oracle) count(now time.Time) Count {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.containers {
		if a.refresh != nil {
			a.refresh()
		}
	}
	for len(o.waiting) > 0 && o.waiting[0].arrived {
		o.waiting = o.waiting[1:]
	}
	n := o.n
	for _, x := range o.waiting {
		if now.Sub(x.written) < overdueAfter {
			break
		}
		if !x.arrived {
			n.Overdue++
		}
	}
	return n
}

// report tells what went wrong: what was noted on the way, then the first few events that are missing.
func (o *oracle) report() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.waiting {
		if !x.arrived {
			at := x.written
			if x.time != 0 {
				at = time.Unix(0, x.time)
			}
			o.problem("%s wrote at %s and it never arrived: %s", x.who.name, at.UTC().Format(time.RFC3339Nano), quote(x.event.text))
		}
	}
	return o.problems
}

const maxProblems = 10

func (o *oracle) problem(format string, args ...any) {
	if len(o.problems) < maxProblems {
		o.problems = append(o.problems, fmt.Sprintf(format, args...))
	}
}

// quote shows the begin of a text in one line.
func quote(s string) string {
	const most = 120
	cut := ""
	if len(s) > most {
		s, cut = strings.ToValidUTF8(s[:most], ""), fmt.Sprintf(" ... (%d bytes)", len(s))
	}
	return fmt.Sprintf("%q%s", s, cut)
}
