package cleanup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/cleanup/plan"
	"github.com/fairlead/fairlead/internal/pulse"
)

// Cleaner cleans one host up.
type Cleaner struct {
	cfg     Config
	policy  plan.Policy
	host    Host
	log     *slog.Logger
	state   state
	metrics *metrics
	gauge   *gauge
	now     func() plan.Clock
	open    func() (engine, error)

	pulse   pulse.Pulse     // of Run
	passing sync.Mutex      // held during a pass
	closing context.Context // ends with Close: a pass that somebody else asked for must not hold up the stop
	end     context.CancelFunc
	listing listing
	docker  engine       // nil: not opened yet; owned by the pass
	memory  *plan.Memory // of the last pass, where it could not be saved

	mu       sync.Mutex      // guards what follows
	used     map[string]bool // volumes used since the last look, as the engine's events tell
	upSince  plan.Clock      // since when the engine's events come without a break; zero: they do not
	status   Status
	silent   string          // why the engine does not answer, as it was logged last
	culprits map[string]bool // as they were logged last
}

// New makes a clean-up of a valid configuration; nothing is opened and nothing runs yet.
func New(cfg Config, host Host, log *slog.Logger, r prometheus.Registerer) *Cleaner {
	c := &Cleaner{
		cfg: cfg, policy: cfg.policy(), host: host, log: log.With("component", "cleanup"), state: stateOf(host.StateDir), gauge: newGauge(host), now: now,
		used: map[string]bool{}, culprits: map[string]bool{}, status: Status{DryRun: cfg.DryRun, Failing: []plan.Culprit{}, Pressure: []plan.Pressed{}},
	}
	c.state.machine = host.Machine
	c.closing, c.end = context.WithCancel(context.Background())
	c.open = func() (engine, error) { return openDocker(host.Docker) }
	c.metrics = newMetrics(r, c.gauge)
	return c
}

// Close ends the pass that may run, and lets go of the engine. There is none after it.
func (c *Cleaner) Close() {
	c.end()
	c.passing.Lock()
	defer c.passing.Unlock()
	if c.docker == nil {
		return
	}
	if err := c.docker.close(); err != nil {
		c.log.Debug("the engine's connections are not closed", "err", err)
	}
}

// passWithin bounds a pass, with the wait for that of another process. What is not removed by then waits for the next.
const passWithin = 15 * time.Minute

// Pass looks at the host, plans, and removes what the plan says. A dry run writes nothing, remembers nothing, and measures what would
// be removed. The report is good also where the error says that not all was done.
func (c *Cleaner) Pass(ctx context.Context, dryRun bool) (Report, error) {
	c.passing.Lock()
	defer c.passing.Unlock()
	if c.closing.Err() != nil {
		return Report{}, errors.New("begin a clean-up: the daemon is stopping")
	}
	c.pulse.Beat() // Run may have waited for somebody else's pass to end
	ctx, cancel := context.WithTimeout(ctx, passWithin)
	defer cancel()
	defer context.AfterFunc(c.closing, cancel)()
	began := time.Now()
	if !dryRun {
		unlock, err := c.state.lock(ctx)
		if err != nil {
			return Report{}, fmt.Errorf("begin a clean-up: %w", err)
		}
		defer unlock()
	}
	w := c.observe(ctx)
	m, err := c.recall()
	if err != nil {
		c.log.Warn("what earlier looks saw is lost", "err", err)
	}
	m.Forget(c.usedMeanwhile(dryRun))
	m = m.See(w)
	r := Report{Time: w.Now.Wall, DryRun: dryRun, Plan: c.policy.Make(w, &m), Errors: []string{}}
	if w.Engine.Down != "" {
		r.Errors = append(r.Errors, w.Engine.Down)
	}
	if dryRun {
		c.measureAll(w, &r)
	} else {
		r.Leave(&m, w.Now.Wall)
		c.remember(m)
		c.act(ctx, w, &m, &r)
		c.remember(m)
	}
	r.Disks = diskStatus(c.gauge.look())
	r.Took = time.Since(began).Seconds()
	if !dryRun {
		c.account(&r)
	}
	return r, nil
}

// recall answers what the last pass knew, here or in another process.
func (c *Cleaner) recall() (plan.Memory, error) {
	if c.memory != nil {
		return *c.memory, nil
	}
	return c.state.load()
}

// remember saves what is known now. Where that fails, as on a full disk, this process goes on with what it has.
func (c *Cleaner) remember(m plan.Memory) {
	c.memory = nil
	if err := c.state.save(m); err != nil {
		c.memory = &m
		c.metrics.errors.Inc()
		c.log.Warn("what this look saw is not on disk: a restart would count all ages anew", "err", err)
	}
}

// usedMeanwhile are the volumes that were used since the last look.
func (c *Cleaner) usedMeanwhile(dryRun bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	for name := range c.used {
		list = append(list, name)
	}
	if !dryRun {
		clear(c.used)
	}
	return list
}

