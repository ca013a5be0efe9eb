package cleanup

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/cleanup/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that a test moves on.
type clock struct {
	plan.Clock
	engineUp time.Duration
}

func (c *clock) now() plan.Clock {
	real := now()
	return plan.Clock{Wall: real.Wall.Add(c.Up), Boot: "boot" + c.Boot, Up: real.Up + c.Up}
}

// settled is an engine that has run for long.
type settled struct {
	engine
	clock *clock
}

func (s settled) up() (time.Duration, bool) { return time.Hour + s.clock.engineUp, true }

// newCleaner cleans the engine of a test, by a clock of its own.
func newCleaner(t *testing.T, cfg Config, h Host) (*Cleaner, *clock) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if h.StateDir == "" {
		h.StateDir = t.TempDir()
	}
	cl := &clock{}
	c := New(cfg, h, slog.New(slog.NewTextHandler(logTo{t}, nil)), prometheus.NewRegistry())
	c.now = cl.now
	c.open = func() (engine, error) {
		d, err := openDocker(h.Docker)
		return settled{d, cl}, err
	}
	t.Cleanup(c.Close)
	return c, cl
}

type logTo struct{ t *testing.T }

func (l logTo) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func pass(t *testing.T, c *Cleaner, dryRun bool) Report {
	t.Helper()
	r, err := c.Pass(t.Context(), dryRun)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) > 0 {
		t.Fatalf("errors: %v", r.Errors)
	}
	return r
}

