package health

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/moby/moby/client"

	"github.com/fairlead/fairlead/internal/introspection"
)

var (
	ecsUp        = gauge("fairlead_ecs_agent_up", "1 if the ECS agent answers on its introspection port, else 0.")
	ecsPresent   = gauge("fairlead_ecs_agent_present", "1 if this host has an ECS agent, whether it runs or not, else 0.")
	ecsConnected = gauge("fairlead_ecs_agent_connected",
		"1 if the ECS API says that the agent is connected, or, where the role may not ask, if the agent answers and is registered; else 0.")
	ecsCheck  = gauge("fairlead_ecs_agent_check", "The three looks at the agent: its process, its introspection, and what the ECS API says of it. 1 good, 0 bad, NaN not known.", "check")
	ecsInfo   = gauge("fairlead_ecs_agent_info", "What the agent is; always 1.", "version", "cluster")
	ecsTasks  = gauge("fairlead_ecs_agent_tasks", "Tasks that the agent knows, by status.", "status")
	ecsLog    = gauge("fairlead_ecs_agent_log_age_seconds", "Time since the agent's log was last written to; NaN where it has none.")
	ecsStart  = counter("fairlead_ecs_agent_restarts_total", "Starts of the agent's container after the one that was found.")
	ecsStops  = counter("fairlead_ecs_agent_stopped_tasks_total", "Tasks of this host that stopped abnormally, by reason.", "reason")
	ecsFalls  = counter("fairlead_ecs_agent_family_stopped_tasks_total", "Tasks of this host that stopped abnormally and were not told to, by task definition family.", "family")
	ecsUnsaid = counter("fairlead_ecs_agent_unsent_events_total", "Events of stopped tasks that were not handed to the forwarder, because too many waited.")
)

// The API is asked seldom: its calls are throttled for the whole account.
const apiEvery = 5 * time.Minute

// deniedEvery is how often a call is tried that the role does not permit.
const deniedEvery = time.Hour

// maxStopped bounds how many stopped tasks are kept for people, and how many wait for the forwarder.
const maxStopped = 50

// ECSState is how the ECS agent fares.
type ECSState struct {
	Missing  bool           `json:"missing,omitempty"` // this host has no ECS agent
	Up       bool           `json:"up"`
	Error    string         `json:"error,omitempty"` // of introspection
	Since    time.Time      `json:"since"`           // it is up, or not
	Process  bool           `json:"process"`
	API      *bool          `json:"api,omitempty"` // agentConnected; absent: not known
	APIError string         `json:"api_error,omitempty"`
	Cluster  string         `json:"cluster,omitempty"`
	Instance string         `json:"instance,omitempty"`
	Version  string         `json:"version,omitempty"`
	Tasks    map[string]int `json:"tasks"`
	LogAge   float64        `json:"log_age_seconds"` // -1: it has no log
	Restarts int            `json:"restarts"`
	Stopped  []StoppedTask  `json:"stopped"`            // the newest last
	Services []ServiceEvent `json:"services,omitempty"` // the newest last
}

// Connected is the verdict on the agent.
func (s ECSState) Connected() bool {
	if s.API != nil {
		return *s.API && s.Up
	}
	return s.Up
}

// Say hands an event to Fluentd. It may wait, and it may fail while nothing forwards.
type Say func(ctx context.Context, tag string, at time.Time, record map[string]any) error

// tasksTag is the tag of events about tasks.
const tasksTag = "host.ecs-tasks"

// ECS watches the ECS agent, beside the scrapes.
type ECS struct {
	host   *Host
	docker *Docker
	agent  introspection.Client
	calls  *ecsCalls // to the ECS API; nil: it is not asked
	say    Say
	every  time.Duration
	log    *slog.Logger
	events chan saying

	mu       sync.Mutex // guards what follows
	state    ECSState
	known    map[string]string // status of each task by its ARN; nil before the first look
	reasons  map[string]float64
	families map[string]float64
	unsaid   float64
	probed   bool
	wasUp    bool
	doubted  bool // the API said last that the agent is not connected
}

