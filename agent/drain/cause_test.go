package drain

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The times keep their order whatever stands: tasks, logs, spill, the end; and nothing that is asked for by hand brings the end of what is
// about to end nearer.
func TestTimes(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var cs causes
		for _, k := range kinds {
			if !rapid.Bool().Draw(t, string(k)) {
				continue
			}
			began := now.Add(-time.Duration(rapid.IntRange(0, 3600).Draw(t, "ago")) * time.Second)
			c := Cause{Kind: k, Began: began, End: began.Add(time.Duration(rapid.IntRange(0, 7200).Draw(t, "wait")) * time.Second)}
			switch k {
			case Spot:
				c.Detail = rapid.SampledFrom([]string{"terminate", "stop", "hibernate"}).Draw(t, "action")
			case Lifecycle:
				c.Detail = rapid.SampledFrom([]string{"Terminated", "Warmed:Stopped"}).Draw(t, "state")
			}
			cs = append(cs, c)
		}
		if len(cs) == 0 {
			if !cs.end().IsZero() || !cs.tasksBy(true).IsZero() {
				t.Fatal("times of nothing")
			}
			return
		}
		for _, spills := range []bool{false, true} {
			tasks, logs, end := cs.tasksBy(spills), cs.spillBy(spills), cs.end()
			if tasks.After(logs) || logs.After(end) || logs.Sub(tasks) > time.Minute {
				t.Errorf("tasks by %s, logs by %s, end %s", tasks, logs, end)
			}
			if spot := cs.of(Spot); spills && spot != nil && spot.final() && spot.End.Sub(logs) < spillReserve {
				t.Errorf("%s are left to spill", spot.End.Sub(logs))
			}
		}
		if cs.any(Cause.leaving) {
			hand := append(cs, Cause{Kind: Hand, Began: now, End: now.Add(time.Second)})
			if !hand.end().Equal(cs.end()) || !hand.tasksBy(true).Equal(cs.tasksBy(true)) {
				t.Error("what was asked for by hand changes the end")
			}
		}
	})
}