// observe looks at everything: at most four calls of the engine.
func (c *Cleaner) observe(ctx context.Context) *plan.World {
	w := &plan.World{Began: c.now()}
	if err := c.observeDocker(ctx, w); err != nil {
		w.Volumes, w.Containers, w.Images = nil, nil, nil // half a look is none
		w.Engine.Down = err.Error()
	}
	w.Now = c.now()
	if c.host.ECS != nil {
		w.ECS = c.host.ECS(ctx)
	}
	w.Disks = c.gauge.sample(w.Now)
	if c.host.Logs != nil && c.pressed(w) {
		w.Logs = c.host.Logs(ctx)
	}
	return w
}

func (c *Cleaner) pressed(w *plan.World) bool {
	for i := range w.Disks {
		if c.policy.Level(&w.Disks[i]) != plan.Calm {
			return true
		}
	}
	return false
}

func (c *Cleaner) observeDocker(ctx context.Context, w *plan.World) error {
	if c.docker == nil {
		d, err := c.open()
		if err != nil {
			return err
		}
		c.docker = d
	}
	root, pool, err := c.docker.info(ctx)
	if err != nil {
		return err
	}
	c.gauge.engine(root, pool)
	w.Engine.Root = root
	// Volumes first: a container that comes between the two listings shows in the second.
	if w.Volumes, w.Engine.Warnings, err = c.docker.volumes(ctx); err != nil {
		return err
	}
	if w.Containers, err = c.docker.containers(ctx); err != nil {
		return err
	}
	if w.Images, err = c.docker.images(ctx); err != nil {
		return err
	}
	// As of the beginning: one that was started again in between had not even begun then.
	w.Engine.Up = c.engineUp() - c.now().Since(w.Began)
	return nil
}

// engineUp is for how long the engine is known to run: by its process, or where that cannot be seen, by its events.
func (c *Cleaner) engineUp() time.Duration {
	if up, known := c.docker.up(); known {
		return up
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Since(c.upSince)
}

// measureAll fills in what the removals of a dry run would free, as far as the budget goes.
func (c *Cleaner) measureAll(w *plan.World, r *Report) {
	b := newBudget(time.Now())
	for _, item := range r.Removals() {
		c.measure(b, w, item)
		r.ReclaimedBytes += item.Bytes
	}
}

// account tells the metrics, the log and the status of a pass.
func (c *Cleaner) account(r *Report) {
	c.metrics.pass(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.status
	s.Runs++
	s.Last, s.Held, s.Error, s.Waiting = time.Now(), r.Held, "", 0
	for i := range r.Items {
		if r.Items[i].Action == plan.Wait {
			s.Waiting++
		}
	}
	if len(r.Errors) > 0 {
		s.Error = r.Errors[0]
	}
	s.RemovedTotal += int64(r.Removed)
	s.ReclaimedBytes += r.ReclaimedBytes
	s.Failing, s.Pressure = r.Failing, r.Pressure
	c.logChanges(r)
}

// logChanges says what began and what ended. c.mu is held.
func (c *Cleaner) logChanges(r *Report) {
	down := ""
	if len(r.Errors) > 0 && r.Held != "" {
		down = r.Errors[0]
	}
	switch {
	case down != "" && c.silent == "":
		c.log.Warn("the Docker engine does not answer, nothing is cleaned up meanwhile", "err", down)
	case down == "" && c.silent != "":
		c.log.Info("the Docker engine answers again")
	}
	c.silent = down
	now := map[string]bool{}
	for _, f := range r.Failing {
		now[f.Family] = true
		if !c.culprits[f.Family] {
			c.log.Warn("tasks of this family fail again and again, what is left of them fills the disk", "family", f.Family, "tasks", f.Tries,
				"volumes", f.Volumes, "exit_code", f.Exit, "since", f.Since)
		}
	}
	for name := range c.culprits {
		if !now[name] {
			c.log.Info("tasks of this family do not fail any more", "family", name)
		}
	}
	c.culprits = now
	if r.Removed > 0 {
		c.log.Info("cleaned up", "removed", r.Removed, "bytes", r.ReclaimedBytes, "seconds", r.Took)
	}
}

// Status is what was done so far.
func (c *Cleaner) Status() Status {
	disks := diskStatus(c.gauge.look())
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Disks = disks
	return s
}

// Forecast tells by mount point when the file systems that matter are full if it goes on like this. What does not fill is not in it.
func (c *Cleaner) Forecast() map[string]time.Duration {
	m := map[string]time.Duration{}
	for _, d := range c.gauge.look() {
		if d.UntilFull != plan.Never {
			m[d.Mount] = d.UntilFull
		}
	}
	return m
}

// verdictError is what the look right before a removal says against it.
type verdictError struct {
	action plan.Action
	reason string
}

func (e *verdictError) Error() string { return e.reason }

func asVerdict(err error) (*verdictError, bool) {
	var v *verdictError
	ok := errors.As(err, &v)
	return v, ok
}
