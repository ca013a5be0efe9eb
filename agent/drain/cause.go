package drain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is why an instance is taken out of service.
type Kind string

// The kinds. What they cost differs: a Spot notice has an end that nobody can move, a lifecycle hook waits as long as it is kept alive, and
// after the others the instance goes on.
const (
	Spot      Kind = "spot"
	Lifecycle Kind = "lifecycle"
	Rebalance Kind = "rebalance"
	Hand      Kind = "hand"
)

var kinds = []Kind{Spot, Lifecycle, Rebalance, Hand}

// Cause is one reason why the instance is out of service. It stands until it is withdrawn.
type Cause struct {
	Kind   Kind      `json:"kind"`
	Detail string    `json:"detail"` // the action of a Spot notice, the target state of Auto Scaling, the time of a recommendation
	Began  time.Time `json:"began"`  // when we heard of it
	End    time.Time `json:"end"`    // when tasks and logs are waited for no longer
}

func (c Cause) String() string {
	switch c.Kind {
	case Spot:
		return fmt.Sprintf("Spot notice: EC2 will %s this instance at %s", c.Detail, c.End.UTC().Format("15:04:05 MST"))
	case Lifecycle:
		return "Auto Scaling takes this instance out: its target state is " + c.Detail
	case Rebalance:
		return "EC2 recommends to rebalance: this Spot instance is at an elevated risk"
	}
	return "asked for by hand"
}

// leaving says that this host is about to end, or to sleep for nobody knows how long.
func (c Cause) leaving() bool { return c.Kind == Spot || c.Kind == Lifecycle }

// final says that its disks end with it.
func (c Cause) final() bool {
	return c.Kind == Spot && c.Detail == "terminate" || c.Kind == Lifecycle && ends(c.Detail)
}

// ends says that an instance with this target state is terminated.
func ends(target string) bool { return target == "Terminated" || target == warmed+"Terminated" }

// warmed begins the states of an instance that waits in a warm pool; the last of them is its end.
const warmed = "Warmed:"

// causes are all that stand.
type causes []Cause

func (cs causes) of(k Kind) *Cause {
	for i := range cs {
		if cs[i].Kind == k {
			return &cs[i]
		}
	}
	return nil
}

func (cs causes) any(f func(Cause) bool) bool { return slices.ContainsFunc(cs, f) }

// weighty are those whose times count: where the host is about to end, a wait that somebody asked for by hand ends nothing sooner.
func (cs causes) weighty() causes {
	if !cs.any(Cause.leaving) {
		return cs
	}
	return slices.DeleteFunc(slices.Clone(cs), func(c Cause) bool { return !c.leaving() })
}

// began is when the first was heard of.
func (cs causes) began() (t time.Time) {
	for _, c := range cs.weighty() {
		if t.IsZero() || c.Began.Before(t) {
			t = c.Began
		}
	}
	return t
}

// end is when nothing is waited for any more.
func (cs causes) end() (t time.Time) {
	for _, c := range cs.weighty() {
		if t.IsZero() || c.End.Before(t) {
			t = c.End
		}
	}
	return t
}

const (
	spillReserve = 25 * time.Second // before a Spot instance ends, for what could not be delivered
	spotMargin   = 2 * time.Second  // the time of a notice is approximate
	firstCalls   = 15 * time.Second // for the call that matters most, however late the notice
)

// spillBy is when what could not be delivered is to be spilled: a hook waits for that, a Spot notice does not.
func (cs causes) spillBy(spills bool) time.Time {
	end := cs.end()
	spot := cs.of(Spot)
	switch {
	case spot == nil:
	case spills && spot.final() && spot.End.Add(-spillReserve).Before(end):
		return spot.End.Add(-spillReserve)
	case spot.End.Add(-spotMargin).Before(end):
		return spot.End.Add(-spotMargin)
	}
	return end
}

// tasksBy is when tasks that still run are waited for no longer: a fifth of the time, and a minute at most, is kept for the logs.
func (cs causes) tasksBy(spills bool) time.Time {
	by := cs.spillBy(spills)
	return by.Add(-min(time.Minute, max(0, by.Sub(cs.began())/5)))
}

func (cs causes) kinds() string {
	var names []string
	for _, c := range cs {
		names = append(names, string(c.Kind))
	}
	return strings.Join(names, ",")
}
