package health

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	dockerUp         = gauge("fairlead_docker_up", "1 if the engine answered all calls of the last probe in time, else 0.")
	dockerPresent    = gauge("fairlead_docker_present", "1 if this host has an engine, whether it works or not, else 0.")
	dockerInfo       = gauge("fairlead_docker_info", "What the engine is; always 1.", "version", "storage_driver", "cgroup_driver", "cgroup_version")
	dockerFailures   = counter("fairlead_docker_probe_failures_total", "Calls of probes that failed or were not answered in time.", "call")
	dockerContainers = gauge("fairlead_docker_containers", "Containers by state.", "state")
	dockerVolumes    = gauge("fairlead_docker_volumes", "Volumes that a container refers to (used), and that none does (dangling).", "state")
	dockerImages     = gauge("fairlead_docker_images", "Images that a container was made of (used), and others (unused).", "state")
	dockerGoroutines = gauge("fairlead_docker_daemon_goroutines", "Goroutines of the engine, as it says.")
	dockerMemory     = gauge("fairlead_docker_daemon_resident_memory_bytes", "Resident memory of the engine's process; 0 where it is not found.")
	thinFree         = gauge("fairlead_docker_thin_pool_free_bytes", "Space left in the thin pool, for data or metadata. Only with storage driver devicemapper.", "of")
	thinSize         = gauge("fairlead_docker_thin_pool_size_bytes", "Size of the thin pool, for data or metadata. Only with storage driver devicemapper.", "of")
)

// callWithin is how long the engine may take for a call. The ECS agent gives it longer, but then tasks start late already.
const callWithin = 5 * time.Second

// The calls that are timed. A ping alone is answered by an engine that can do nothing else any more.
const (
	callPing    = "ping"
	callList    = "list"
	callInspect = "inspect"
)

// inventoryEvery is how often volumes, images and the engine's own figures are asked for.
const inventoryEvery = 5 * time.Minute

// settle is how long after something happened to a container the engine is asked what there is now.
const settle = 2 * time.Second

// maxInspected bounds how many containers one probe looks at closely; the others wait for the next.
const maxInspected = 50

// DockerState is what the last probe found.
type DockerState struct {
	Up         bool              `json:"up"`
	Missing    bool              `json:"missing,omitempty"` // no engine is on this host, or none was asked for
	Hung       bool              `json:"hung,omitempty"`    // it takes calls and does not answer them
	Error      string            `json:"error,omitempty"`
	Since      time.Time         `json:"since"` // it is as it is
	Probed     time.Time         `json:"probed"`
	Version    string            `json:"version,omitempty"`
	Driver     string            `json:"driver,omitempty"`
	Milli      map[string]int64  `json:"milliseconds"` // of each call, the last time it was answered
	Containers []ContainerState  `json:"containers"`
	Volumes    map[string]int    `json:"volumes"`
	Images     map[string]int    `json:"images"`
	ThinPool   map[string]uint64 `json:"thin_pool_free_bytes,omitempty"`
}

// ContainerState is a container as people want to see it.
type ContainerState struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	Family       string  `json:"family,omitempty"`
	Task         string  `json:"task,omitempty"`
	State        string  `json:"state"`
	Status       string  `json:"status"` // the engine's words: "Exited (1) 5 minutes ago"
	MemoryBytes  int64   `json:"memory_bytes,omitempty"`
	LimitBytes   int64   `json:"limit_bytes,omitempty"`
	CPU          float64 `json:"cpu,omitempty"` // processors, between the last two looks
	RestartCount int     `json:"restart_count,omitempty"`
}

// watched is a container that Docker listed.
type watched struct {
	id, name string
	group    group
	task     string
	state    string
	status   string
	pid      int // 0: it does not run, or was not looked at yet
	restarts int

	seen  bool // usage holds a reading
	usage usage
	at    time.Time // of usage
	cpu   float64   // processors between the last two readings
}

// Docker watches the engine. Its calls are made beside the scrapes, which show what was found; the containers' cgroups are read at each scrape,
// since nothing but the kernel is asked.
type Docker struct {
	host  *Host
	cli   *client.Client
	every time.Duration
	log   *slog.Logger

	latency *prometheus.HistogramVec

	probeNow chan struct{} // holds one: something was started or has ended

	mu         sync.Mutex // guards what follows
	state      DockerState
	failures   map[string]float64
	containers map[string]*watched // by id
	groups     map[group]*totals
	ended      map[string]end // by id
	info       prometheus.Labels
	goroutines float64
	memory     float64
	pool       thinPool
	inventory  time.Time // when it was taken
	inspected  string    // the id that was looked at last
	wasUp      bool

	agentSeen   bool // the ECS agent's container runs, or did
	agentStarts int  // since then
}

