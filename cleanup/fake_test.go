package cleanup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// fake is an engine in which anything may happen between any two calls. It knows what was really shown to whom, and holds each removal against
// the law when it comes.
type fake struct {
	*rand.Rand
	t    *testing.T
	seed uint64
	cfg  Config

	clock       plan.Clock
	boots       int
	engineUp    time.Duration
	warnings    bool
	vols        map[string]*fakeVolume
	containers_ []plan.Container
	ecs         plan.ECS
	listeners   []func(event)
	passing     bool
	rebooted    bool
	pressed     bool // the disk is above its mark
	calls       int  // until the pass is killed; < 0: it is not
	kill        context.CancelFunc
	made        int
	removed     int
	log         []string
}

type fakeVolume struct {
	plan.Volume
	seen []plan.Clock // full looks that showed it unused, since it was used last
	used bool         // since the last full look
}

func (f *fake) note(format string, args ...any) {
	f.log = append(f.log, fmt.Sprintf("%s+%s ", f.clock.Boot, f.clock.Up.Round(time.Second))+fmt.Sprintf(format, args...))
}

func (f *fake) users(name string) bool {
	return slices.ContainsFunc(f.containers_, func(c plan.Container) bool { return slices.Contains(c.Volumes, name) })
}

func (f *fake) pass(d time.Duration) {
	f.clock.Wall, f.clock.Up, f.engineUp = f.clock.Wall.Add(d), f.clock.Up+d, f.engineUp+d
}

func (f *fake) createVolume() *fakeVolume {
	f.made++
	v := &fakeVolume{}
	v.Driver, v.Scope = "local", "local"
	switch f.IntN(5) {
	case 0, 1:
		v.Name = fmt.Sprintf("%064x", f.made)
	case 2:
		v.Name = fmt.Sprintf("ecs-web-%d-data-%018x00", 1+f.IntN(2), f.made)
	case 3:
		v.Name = fmt.Sprintf("tmp-%d", f.IntN(3))
	case 4:
		v.Name = "pgdata"
	}
	if old := f.vols[v.Name]; old != nil {
		return old
	}
	v.Mountpoint = "/none/volumes/" + v.Name + "/_data"
	v.CreatedAt = f.clock.Wall.UTC().Format(time.RFC3339)
	f.vols[v.Name] = v
	f.note("volume %s is made", v.Name)
	return v
}

// happen is one thing that happens in the engine or around it.
func (f *fake) happen() {
	switch f.IntN(14) {
	case 0, 1:
		f.pass(time.Second + time.Duration(f.Int64N(int64(2*time.Minute))))
	case 2:
		f.pass(time.Duration(f.Int64N(int64(2 * time.Hour))))
	case 3:
		f.createVolume()
	case 4, 5: // a container is made of a volume that is there, or of a new one
		v := f.createVolume()
		if names := f.names(); f.IntN(2) == 0 && len(names) > 0 {
			v = f.vols[names[f.IntN(len(names))]]
		}
		c := plan.Container{ID: fmt.Sprintf("%064x", f.Uint64()), Name: "c", State: []string{"created", "running"}[f.IntN(2)], Created: f.clock.Wall, Volumes: []string{v.Name}}
		if f.IntN(2) == 0 {
			c.Labels = map[string]string{"com.amazonaws.ecs.task-arn": fmt.Sprint("arn", f.IntN(4)), "com.amazonaws.ecs.task-definition-family": "web",
				"com.amazonaws.ecs.task-definition-version": fmt.Sprint(1 + f.IntN(2))}
		}
		f.containers_ = append(f.containers_, c)
		f.pass(time.Second) // to be seen in the ctime
		v.CreatedAt, v.used, v.seen = f.clock.Wall.UTC().Format(time.RFC3339), true, nil
		f.note("volume %s is used by %s %v", v.Name, c.State, c.Labels)
		for _, l := range f.listeners {
			l(event{"volume", "mount", v.Name})
		}
	case 6:
		if len(f.containers_) > 0 {
			i := f.IntN(len(f.containers_))
			f.note("container of %v is removed", f.containers_[i].Volumes)
			f.containers_ = slices.Delete(f.containers_, i, i+1)
		}
	case 7:
		if len(f.containers_) > 0 {
			f.containers_[f.IntN(len(f.containers_))].State = []string{"exited", "running"}[f.IntN(2)]
		}
	case 8:
		if f.IntN(4) == 0 {
			f.engineUp = 0
			f.note("the engine is started again")
		}
	case 9:
		f.warnings = f.IntN(4) == 0
	case 10:
		f.ecs.Answers = f.IntN(5) > 0
		f.ecs.Tasks = nil
		if f.IntN(2) == 0 {
			f.ecs.Tasks = []plan.Task{{ARN: fmt.Sprint("arn", f.IntN(4)), Family: "web", Revision: fmt.Sprint(1 + f.IntN(2)), Known: []string{"PENDING", "RUNNING", "STOPPED"}[f.IntN(3)]}}
		}
		f.note("tasks %+v", f.ecs)
	case 11:
		if f.IntN(6) == 0 && !f.passing { // no pass outlives it
			f.rebooted = true
			f.boots++
			f.clock.Boot, f.clock.Up, f.engineUp = fmt.Sprint("boot", f.boots), 0, 0
			f.clock.Wall = f.clock.Wall.Add(time.Duration(f.Int64N(int64(5 * time.Hour))))
			f.note("the host is started again")
		}
	case 12:
		f.clock.Wall = f.clock.Wall.Add(time.Duration(f.Int64N(int64(4*time.Hour))) - 2*time.Hour)
	case 13:
		f.pass(time.Hour)
	}
}

