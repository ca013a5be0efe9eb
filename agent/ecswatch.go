package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/internal/document"
)

// driftEvery is how often the daemon looks whether somebody has written to ecs.config.
const driftEvery = time.Minute

// ECSStatus says how ecs.config stands.
type ECSStatus struct {
	File     string             `json:"file"`
	Drift    []string           `json:"drift"` // settings that are not as they were rendered last
	Since    *time.Time         `json:"since,omitempty"`
	Error    string             `json:"error,omitempty"` // of the last rendering by the daemon, or of looking for drift
	Findings []document.Finding `json:"findings,omitempty"`
}

// ecsWatch keeps an eye on ecs.config, and renders it again after a reload.
type ecsWatch struct {
	host   ecsHost
	log    *slog.Logger
	drift  prometheus.Gauge
	render prometheus.Gauge
	again  chan struct{} // after a reload; holds one
	reload func()        // has the daemon read its configuration again

	mu     sync.Mutex // guards what follows: the watch writes, the servers read
	status *ECSStatus // nil: there is no ecs.config here
}

func newECSWatch(log *slog.Logger, r prometheus.Registerer, reload func()) *ecsWatch {
	w := &ecsWatch{
		reload: reload,
		log:    log.With("component", "ecs-config"),
		again:  make(chan struct{}, 1),
		drift: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_ecs_config_drift_settings",
			Help: "Settings of ecs.config that are not as they were rendered last.",
		}),
		render: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_ecs_config_last_render_successful",
			Help: "0 if ecs.config could not be rendered after the last reload, else 1.",
		}),
	}
	w.render.Set(1)
	r.MustRegister(w.drift, w.render)
	return w
}

// reloaded has the file rendered again, soon.
func (w *ecsWatch) reloaded() {
	select {
	case w.again <- struct{}{}:
	default: // it is going to be anyway
	}
}

// run looks for drift until the context ends, and renders when it is told to. stateDir and source are asked each time.
func (w *ecsWatch) run(ctx context.Context, source func() (s Source, stateDir string)) {
	tick := time.NewTicker(driftEvery)
	defer tick.Stop()
	for {
		_, dir := source()
		w.look(dir, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.again:
			s, _ := source()
			w.rerender(ctx, s)
		}
	}
}

// here tells whether this host has an ECS agent to configure.
func (w *ecsWatch) here() bool {
	_, err := os.Stat(filepath.Dir(w.host.file()))
	return err == nil
}

// look compares the file with what was rendered last.
func (w *ecsWatch) look(stateDir string, now time.Time) {
	if !w.here() {
		return
	}
	differ, err := w.host.drift(stateDir)
	w.drift.Set(float64(len(differ)))
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.status
	next := ECSStatus{File: w.host.file(), Drift: append([]string{}, differ...)}
	if before != nil {
		next.Error, next.Findings, next.Since = before.Error, before.Findings, before.Since
	}
	if err != nil {
		next.Error = err.Error()
	}
	switch {
	case len(differ) == 0:
		next.Since = nil
		if before != nil && len(before.Drift) > 0 {
			w.log.Info("the file is again as rendered", "file", next.File)
		}
	case before == nil || !slices.Equal(before.Drift, differ):
		next.Since = &now
		w.log.Warn("somebody has written to the file since it was rendered", "file", next.File, "settings", strings.Join(differ, " "))
	}
	w.status = &next
}

// rerender does what `fairlead render` does.
func (w *ecsWatch) rerender(ctx context.Context, source Source) {
	if !w.here() {
		return
	}
	r := Rendering{Source: source, Output: w.host.file(), host: w.host, reload: func(context.Context) error { w.reload(); return nil }}
	out, err := r.Plan(ctx)
	var done []string
	if err == nil && ctx.Err() == nil {
		done, err = r.Apply(ctx, out)
	}
	if ctx.Err() != nil {
		return
	}
	for _, f := range out.Findings {
		level := slog.LevelWarn
		if f.Severity == document.Error {
			level = slog.LevelError
		}
		w.log.Log(ctx, level, "finding", "finding", f.String())
	}
	w.render.Set(1)
	message := ""
	switch {
	case err != nil:
		w.render.Set(0)
		message = err.Error()
		w.log.Error("not rendered", "file", r.Output, "err", err)
	default:
		w.log.Info("rendered", "file", r.Output, "done", strings.Join(done, "; "))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == nil {
		w.status = &ECSStatus{File: r.Output}
	}
	w.status.Error, w.status.Findings = message, out.Findings
}

// Status is nil where there is no ECS agent.
func (w *ecsWatch) Status() *ECSStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status == nil {
		return nil
	}
	s := *w.status
	return &s
}