// TestVolumeLaw has each rule of the law for volumes tried on a real engine.
func TestVolumeLaw(t *testing.T) {
	e := newEngine(t, 256)
	e.image("filler")
	anonymous := func() string { return e.createVolume(client.VolumeCreateOptions{}) }
	keep := map[string]string{ // and why
		e.createVolume(client.VolumeCreateOptions{Name: "pgdata"}):                                                                     "named",
		e.createVolume(client.VolumeCreateOptions{Name: "tmp-keep"}):                                                                   "named, asked for and protected",
		e.createVolume(client.VolumeCreateOptions{Labels: map[string]string{"com.docker.compose.project": "x"}}):                       "foreign label",
		e.createVolume(client.VolumeCreateOptions{Name: "tmp-opt", DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs"}}): "options",
		e.createVolume(client.VolumeCreateOptions{Name: "tmp-label", Labels: map[string]string{"a": "b"}}):                             "label",
	}
	exited := e.run(spec{})
	running := e.run(spec{sleep: time.Hour})
	created := e.run(spec{noStart: true})
	for _, id := range []string{exited, running, created} {
		for _, name := range e.mounts(id) {
			keep[name] = "of a container"
		}
	}
	shared := e.run(spec{sleep: time.Hour, labels: map[string]string{"com.amazonaws.ecs.task-arn": "arn"}, volumes: []string{"tmp-shared:/shared"}})
	sharedMounts := e.mounts(shared)
	for _, name := range sharedMounts {
		keep[name] = "of a container"
	}
	protected := anonymous()
	keep[protected] = "protected"
	task := "ecs-web-3-data-0123456789abcdef0100"
	e.createVolume(client.VolumeCreateOptions{Name: task})
	garbage := []string{anonymous(), anonymous(), e.createVolume(client.VolumeCreateOptions{Name: "tmp-1"})}
	byPath := anonymous()
	e.run(spec{noStart: true, volumes: []string{filepath.Join(e.root(), "volumes", byPath, "_data") + ":/by-path"}})
	keep[byPath] = "mounted by its path"
	left := e.run(spec{bytes: 1 << 20})
	garbage = append(garbage, e.mounts(left)...)
	e.removeContainer(left)

	cfg := DefaultConfig()
	cfg.NamedVolumes, cfg.Protect = []string{"tmp-*"}, []string{"*keep*", protected}
	cfg.High, cfg.Low = 99, 98
	cfg.Pressure.VolumeGrace = cfg.VolumeGrace
	keep[task] = "of a task that starts"
	tasks := plan.ECS{Present: true, Answers: true, Tasks: []plan.Task{{ARN: "arn:2", Family: "web", Revision: "3", Known: "PENDING"}}}
	c, cl := newCleaner(t, cfg, Host{Docker: e.host(), ECS: ecsOf(&tasks)})

	removed := func(when string) {
		t.Helper()
		there := e.volumes()
		for name, why := range keep {
			if !there[name] {
				t.Fatalf("%s: %s is gone, which is %s", when, name, why)
			}
		}
	}
	if r := pass(t, c, false); r.Removed > 0 {
		t.Fatalf("removed at first sight: %s", describe(r))
	}
	removed("at first")
	cl.Up += cfg.VolumeGrace - time.Minute
	if r := pass(t, c, false); r.Removed > 0 {
		t.Fatalf("removed before the grace was over: %s", describe(r))
	}
	// What was used in between begins anew. The engine tells it in whole seconds.
	time.Sleep(time.Second)
	again := garbage[0]
	e.removeContainer(e.run(spec{volumes: []string{again + ":/data"}, bytes: 10}))
	keep[again] = "used in between"
	cl.Up += 2 * time.Minute
	dry := pass(t, c, true)
	if n := len(dry.Removals()); n != 2 || dry.ReclaimedBytes < 1<<20 {
		t.Fatalf("a dry run would remove %d volumes, %d bytes: %s", n, dry.ReclaimedBytes, describe(dry))
	}
	removed("in a dry run")
	keep["tmp-shared"] = "shared by tasks"
	e.removeContainer(shared)
	keep["tmp-1"] = "named, and the disk is below its mark"
	if r := pass(t, c, false); r.Removed != 2 {
		t.Fatalf("removed %d: %s", r.Removed, describe(r))
	}
	removed("below the mark")
	delete(keep, "tmp-1")
	c.policy.High, c.policy.Low = 0, 0
	c.policy.Pressure.Steps = []plan.Step{plan.StepVolumes}
	if r := pass(t, c, false); r.Removed != 1 {
		t.Fatalf("removed %d: %s", r.Removed, describe(r))
	}
	removed("after the grace")
	there := e.volumes()
	for _, name := range garbage[1:] {
		if there[name] {
			t.Errorf("garbage stays: %s", name)
		}
	}
	// The grace is over for the others: the one that was used goes at its own time, the one that tasks share never, and that of a task when
	// no task of its family and revision is starting.
	cl.Up += 4 * time.Hour
	if r := pass(t, c, false); r.Removed != 2 { // and what the container of the task had
		t.Fatalf("removed %d: %s", r.Removed, describe(r))
	}
	delete(keep, again)
	for _, name := range sharedMounts {
		if plan.Anonymous(name) {
			delete(keep, name)
		}
	}
	removed("hours later")
	tasks.Tasks[0].Known = "RUNNING"
	if r := pass(t, c, false); r.Removed != 1 || e.volumes()[task] {
		t.Fatalf("removed %d: %s", r.Removed, describe(r))
	}
	delete(keep, task)
	removed("at last")
	history, err := History(c.host.StateDir)
	if err != nil || len(history) < 4 {
		t.Fatalf("history %v, %v", history, err)
	}
	for _, h := range history {
		if h.Reason == "" || h.Failed != "" || h.Kind != plan.KindVolume {
			t.Errorf("line of the history: %+v", h)
		}
	}
}

func ecsOf(e *plan.ECS) func(ctx context.Context) plan.ECS {
	return func(context.Context) plan.ECS { return *e }
}

// What a single engine serves for.
func TestEngine(t *testing.T) {
	e := newEngine(t, 64)
	for name, test := range map[string]func(*testing.T, *ownEngine){
		"a dry run writes nothing": testDryRun, "just started": testJustStarted, "quiet": testQuietPass, "hung": testHungEngine,
	} {
		t.Run(name, func(t *testing.T) { test(t, e) })
	}
}

// A dry run changes nothing on disk, wherever it looks.
func testDryRun(t *testing.T, e *ownEngine) {
	e.createVolume(client.VolumeCreateOptions{})
	dir := t.TempDir()
	c, _ := newCleaner(t, DefaultConfig(), Host{Docker: e.host(), StateDir: filepath.Join(dir, "state")})
	pass(t, c, true)
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("there is %v in the state folder, %v", entries, err)
	}
}

// An engine that has just started is let alone, whatever dangles.
func testJustStarted(t *testing.T, e *ownEngine) {
	e.createVolume(client.VolumeCreateOptions{})
	c, cl := newCleaner(t, DefaultConfig(), Host{Docker: e.host()})
	c.open = func() (engine, error) { return openDocker(e.host()) } // its true age
	pass(t, c, false)
	cl.Up += 4 * time.Hour
	if r := pass(t, c, false); r.Held == "" || r.Removed > 0 {
		t.Errorf("held %q, removed %d", r.Held, r.Removed)
	}
}