// end is how a container ended.
type end struct {
	at   time.Time
	code string
	oom  bool
	told bool // to stop, by whom the engine listens to
}

// newDocker watches the engine that cli asks, every so often; never with 0.
func newDocker(h *Host, cli *client.Client, every time.Duration, log *slog.Logger) *Docker {
	d := &Docker{
		host: h, cli: cli, every: every, log: log.With("component", "docker"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fairlead_docker_probe_seconds",
			Help:    "How long the engine took for real calls; those that were not answered count with their time limit.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"call"}),
		probeNow:   make(chan struct{}, 1),
		failures:   map[string]float64{},
		containers: map[string]*watched{},
		groups:     map[group]*totals{},
		ended:      map[string]end{},
		state:      DockerState{Missing: true, Milli: map[string]int64{}},
	}
	for _, call := range []string{callPing, callList, callInspect} {
		d.latency.WithLabelValues(call)
		d.failures[call] = 0
	}
	return d
}

// run probes until the context ends.
func (d *Docker) run(ctx context.Context) {
	if d.every == 0 {
		return
	}
	var beside sync.WaitGroup
	beside.Go(func() { d.listen(ctx) })
	defer beside.Wait()
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		d.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-d.probeNow:
			// What comes in a burst is looked at once.
			pause := time.NewTimer(settle)
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
	}
}

// timed makes a call, within its time.
func (d *Docker) timed(ctx context.Context, call string, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	started := time.Now()
	err := do(ctx)
	took := time.Since(started)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.failures[call]++
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s: %w", call, err)
		}
		err = fmt.Errorf("%s: %w", call, &hungError{took})
	} else {
		d.state.Milli[call] = took.Milliseconds()
	}
	d.latency.WithLabelValues(call).Observe(took.Seconds())
	return err
}

// hungError says that the engine took a call and did not answer.
type hungError struct{ after time.Duration }

func (e *hungError) Error() string {
	return fmt.Sprintf("the engine did not answer within %s", e.after.Round(time.Second))
}

// probe makes the calls that the ECS agent depends on, and keeps what they tell.
func (d *Docker) probe(ctx context.Context) {
	var listed []container.Summary
	err := d.timed(ctx, callPing, func(ctx context.Context) error {
		_, err := d.cli.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
		return err
	})
	if err == nil {
		err = d.timed(ctx, callList, func(ctx context.Context) error {
			answer, err := d.cli.ContainerList(ctx, client.ContainerListOptions{All: true})
			listed = answer.Items
			return err
		})
	}
	if err == nil {
		d.take(listed)
		err = d.inspect(ctx)
	}
	if err == nil {
		err = d.takeInventory(ctx, listed)
	}
	if ctx.Err() == nil {
		d.judge(err, time.Now())
	}
}

// judge notes whether the engine is up, and logs when that changes.
func (d *Docker) judge(err error, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.state
	s := &d.state
	s.Probed, s.Up, s.Error, s.Hung = now, err == nil, "", false
	if err != nil {
		s.Error = err.Error()
		var hung *hungError
		s.Hung = errors.As(err, &hung)
	}
	if s.Up {
		d.wasUp = true
	}
	// A host that never had an engine lacks none.
	_, statErr := os.Stat(d.host.path("var/lib/docker"))
	s.Missing = !d.wasUp && client.IsErrConnectionFailed(err) && errors.Is(statErr, fs.ErrNotExist)
	if before.Probed.IsZero() || before.Up != s.Up {
		s.Since = now
		switch {
		case s.Missing:
			d.log.Debug("no engine", "err", err)
		case !s.Up:
			d.log.Warn("the engine does not do its work", "err", err)
		case !before.Probed.IsZero():
			d.log.Info("the engine works again", "down", now.Sub(before.Since).Round(time.Second).String())
		}
	}
}

// take keeps what was listed. What is gone is forgotten.
func (d *Docker) take(listed []container.Summary) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := map[string]*watched{}
	for _, c := range listed {
		w := d.containers[c.ID]
		if w == nil {
			name := ""
			if len(c.Names) > 0 {
				name = strings.TrimPrefix(c.Names[0], "/")
			}
			w = &watched{id: c.ID, name: name, task: c.Labels[taskLabel], group: d.bounded(groupOf(c.Labels, name))}
		}
		w.state, w.status = string(c.State), c.Status
		if c.State != container.StateRunning && c.State != container.StatePaused {
			w.pid = 0
		}
		now[c.ID] = w
	}
	d.containers = now
}

// bounded answers the group, or other if there are too many. Called with mu held.
func (d *Docker) bounded(g group) group {
	if d.groups[g] == nil {
		if len(d.groups) >= maxGroups {
			g = other
		}
		if d.groups[g] == nil {
			d.groups[g] = &totals{exits: map[string]float64{}}
		}
	}
	return g
}

