package plan

import (
	"slices"
	"strings"
	"time"
)

// A service that cannot start is started again and again, and the ECS agent keeps what is left of each try for hours: its containers, and
// with them its volumes, which so never dangle while they fill the disk.

const (
	failedWindow = 3 * time.Hour // the default of ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION: what is older goes by itself
	failedTries  = 4             // that failed within the window make a family that fails again and again
)

// family is a family of tasks that fails again and again.
type family struct {
	Name        string
	First, Last time.Time // the creation of the oldest and the newest task that failed
	Tries       int
	Exit        int // of the newest; 0: it could not be started
	tasks       [][]*Container
}

// families finds those that fail again and again, by name. The tasks of each come newest first; they hold containers only that are done. A family
// that is known to fail is one as long as anything is left of it within the window: what is kept of it when the rest is removed is kept
// for a person to look at.
func (u *uses) families(w *World, known map[string]Failing) []family {
	type task struct {
		containers []*Container
		created    time.Time
		over       bool
		failed     bool
		exit       int
	}
	type of struct{ arn, family string }
	tasks := map[of]*task{}
	for i := range w.Containers {
		c := &w.Containers[i]
		key := of{c.Labels[labelTask], c.Labels[labelFamily]}
		if key.arn == "" || key.family == "" {
			continue
		}
		t := tasks[key]
		if t == nil {
			t = &task{created: c.Created, over: true}
			tasks[key] = t
		}
		t.containers = append(t.containers, c)
		t.over = t.over && u.done(c)
		t.failed = t.failed || !c.stopped() // it could not be started
		if c.Created.After(t.created) {
			t.created = c.Created
		}
		// What is stopped from outside ends with 137 or 143: that is no failure of its own.
		if c.Exit != 0 && c.Exit != 137 && c.Exit != 143 || c.Exit == 137 && t.exit == 0 {
			t.failed, t.exit = true, c.Exit
		}
	}
	byName := map[string][]*task{}
	for key, t := range tasks {
		if t.over && t.failed && w.Now.Wall.Sub(t.created) <= failedWindow {
			byName[key.family] = append(byName[key.family], t)
		}
	}
	var found []family
	for name, list := range byName {
		if _, is := known[name]; !is && len(list) < failedTries {
			continue
		}
		slices.SortFunc(list, func(a, b *task) int {
			if c := b.created.Compare(a.created); c != 0 {
				return c
			}
			return strings.Compare(a.containers[0].ID, b.containers[0].ID)
		})
		f := family{Name: name, First: list[len(list)-1].created, Last: list[0].created, Tries: len(list), Exit: list[0].exit}
		for _, t := range list {
			f.tasks = append(f.tasks, t.containers)
		}
		found = append(found, f)
	}
	slices.SortFunc(found, func(a, b family) int { return strings.Compare(a.Name, b.Name) })
	return found
}
