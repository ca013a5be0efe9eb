package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Action is what becomes of a thing.
type Action string

// The actions.
const (
	Remove Action = "remove"
	Keep   Action = "keep" // it does not go, whatever time passes
	Wait   Action = "wait" // it may go later
)

// Kind is what a thing is.
type Kind string

// The kinds.
const (
	KindVolume     Kind = "volume"
	KindContainer  Kind = "container"
	KindImage      Kind = "image"
	KindLog        Kind = "log"
	KindBuildCache Kind = "build_cache"
	KindJournal    Kind = "journal"
	KindSpool      Kind = "spool"
)

// Kinds are all of them.
var Kinds = []Kind{KindVolume, KindContainer, KindImage, KindLog, KindBuildCache, KindJournal, KindSpool}

// Item is one thing, and what becomes of it.
type Item struct {
	Kind   Kind   `json:"kind"`
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"` // where there is one beside the id
	Bytes  int64  `json:"bytes"`          // an estimate; 0 where nothing is known
	Reason string `json:"reason"`
	Action Action `json:"action"`
	Step   Step   `json:"step,omitempty"` // of the ladder; "" is done at any time

	// WithVolumes has a container's anonymous volumes go with it.
	WithVolumes bool   `json:"with_volumes,omitempty"`
	Family      string `json:"family,omitempty"` // that fails again and again

	Volume    *Volume    `json:"-"` // as it was seen, by kind
	Container *Container `json:"-"`
	Image     *Image     `json:"-"`
	Log       *Log       `json:"-"`

	since time.Time // of one step the oldest goes first
}

// Tight says that the grace of pressure counts for this volume.
func (i *Item) Tight() bool { return i.Step == StepVolumes }

// Plan is what is to be done, in its order, and what is not and why.
type Plan struct {
	Items    []Item    `json:"items"`
	Held     string    `json:"held,omitempty"` // why nothing is removed at all
	Failing  []Culprit `json:"failing"`
	Pressure []Pressed `json:"pressure"`
}

// Culprit is a family that fails again and again, and holds disk space.
type Culprit struct {
	Family  string    `json:"family"`
	Tries   int       `json:"tries"` // that are still there
	Since   time.Time `json:"since"`
	Exit    int       `json:"exit_code"` // of the newest; 0: it could not even be started
	Volumes int       `json:"volumes"`   // held by its stopped containers
}

// Pressed is a disk that is above its mark, or soon full.
type Pressed struct {
	Mount string  `json:"mount"`
	Level Level   `json:"level"`
	Used  float64 `json:"used"` // 0 to 1
}

// Make judges everything. m must have seen w. Nothing of w may change while the plan is used, since its items point into it.
func (p *Policy) Make(w *World, m *Memory) *Plan {
	plan := &Plan{Held: w.Doubt(), Failing: []Culprit{}, Pressure: []Pressed{}}
	u := usesOf(w, m)
	for i := range w.Disks {
		if d := &w.Disks[i]; p.Level(d) != Calm {
			plan.Pressure = append(plan.Pressure, Pressed{d.Mount, p.Level(d), d.Used()})
		}
	}
	for _, f := range u.failing {
		c := Culprit{Family: f.Name, Tries: f.Tries, Since: m.Failed[f.Name].Since, Exit: f.Exit}
		for _, task := range f.tasks {
			for _, container := range task {
				c.Volumes += len(container.Volumes)
			}
		}
		plan.Failing = append(plan.Failing, c)
	}
	plan.Items = make([]Item, 0, len(w.Volumes)+len(w.Images))
	plan.logs(p, w)
	plan.volumes(p, w, m, u)
	plan.containers(p, w, u)
	plan.images(p, w, m, u)
	plan.rest(p, w)
	plan.order()
	plan.bound(p.Pressure.Most)
	return plan
}

func (plan *Plan) logs(p *Policy, w *World) {
	if !p.taken(w, StepLogs) {
		return
	}
	calm := map[uint64]bool{}
	for i := range w.Disks {
		d := &w.Disks[i]
		calm[d.Dev] = p.Level(d) == Calm
	}
	for i := range w.Logs {
		l := &w.Logs[i]
		if calm[l.Dev] {
			continue // on another disk it would help nobody
		}
		plan.Items = append(plan.Items, Item{Kind: KindLog, ID: l.Path, Bytes: l.Bytes, Action: Remove, Step: StepLogs,
			Reason: "rotated, read and acknowledged", Log: l, since: l.Written})
	}
}

func (plan *Plan) volumes(p *Policy, w *World, m *Memory, u uses) {
	tight := p.taken(w, StepVolumes)
	for i := range w.Volumes {
		v := &w.Volumes[i]
		item := Item{Kind: KindVolume, ID: v.Name, Volume: v, since: m.Volumes[v.Name].First}
		item.Action, item.Reason = p.judgeVolume(w, m, v, false, u)
		switch {
		case item.Action == Remove && Anonymous(v.Name):
		case item.Action == Remove && tight: // somebody gave it a name, and what was in it cannot be had again
			item.Step = StepVolumes
		case item.Action == Remove:
			item.Action, item.Reason = Wait, "no disk that it would help is above its mark: "+item.Reason
		case item.Action == Wait && tight:
			if action, reason := p.judgeVolume(w, m, v, true, u); action == Remove {
				item.Action, item.Reason, item.Step = action, reason, StepVolumes
			}
		}
		plan.Items = append(plan.Items, item)
	}
}