// inspect looks closely at containers whose process is not known yet, and in any case at one, whatever it may be: the call is part of the probe.
func (d *Docker) inspect(ctx context.Context) error {
	d.mu.Lock()
	ids := slices.Sorted(maps.Keys(d.containers))
	var wanted []string
	for _, id := range ids {
		if w := d.containers[id]; w.pid == 0 && (w.state == "running" || w.state == "paused") && len(wanted) < maxInspected {
			wanted = append(wanted, id)
		}
	}
	if len(wanted) == 0 && len(ids) > 0 {
		at, found := slices.BinarySearch(ids, d.inspected)
		if found {
			at++
		}
		wanted = []string{ids[at%len(ids)]}
	}
	d.mu.Unlock()
	for _, id := range wanted {
		var answer client.ContainerInspectResult
		err := d.timed(ctx, callInspect, func(ctx context.Context) (err error) {
			answer, err = d.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
			if errdefs.IsNotFound(err) {
				return nil // it was removed meanwhile
			}
			return err
		})
		if err != nil {
			return err
		}
		d.mu.Lock()
		d.inspected = id
		if w := d.containers[id]; w != nil && answer.Container.State != nil {
			if w.pid != answer.Container.State.Pid {
				w.pid, w.seen = answer.Container.State.Pid, false
			}
			w.restarts = answer.Container.RestartCount
		}
		d.mu.Unlock()
	}
	return nil
}

// takeInventory asks for what changes slowly.
func (d *Docker) takeInventory(ctx context.Context, listed []container.Summary) error {
	d.mu.Lock()
	recent := time.Since(d.inventory) < inventoryEvery
	d.mu.Unlock()
	if recent {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*callWithin)
	defer cancel()
	i, err := d.cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return late("info", err)
	}
	volumes, err := d.cli.VolumeList(ctx, client.VolumeListOptions{})
	if err != nil {
		return late("volumes", err)
	}
	dangling, err := d.cli.VolumeList(ctx, client.VolumeListOptions{Filters: client.Filters{}.Add("dangling", "true")})
	if err != nil {
		return late("volumes", err)
	}
	images, err := d.cli.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return late("images", err)
	}
	used := map[string]bool{}
	for _, c := range listed {
		used[c.ImageID] = true
	}
	usedImages := 0
	for _, image := range images.Items {
		if used[image.ID] {
			usedImages++
		}
	}
	memory := d.daemonMemory()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.state
	s.Version, s.Driver = i.Info.ServerVersion, i.Info.Driver
	s.Volumes = map[string]int{"used": max(0, len(volumes.Items)-len(dangling.Items)), "dangling": len(dangling.Items)}
	s.Images = map[string]int{"used": usedImages, "unused": len(images.Items) - usedImages}
	d.goroutines, d.memory = float64(i.Info.NGoroutines), memory
	d.pool = parsePool(i.Info.DriverStatus)
	s.ThinPool = nil
	if d.pool.found {
		s.ThinPool = map[string]uint64{"data": uint64(d.pool.dataFree), "metadata": uint64(d.pool.metaFree)}
	}
	d.info = prometheus.Labels{"version": i.Info.ServerVersion, "storage_driver": i.Info.Driver, "cgroup_driver": i.Info.CgroupDriver, "cgroup_version": i.Info.CgroupVersion}
	d.inventory = time.Now()
	return nil
}

// late tells a call that was not answered in time from one that failed.
func late(call string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		err = &hungError{3 * callWithin}
	}
	return fmt.Errorf("%s: %w", call, err)
}

// daemonMemory reads the resident memory of dockerd; 0 where its process is not found.
func (d *Docker) daemonMemory() (resident float64) {
	pid, err := d.host.read("var/run/docker.pid")
	if err != nil {
		return 0
	}
	_ = d.host.lines("proc/"+string(bytes.TrimSpace(pid))+"/status", func(w [][]byte) { // it may end just now
		if string(w[0]) == "VmRSS:" && len(w) > 1 {
			resident = number(w[1]) * 1024
		}
	})
	return resident
}

// State answers what the last probe found.
func (d *Docker) State() DockerState {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	s.Milli, s.Volumes, s.Images = maps.Clone(s.Milli), maps.Clone(s.Volumes), maps.Clone(s.Images)
	s.Containers = make([]ContainerState, 0, len(d.containers))
	for _, w := range d.containers {
		s.Containers = append(s.Containers, ContainerState{
			ID: w.id, Name: w.name, Family: w.group.family, Task: w.task, State: w.state, Status: w.status, RestartCount: w.restarts,
			MemoryBytes: int64(w.usage.memoryBytes), LimitBytes: int64(w.usage.limitBytes), CPU: w.cpu,
		})
	}
	slices.SortFunc(s.Containers, func(a, b ContainerState) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return s
}
