package health

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/internal/dockerd"
	"github.com/fairlead/fairlead/internal/introspection"
)

// Around is what the rest of the daemon says at one moment.
type Around struct {
	Flow    *Flow    // nil: nothing is forwarded, or it is not known
	Reasons []Reason // what is wrong with the daemon and the host

	UntilFull map[string]time.Duration // by mount point, of the disks that fill: the clean-up's forecast, there is no other
}

// Parts are what a Health is made of beside its configuration.
type Parts struct {
	Host         *Host
	DockerSocket string // empty: as the environment says
	Agent        introspection.Client
	// AWS finds region and role. It is called once the ECS agent has shown that this is a container instance, and again until it succeeds.
	// Nil: the ECS API is not asked.
	AWS     func(context.Context) (aws.Config, error)
	Say     Say // events for Fluentd
	Around  func() Around
	History *History // goes on over reloads
}

// Health watches the host as long as one configuration is at work.
type Health struct {
	cfg     Config
	host    *Host
	docker  *Docker
	ecs     *ECS
	around  func() Around
	history *History
	log     *slog.Logger
}

// New makes a Health, whose metrics it registers; it asks nothing yet.
func New(cfg Config, p Parts, log *slog.Logger, reg prometheus.Registerer) (*Health, error) {
	cli, err := dockerd.New(p.DockerSocket)
	if err != nil {
		return nil, err
	}
	h := &Health{cfg: cfg, host: p.Host, around: p.Around, history: p.History, log: log.With("component", "health")}
	h.docker = newDocker(p.Host, cli, cfg.DockerProbe, h.log)
	h.ecs = newECS(p.Host, h.docker, p.Agent, p.AWS, p.Say, cfg.DockerProbe, h.log)
	sources := p.Host.sources()
	sources = append(append(sources, h.docker.sources()...), h.ecs.sources()...)
	for _, c := range []prometheus.Collector{newExporter(h.log, cfg.NodeMetrics, sources...), h.docker.latency} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Run watches until the context ends.
func (h *Health) Run(ctx context.Context) {
	var beside sync.WaitGroup
	beside.Go(func() { h.docker.run(ctx) })
	beside.Go(func() { h.ecs.run(ctx) })
	defer func() {
		beside.Wait()
		_ = h.docker.cli.Close() // only idle connections are left
	}()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		h.sample(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sample keeps what is seen now, for the page and the reasons.
func (h *Health) sample(ctx context.Context) {
	s, err := h.host.state(ctx)
	if err != nil {
		h.log.Debug("the host does not tell all", "err", err)
	}
	h.docker.measure(ctx, time.Now())
	around := h.around()
	h.history.sample(s, h.docker.State(), around)
	h.history.note(s.At, around.Reasons)
}

// Reasons answers what is wrong, by what was seen last: nothing here waits for the host.
func (h *Health) Reasons(f *Flow, now time.Time) []Reason {
	s, _, synced, lagged := h.history.snapshot()
	return judgeHost(s, h.docker.State(), h.ecs.State(), f, synced, lagged, now)
}

// Status is how the host is, for people and `fairlead status`.
type Status struct {
	Host   HostState   `json:"host"`
	Docker DockerState `json:"docker"`
	ECS    ECSState    `json:"ecs"`
	Notes  []Note      `json:"events"`
}

// Status answers what was seen last.
func (h *Health) Status() Status {
	s, notes, _, _ := h.history.snapshot()
	return Status{Host: s, Docker: h.docker.State(), ECS: h.ecs.State(), Notes: notes}
}