func (f *fake) names() []string {
	var list []string
	for name := range f.vols {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// call is what every call begins with.
func (f *fake) call(ctx context.Context) error {
	if f.calls--; f.calls == 0 {
		f.kill()
	}
	for range f.IntN(3) {
		f.happen()
	}
	if f.IntN(60) == 0 {
		return errors.New("the engine is in a bad mood")
	}
	return ctx.Err()
}

func (f *fake) up() (time.Duration, bool) { return f.engineUp, true }

func (f *fake) close() error { return nil }

func (f *fake) info(ctx context.Context) (string, *plan.Disk, error) {
	return "/none", nil, f.call(ctx)
}

func (f *fake) volumes(ctx context.Context) (list []plan.Volume, warnings []string, err error) {
	if err := f.call(ctx); err != nil {
		return nil, nil, err
	}
	if f.warnings {
		warnings = []string{"a plugin does not answer"}
	}
	for _, n := range f.names() {
		v := f.vols[n]
		if f.users(n) {
			continue
		}
		list = append(list, v.Volume)
		if !f.warnings && f.engineUp >= plan.Settle {
			v.seen = append(v.seen, f.clock)
		}
	}
	return list, warnings, nil
}

func (f *fake) volume(ctx context.Context, name string) (plan.Volume, error) {
	if err := f.call(ctx); err != nil {
		return plan.Volume{}, err
	}
	if v := f.vols[name]; v != nil {
		return v.Volume, nil
	}
	return plan.Volume{}, errGone
}

func (f *fake) containers(ctx context.Context, volumes ...string) ([]plan.Container, error) {
	if err := f.call(ctx); err != nil {
		return nil, err
	}
	list := slices.Clone(f.containers_)
	if len(volumes) > 0 {
		list = slices.DeleteFunc(list, func(c plan.Container) bool {
			return !slices.ContainsFunc(volumes, func(v string) bool { return slices.Contains(c.Volumes, v) || slices.Contains(c.Binds, v) })
		})
	}
	return list, nil
}

func (f *fake) images(ctx context.Context) ([]plan.Image, error) { return nil, f.call(ctx) }

func (f *fake) inspect(ctx context.Context, id string) (inspected, error) {
	return inspected{}, errGone
}

func (f *fake) inspectImage(context.Context, string) (plan.Image, time.Time, error) {
	return plan.Image{}, time.Time{}, errGone
}

func (f *fake) removeContainer(_ context.Context, id string, _ bool) error {
	f.breach("container %s is removed without pressure", id)
	return nil
}

func (f *fake) removeImage(_ context.Context, ref string) error {
	f.breach("image %s is removed without pressure", ref)
	return nil
}

func (f *fake) pruneBuildCache(context.Context, time.Duration) (int64, error) {
	f.breach("build cache is removed without pressure")
	return 0, nil
}

func (f *fake) events(ctx context.Context, ready func(), what func(event)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (f *fake) breach(format string, args ...any) {
	f.t.Helper()
	f.t.Fatalf("seed %d: %s\n%s", f.seed, fmt.Sprintf(format, args...), strings.Join(f.log[max(0, len(f.log)-60):], "\n"))
}

// removeVolume is where the law is held: no call comes between the last look and this, so what is true now was true then.
func (f *fake) removeVolume(ctx context.Context, name string) error {
	f.calls--
	v := f.vols[name]
	switch {
	case v == nil:
		return errGone
	case f.users(name):
		return errBusy
	}
	grace := f.cfg.VolumeGrace
	switch {
	case len(name) == 64 && f.pressed:
		grace = min(grace, f.cfg.Pressure.VolumeGrace)
	case len(name) == 64:
	case !f.pressed:
		f.breach("%s goes below the high mark", name)
	case strings.HasPrefix(name, "ecs-"):
		grace = max(grace, 2*time.Hour+10*time.Minute)
		for _, task := range f.ecs.Tasks {
			if task.Known == "PENDING" && strings.HasPrefix(name, "ecs-web-"+task.Revision+"-") {
				f.breach("%s goes while %+v is starting", name, task)
			}
		}
		if !f.ecs.Answers {
			f.breach("%s goes while the agent is silent", name)
		}
	case strings.HasPrefix(name, "tmp-"):
	default:
		f.breach("%s goes, which nobody asked for", name)
	}
	var seen time.Duration
	for i := 1; i < len(v.seen); i++ {
		seen += v.seen[i].Since(v.seen[i-1])
	}
	if len(v.seen) < 2 || seen < grace {
		f.breach("%s goes, seen unused for %s at %d looks (grace %s)", name, seen, len(v.seen), grace)
	}
	if f.engineUp < plan.Settle {
		f.breach("%s goes %s after the engine has started", name, f.engineUp)
	}
	f.removed++
	f.note("volume %s goes", name)
	delete(f.vols, name)
	return nil
}

// TestSchedules plays random schedules of a clean-up, killed and started anew, beside an engine in which anything happens at any time.
func TestSchedules(t *testing.T) {
	n, removed := 60, 0
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		n = 20_000
	}
	for seed := range n {
		f := &fake{Rand: rand.New(rand.NewPCG(uint64(seed), 2)), t: t, seed: uint64(seed), cfg: DefaultConfig(), vols: map[string]*fakeVolume{},
			clock: plan.Clock{Wall: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), Boot: "boot0"}, ecs: plan.ECS{Present: true, Answers: true}}
		f.cfg.NamedVolumes = []string{"tmp-*"}
		f.cfg.High, f.cfg.Low = 100, 99
		if f.pressed = f.IntN(2) == 0; f.pressed {
			f.cfg.High, f.cfg.Low = 1e-6, 1e-6
			f.cfg.Pressure.Steps = []string{string(plan.StepVolumes)}
		}
		f.cfg.VolumeGrace = []time.Duration{10 * time.Minute, time.Hour, 3 * time.Hour}[f.IntN(3)]
		f.play(memoryDir(t))
		removed += f.removed
	}
	t.Logf("%d schedules, %d volumes removed", n, removed)
	if removed < n {
		t.Errorf("only %d volumes were removed in %d schedules: the test proves little", removed, n)
	}
}

// memoryDir is a folder in memory, where there is one: thousands of passes sync what they know.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "fairlead-test-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (f *fake) play(dir string) {
	var c *Cleaner
	for range 25 {
		for range f.IntN(6) {
			f.happen()
		}
		if c == nil || f.rebooted || f.IntN(5) == 0 {
			f.rebooted = false
			c = New(f.cfg, Host{StateDir: dir, ECS: func(context.Context) plan.ECS {
				e := f.ecs
				e.Tasks = slices.Clone(e.Tasks)
				if !e.Answers {
					e.Tasks = nil
				}
				return e
			}}, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
			c.now = func() plan.Clock { return f.clock }
			c.open = func() (engine, error) { return f, nil }
			f.listeners = nil
			if f.IntN(2) == 0 { // otherwise the events do not come
				f.listeners = []func(event){func(e event) { c.happened(e, make(chan struct{}, 1)) }}
			}
		}
		f.passing = true
		ctx, cancel := context.WithCancel(f.t.Context())
		f.kill, f.calls = cancel, -1
		if f.IntN(4) == 0 {
			f.calls = 1 + f.IntN(20)
		}
		if _, err := c.Pass(ctx, f.IntN(8) == 0); err != nil && ctx.Err() == nil {
			f.t.Fatalf("seed %d: %v", f.seed, err)
		}
		cancel()
		f.passing = false
	}
}
