package cleanup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// counted counts the calls of a pass.
type counted struct {
	engine
	calls *atomic.Int64
}

func (c counted) info(ctx context.Context) (string, *plan.Disk, error) {
	c.calls.Add(1)
	return c.engine.info(ctx)
}

func (c counted) volumes(ctx context.Context) ([]plan.Volume, []string, error) {
	c.calls.Add(1)
	return c.engine.volumes(ctx)
}

func (c counted) containers(ctx context.Context, volumes ...string) ([]plan.Container, error) {
	c.calls.Add(1)
	return c.engine.containers(ctx, volumes...)
}

func (c counted) images(ctx context.Context) ([]plan.Image, error) {
	c.calls.Add(1)
	return c.engine.images(ctx)
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A pass that finds nothing to do asks the engine four times at most. What it costs is logged; the goal is 50 ms of processor time.
func testQuietPass(t *testing.T, e *ownEngine) {
	e.image("filler")
	for range 5 {
		e.run(spec{noStart: true})
	}
	c, _ := newCleaner(t, DefaultConfig(), Host{Docker: e.host()})
	var calls atomic.Int64
	open := c.open
	c.open = func() (engine, error) {
		d, err := open()
		return counted{d, &calls}, err
	}
	pass(t, c, false) // settles the version of the API
	calls.Store(0)
	before := cpuTime(t)
	const passes = 10
	for range passes {
		pass(t, c, false)
	}
	if n := calls.Load(); n > 4*passes {
		t.Errorf("%d calls in %d passes", n, passes)
	}
	t.Logf("%s of processor time a pass", (cpuTime(t)-before)/passes)
}

// TestManyVolumes has the engine hold 2,000 volumes (10,000 with FAIRLEAD_SOAK), of which half are garbage, and restarts it in the middle.
func TestManyVolumes(t *testing.T) {
	e := newEngine(t, 256)
	e.image("filler")
	kept := e.mounts(e.run(spec{noStart: true}))[0]
	// The engine takes the folders it finds for its volumes.
	n := 2_000
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		n = 10_000
	}
	e.halt()
	for i := range n {
		name := fmt.Sprintf("%064x", i)
		if i%2 == 0 {
			name = fmt.Sprint("data-", i)
		}
		if err := os.MkdirAll(filepath.Join(e.root(), "volumes", name, "_data"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	e.start()
	cfg := DefaultConfig()
	cfg.Pressure.Most = 100
	c, cl := newCleaner(t, cfg, Host{Docker: e.host()})
	began := time.Now()
	if r := pass(t, c, false); len(r.Items) < n {
		t.Fatalf("%d things seen", len(r.Items))
	}
	t.Logf("the first pass took %s", time.Since(began))
	cl.Up += 4 * time.Hour
	// The engine is restarted while things go: the pass ends early, and nothing that is needed is gone.
	halted := make(chan struct{})
	go func() {
		defer close(halted)
		time.Sleep(300 * time.Millisecond)
		e.halt()
	}()
	r, err := c.Pass(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d removed until the restart, errors %v", r.Removed, len(r.Errors))
	<-halted
	e.start()
	began = time.Now()
	before := cpuTime(t)
	r = pass(t, c, false)
	t.Logf("%d removed in %s, %s of processor time", r.Removed, time.Since(began), cpuTime(t)-before)
	if r.Removed != 100 {
		t.Errorf("removed %d", r.Removed)
	}
	there := e.volumes()
	if !there[kept] {
		t.Error("the volume of a container is gone")
	}
	for i := 0; i < n; i += 2 {
		if !there[fmt.Sprint("data-", i)] {
			t.Fatalf("data-%d is gone", i)
		}
	}
}

// A hung engine is waited out: the pass ends with its limit, says so, and goes on when the engine does.
func testHungEngine(t *testing.T, e *ownEngine) {
	e.createVolume(client.VolumeCreateOptions{})
	c, _ := newCleaner(t, DefaultConfig(), Host{Docker: e.host()})
	pass(t, c, false) // and now the engine is stopped
	e.signal(unix.SIGSTOP)
	defer e.signal(unix.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r, err := c.Pass(ctx, false)
	if err != nil || r.Held == "" || len(r.Errors) != 1 || r.Removed > 0 {
		t.Errorf("%v, %s", err, describe(r))
	}
	if s := c.Status(); s.Error == "" {
		t.Error("the status does not tell")
	}
	e.signal(unix.SIGCONT)
	pass(t, c, false)
	if s := c.Status(); s.Error != "" || s.Held != "" {
		t.Errorf("status %+v", s)
	}
}