// saying is an event that waits for the forwarder.
type saying struct {
	at     time.Time
	record map[string]any
}

func newECS(h *Host, d *Docker, agent introspection.Client, cloud func(context.Context) (aws.Config, error), say Say, every time.Duration, log *slog.Logger) *ECS {
	e := &ECS{
		host: h, docker: d, agent: agent, say: say, every: every, log: log.With("component", "ecs-agent"),
		events: make(chan saying, maxStopped), reasons: map[string]float64{}, families: map[string]float64{},
		state: ECSState{Missing: true, Tasks: map[string]int{}, LogAge: -1},
	}
	if cloud != nil {
		e.calls = &ecsCalls{cloud: cloud, denied: map[string]time.Time{}}
	}
	return e
}

// run watches until the context ends.
func (e *ECS) run(ctx context.Context) {
	if e.every == 0 {
		return
	}
	var beside sync.WaitGroup
	beside.Go(func() { e.tell(ctx) })
	if e.calls != nil {
		beside.Go(func() { e.askAPI(ctx) })
	}
	defer beside.Wait()
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	for {
		e.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell hands events to the forwarder, and tries again while it takes none.
func (e *ECS) tell(ctx context.Context) {
	for {
		var s saying
		select {
		case <-ctx.Done():
			return
		case s = <-e.events:
		}
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			if err := e.say(ctx, tasksTag, s.at, s.record); err == nil {
				break
			} else if ctx.Err() == nil {
				e.log.Debug("an event waits for the forwarder", "err", err)
			}
			pause := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
		}
	}
}

// look asks the agent, and looks at its process and its log.
func (e *ECS) look(ctx context.Context, now time.Time) {
	m, err := e.agent.Metadata(ctx)
	var tasks []introspection.Task
	if err == nil {
		tasks, err = e.agent.Tasks(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	process, restarts := e.docker.agentProcess()
	age := e.logAge(now)
	_, configured := os.Stat(e.host.path("etc/ecs"))
	var stopped []StoppedTask
	if err == nil {
		stopped = e.stopped(ctx, tasks, now)
		e.explain(ctx, m.Cluster, stopped)
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	s, before := &e.state, e.state
	s.Up, s.Error, s.Process, s.Restarts, s.LogAge = err == nil, "", process, restarts, age
	if err != nil {
		s.Error = err.Error()
	} else {
		e.wasUp = true
		s.Cluster, s.Instance, s.Version = m.Cluster, m.ContainerInstanceArn, m.Version
		s.Tasks = map[string]int{}
		for _, t := range tasks {
			s.Tasks[t.KnownStatus]++
			e.count(t.Family, 0) // the series is there before the first of them stops
		}
	}
	s.Missing = !e.wasUp && !process && configured != nil
	if !e.probed || before.Up != s.Up {
		s.Since = now
		switch {
		case s.Missing:
		case err != nil:
			e.log.Warn("the ECS agent does not answer", "err", err, "process", process)
		case e.probed:
			e.log.Info("the ECS agent answers again", "silent", now.Sub(before.Since).Round(time.Second).String())
		}
	}
	e.probed = true
	for _, t := range stopped {
		e.note(t)
	}
}

// logAge is how long ago the agent wrote to its log, in seconds; -1: it has none. Its name has the hour until agent 1.35, a number for what
// was rotated after.
func (e *ECS) logAge(now time.Time) float64 {
	names, err := filepath.Glob(e.host.path("var/log/ecs/ecs-agent.log*"))
	if err != nil {
		return -1
	}
	age := -1.0
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			if past := max(0, now.Sub(info.ModTime()).Seconds()); age < 0 || past < age {
				age = past
			}
		}
	}
	return age
}

// note counts a task that stopped abnormally, and has Fluentd hear of it. Called with mu held.
func (e *ECS) note(t StoppedTask) {
	e.reasons[t.Reason]++
	if !t.told {
		e.count(t.Family, 1)
	}
	e.state.Stopped = append(e.state.Stopped, t)
	if extra := len(e.state.Stopped) - maxStopped; extra > 0 {
		e.state.Stopped = slices.Delete(e.state.Stopped, 0, extra)
	}
	e.log.Warn("a task stopped", "task", t.Arn, "definition", t.Family+":"+t.Revision, "container", t.Container, "exit_code", t.Code, "reason", t.Reason)
	select {
	case e.events <- saying{t.At, t.record(e.state.Cluster)}:
	default:
		e.unsaid++
	}
}

// count counts stopped tasks of a family, or of others if there are too many. Called with mu held.
func (e *ECS) count(family string, n float64) {
	if _, known := e.families[family]; !known && len(e.families) >= maxGroups {
		family = other.container
	}
	e.families[family] += n
}

// stopped answers the tasks that have stopped abnormally since the look before. What had stopped before the first look is not news.
func (e *ECS) stopped(ctx context.Context, tasks []introspection.Task, now time.Time) []StoppedTask {
	e.mu.Lock()
	known := e.known
	next := map[string]string{}
	for _, t := range tasks {
		next[t.Arn] = t.KnownStatus
	}
	e.known = next
	e.mu.Unlock()
	if known == nil {
		return nil
	}
	var all []StoppedTask
	for _, t := range tasks {
		if t.KnownStatus != introspection.Stopped || known[t.Arn] == introspection.Stopped {
			continue
		}
		var ends []ended
		for _, c := range t.Containers {
			if how, ok := e.docker.endOf(ctx, c.DockerID); ok {
				ends = append(ends, ended{c.Name, how})
			}
		}
		s, wrong := judgeStop(t, ends, now)
		if !wrong {
			continue
		}
		all = append(all, s)
	}
	return all
}

// State answers how the agent fares.
func (e *ECS) State() ECSState {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.state
	s.Stopped = slices.Clone(s.Stopped)
	s.Services = slices.Clone(s.Services)
	return s
}

// expose shows what the last look found.
func (e *ECS) expose(_ context.Context, s *sink) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	st := e.state
	s.flag(ecsUp, st.Up)
	s.flag(ecsPresent, !st.Missing)
	s.flag(ecsConnected, st.Connected())
	s.flag(ecsCheck, st.Process, "process")
	s.flag(ecsCheck, st.Up, "introspection")
	if st.API == nil {
		s.add(ecsCheck, math.NaN(), "api")
	} else {
		s.flag(ecsCheck, *st.API, "api")
	}
	if st.Version != "" {
		s.add(ecsInfo, 1, st.Version, st.Cluster)
	}
	for _, status := range []string{introspection.Pending, introspection.Running, introspection.Stopped} {
		s.add(ecsTasks, float64(st.Tasks[status]), status)
	}
	age := st.LogAge
	if age < 0 {
		age = math.NaN()
	}
	s.add(ecsLog, age)
	s.add(ecsStart, float64(st.Restarts))
	for _, reason := range stopReasons {
		s.add(ecsStops, e.reasons[reason], reason)
	}
	for family, n := range e.families {
		s.add(ecsFalls, n, family)
	}
	s.add(ecsUnsaid, e.unsaid)
	return nil
}

func (e *ECS) sources() []*source {
	return []*source{{name: "ecs", within: time.Second, collect: e.expose}}
}

// agentProcess tells whether the agent's container runs, and how often it was started since it was first seen to.
func (d *Docker) agentProcess() (runs bool, restarts int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.containers {
		if w.name == agentName && w.state == "running" {
			d.agentSeen = true
			runs = true
		}
	}
	return runs, d.agentStarts
}

// endOf answers how a container ended: as the events told, else as the engine remembers.
func (d *Docker) endOf(ctx context.Context, id string) (end, bool) {
	if how, ok := d.ending(id); ok {
		return how, true
	}
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	answer, err := d.cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	st := answer.Container.State
	if err != nil || st == nil || st.Running {
		return end{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, st.FinishedAt)
	if err != nil || at.Year() < 2000 {
		return end{}, false // it never ran
	}
	return end{at: at, code: strconv.Itoa(st.ExitCode), oom: st.OOMKilled}, true
}
