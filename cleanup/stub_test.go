package cleanup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// stub is an engine with a thin pool, which no machine of today has any more. Each container takes a tenth of the pool.
type stub struct {
	all     []plan.Container
	finals  map[string]inspected
	removed []string // containers, and + where their volumes went with them
	before  func()   // a removal
	asked   func()   // for the figures
}

func (s *stub) info(context.Context) (string, *plan.Disk, error) {
	if s.asked != nil {
		s.asked()
	}
	return "/none", &plan.Disk{Mount: "thin pool", Roles: []string{plan.RoleThin}, Bytes: 10, FreeBytes: int64(10 - len(s.all)), UntilFull: plan.Never}, nil
}

func (s *stub) containers(context.Context, ...string) ([]plan.Container, error) {
	return slices.Clone(s.all), nil
}

func (s *stub) inspect(_ context.Context, id string) (inspected, error) { return s.finals[id], nil }

func (s *stub) removeContainer(_ context.Context, id string, withVolumes bool) error {
	if s.before != nil {
		s.before()
	}
	s.all = slices.DeleteFunc(s.all, func(c plan.Container) bool { return c.ID == id })
	if withVolumes {
		id += "+"
	}
	s.removed = append(s.removed, id)
	return nil
}

func (s *stub) volumes(context.Context) ([]plan.Volume, []string, error) { return nil, nil, nil }
func (s *stub) volume(context.Context, string) (plan.Volume, error)      { return plan.Volume{}, errGone }
func (s *stub) images(context.Context) ([]plan.Image, error)             { return nil, nil }
func (s *stub) inspectImage(context.Context, string) (plan.Image, time.Time, error) {
	return plan.Image{}, time.Time{}, errGone
}
func (s *stub) removeVolume(context.Context, string) error                    { return errGone }
func (s *stub) removeImage(context.Context, string) error                     { return errGone }
func (s *stub) pruneBuildCache(context.Context, time.Duration) (int64, error) { return 0, nil }
func (s *stub) up() (time.Duration, bool)                                     { return time.Hour, true }
func (s *stub) events(ctx context.Context, _ func(), _ func(event)) error {
	<-ctx.Done()
	return ctx.Err()
}
func (s *stub) close() error { return nil }

func (s *stub) cleaner(t *testing.T, ecs *plan.ECS) *Cleaner {
	cfg := DefaultConfig()
	cfg.Pressure.Steps = []string{string(plan.StepContainers)}
	c, _ := newCleaner(t, cfg, Host{ECS: ecsOf(ecs)})
	c.open = func() (engine, error) { return s, nil }
	// The disks of this machine are none of this test's.
	c.gauge.places = []place{{}, {plan.RoleDocker, "/proc"}}
	return c
}

// The pool is relieved at the low mark, not when all is gone. What is left behind is on disk before it is left.
func TestThinPoolRelieved(t *testing.T) {
	s := &stub{finals: map[string]inspected{}}
	for i := range 9 {
		id := fmt.Sprint(i)
		s.all = append(s.all, plan.Container{ID: id, State: "exited", Created: time.Now().Add(time.Duration(i-100) * time.Hour), Volumes: []string{"of-" + id}})
		s.finals[id] = inspected{final: plan.Final{Finished: time.Now().Add(-time.Hour)}}
	}
	c := s.cleaner(t, &plan.ECS{})
	s.before = func() {
		m, err := c.state.load()
		if _, noted := m.Left["of-0"]; err != nil || !noted {
			t.Errorf("what a container leaves is not noted before it goes: %v, %v", m.Left, err)
		}
	}
	r := pass(t, c, false)
	if got := strings.Join(s.removed, " "); got != "0 1" {
		t.Errorf("removed %q, and the low mark is 70 %%: %s", got, describe(r))
	}
}

// A disk without room for a folder of ours is cleaned up all the same. What could not be remembered is known to the next pass.
func TestNoRoomForState(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "nr_inodes=1"); err != nil {
		t.Skipf("needs root, for a disk that is full: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	s := &stub{finals: map[string]inspected{"a": {final: plan.Final{Finished: time.Now().Add(-time.Hour)}}}}
	for range 9 { // the others are not over
		s.all = append(s.all, plan.Container{ID: "run", State: "running"})
	}
	s.all = append(s.all, plan.Container{ID: "a", State: "exited", Volumes: []string{"v"}})
	c := s.cleaner(t, &plan.ECS{})
	c.state = stateOf(dir)
	if r := pass(t, c, false); r.Removed != 1 {
		t.Errorf("removed %d: %s", r.Removed, describe(r))
	}
	if c.memory == nil || len(c.memory.Left) != 1 {
		t.Errorf("remembered %+v", c.memory)
	}
}

// Containers that could not be started go with their volumes when their task is over: they never ran, so their age is that of their making.
func TestNeverStarted(t *testing.T) {
	s, ecs := &stub{finals: map[string]inspected{}}, &plan.ECS{Present: true, Answers: true}
	for i := range 10 {
		id := fmt.Sprint(i)
		s.all = append(s.all, plan.Container{ID: id, State: "created", Created: time.Now().Add(time.Duration(i-9) * 10 * time.Second), Labels: taskLabels("arn:"+id, "broken")})
		s.finals[id] = inspected{plain: true}
		ecs.Tasks = append(ecs.Tasks, plan.Task{ARN: "arn:" + id, Family: "broken", Revision: "7", Known: "STOPPED"})
	}
	ecs.Tasks[1].Known = "PENDING"
	r := pass(t, s.cleaner(t, ecs), false)
	if got := strings.Join(s.removed, " "); got != "0+ 2+ 3+" {
		t.Errorf("removed %q, want the oldest that are over, down to the low mark: %s", got, describe(r))
	}
	if len(r.Failing) != 1 || r.Failing[0].Family != "broken" || r.Failing[0].Exit != 0 {
		t.Errorf("failing %+v", r.Failing)
	}
}

// A pass that hangs shows in the pulse of Run, which ends with it.
func TestPulse(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s := &stub{asked: func() { close(asked); <-answer }}
	c := s.cleaner(t, &plan.ECS{})
	loop := c.Loop()
	if stage, _, _ := loop.Pulse.Look(); stage != nil {
		t.Errorf("at %q before it runs", stage.Doing)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	<-asked
	if stage, _, _ := loop.Pulse.Look(); stage == nil || stage.Doing != "in a pass" {
		t.Errorf("at %+v during a pass", stage)
	}
	cancel()
	close(answer)
	<-ended
	if stage, _, _ := loop.Pulse.Look(); stage != nil {
		t.Errorf("at %q after its end", stage.Doing)
	}
}
