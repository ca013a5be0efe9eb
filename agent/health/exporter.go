package health

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	collectorSeconds = gauge("fairlead_health_collector_duration_seconds", "How long the collector took in this scrape.", "collector")
	collectorSuccess = gauge("fairlead_health_collector_success", "1 if the collector answered within its deadline and without an error, else 0.", "collector")
	droppedSeries    = counter("fairlead_health_dropped_series_total", "Samples left out of scrapes because there were more than the hard cap allows.", "collector")
)

// maxSeries is how many samples a scrape may have from this package, whatever runs on the host.
const maxSeries = 3000

// source is one thing that a scrape reads.
type source struct {
	name    string
	within  time.Duration // its deadline
	collect func(ctx context.Context, s *sink) error

	// Guarded by Exporter.mu.
	flight  *flight // nil: nobody is reading
	dropped float64
	failing bool
}

// flight is one reading of a source. All who want it at the time wait for the same one, so a source that hangs has one goroutine
// however often it is scraped, and collect never runs twice at a time.
type flight struct {
	done    chan struct{}
	samples []prometheus.Metric // valid once done is closed, like what follows
	err     error
	took    time.Duration
}

// Exporter shows Prometheus what the sources read.
type Exporter struct {
	log     *slog.Logger
	node    bool // node_* are exported
	mu      sync.Mutex
	sources []*source
}

func newExporter(log *slog.Logger, node bool, sources ...*source) *Exporter {
	return &Exporter{log: log, node: node, sources: sources}
}

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range catalogue {
		if e.node || !isNode(m.name) {
			ch <- m.desc
		}
	}
}

var errLate = errors.New("it did not answer within its deadline")

// Collect implements prometheus.Collector. It takes as long as the slowest source, and none longer than its deadline.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	started := time.Now()
	flights := make([]*flight, len(e.sources))
	for i, s := range e.sources {
		flights[i] = e.fly(s)
	}
	room := maxSeries - 3*len(e.sources)
	own := sink{node: e.node}
	for i, s := range e.sources {
		f := flights[i]
		samples, took, err := f.await(s.within, started)
		e.judge(s, err)
		over := max(0, len(samples)-room)
		if over > 0 {
			samples = samples[:room]
		}
		room -= len(samples)
		e.mu.Lock()
		s.dropped += float64(over)
		dropped := s.dropped
		e.mu.Unlock()
		for _, m := range samples {
			ch <- m
		}
		own.add(collectorSeconds, took.Seconds(), s.name)
		own.flag(collectorSuccess, err == nil, s.name)
		own.add(droppedSeries, dropped, s.name)
	}
	for _, m := range own.samples {
		ch <- m
	}
}

// fly answers the reading that goes on, or begins one. The goroutine of a source that hangs in the kernel cannot be ended; it is
// waited for by nobody, and there is one.
func (e *Exporter) fly(s *source) *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.within)
		defer cancel()
		samples := sink{node: e.node}
		started := time.Now()
		f.err = s.collect(ctx, &samples)
		f.took = time.Since(started)
		f.samples = samples.samples
		e.mu.Lock()
		s.flight = nil
		e.mu.Unlock()
		close(f.done)
	}()
	return f
}

// await answers what a reading found by the deadline; what was read before an error counts too.
func (f *flight) await(within time.Duration, started time.Time) ([]prometheus.Metric, time.Duration, error) {
	timer := time.NewTimer(within - time.Since(started))
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
		select {
		case <-f.done: // both at a time
		default:
			return nil, within, errLate
		}
	}
	return f.samples, f.took, f.err
}

// judge logs when a source begins to fail, and when it ends.
func (e *Exporter) judge(s *source, err error) {
	e.mu.Lock()
	before := s.failing
	s.failing = err != nil
	e.mu.Unlock()
	switch {
	case err != nil && !before:
		e.log.Warn("a collector fails", "collector", s.name, "err", err, "within", s.within.String())
	case err == nil && before:
		e.log.Info("the collector works again", "collector", s.name)
	}
}

// isNode tells node_exporter's metrics.
func isNode(name string) bool { return strings.HasPrefix(name, "node_") }