func (plan *Plan) containers(p *Policy, w *World, u uses) {
	if !p.taken(w, StepContainers) {
		return
	}
	done := map[string]bool{}
	for _, f := range u.failing {
		for n, task := range f.tasks {
			for _, c := range task {
				done[c.ID] = true
				item := Item{Kind: KindContainer, ID: c.ID, Name: c.Name, Step: StepContainers, Container: c, Family: f.Name, since: c.Created}
				item.Action, item.Reason = p.judgeContainer(w, c, u)
				switch {
				case item.Action != Remove:
				case n < p.Pressure.KeepFailed:
					item.Action, item.Reason = Wait, fmt.Sprintf("one of the newest %d of %s, which failed %d times", p.Pressure.KeepFailed, f.Name, f.Tries)
				default:
					item.WithVolumes = true
					item.Reason = fmt.Sprintf("%s failed %d times, this is an older one", f.Name, f.Tries)
				}
				plan.Items = append(plan.Items, item)
			}
		}
	}
	for i := range w.Containers {
		c := &w.Containers[i]
		if done[c.ID] || !u.done(c) {
			continue
		}
		item := Item{Kind: KindContainer, ID: c.ID, Name: c.Name, Step: StepContainers, Container: c, since: c.Created}
		item.Action, item.Reason = p.judgeContainer(w, c, u)
		plan.Items = append(plan.Items, item)
	}
}

func (plan *Plan) images(p *Policy, w *World, m *Memory, u uses) {
	for i := range w.Images {
		img := &w.Images[i]
		step := StepImages
		if len(img.Tags) == 0 {
			step = StepDangling
		}
		if u.images[img.ID] || !p.taken(w, step) {
			continue
		}
		item := Item{Kind: KindImage, ID: img.ID, Name: strings.Join(img.Tags, " "), Bytes: img.Bytes, Step: step, Image: img, since: m.Images[img.ID].First}
		item.Action, item.Reason = p.judgeImage(w, m, img, u)
		plan.Items = append(plan.Items, item)
	}
}

// rest are the steps that ask somebody else to make room.
func (plan *Plan) rest(p *Policy, w *World) {
	for _, r := range []Item{
		{Kind: KindBuildCache, ID: "build cache", Step: StepBuildCache, Reason: "not used for a day"},
		{Kind: KindJournal, ID: "journal", Step: StepJournal, Reason: "archived journal files"},
		{Kind: KindSpool, ID: "spool", Step: StepSpool, Reason: "what Fluentd has acknowledged"},
	} {
		if !p.taken(w, r.Step) {
			continue
		}
		r.Action = Remove
		if r.Kind == KindBuildCache && w.Doubt() != "" {
			r.Action, r.Reason = Wait, w.Doubt()
		}
		plan.Items = append(plan.Items, r)
	}
}

// order puts first what is removed, in the order of the ladder; and of one step what is old, or has failed, before the rest.
func (plan *Plan) order() {
	rank := func(i *Item) int { return slices.Index(Steps, i.Step) } // -1: what needs no pressure
	slices.SortStableFunc(plan.Items, func(a, b Item) int {
		if c := cmp.Compare(actionRank(a.Action), actionRank(b.Action)); c != 0 {
			return c
		}
		if c := cmp.Compare(rank(&a), rank(&b)); c != 0 {
			return c
		}
		if (a.Family != "") != (b.Family != "") {
			if a.Family != "" {
				return -1
			}
			return 1
		}
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

func actionRank(a Action) int { return slices.Index([]Action{Remove, Wait, Keep}, a) }

// bound has each step remove so many at most; the rest waits for the next pass.
func (plan *Plan) bound(most int) {
	counts := map[Step]int{}
	for i := range plan.Items {
		item := &plan.Items[i]
		if item.Action != Remove {
			break
		}
		if counts[item.Step]++; counts[item.Step] > most {
			item.Action, item.Reason = Wait, fmt.Sprintf("%d are enough for one pass; %s", most, item.Reason)
		}
	}
}

// Leave notes in the memory which volumes the removals would leave behind.
func (plan *Plan) Leave(m *Memory, now time.Time) {
	for _, item := range plan.Removals() {
		if item.Container != nil && !item.WithVolumes {
			m.Leave(now, item.Container.Volumes)
		}
	}
}

// Removals are the items to remove, in their order.
func (plan *Plan) Removals() []*Item {
	var list []*Item
	for i := range plan.Items {
		if plan.Items[i].Action == Remove {
			list = append(list, &plan.Items[i])
		}
	}
	return list
}
