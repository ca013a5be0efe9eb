package cleanup

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// metrics of the clean-up.
type metrics struct {
	runs, errors       prometheus.Counter
	reclaimed, removed *prometheus.CounterVec
	candidates         *prometheus.GaugeVec
	failing            *prometheus.GaugeVec
}

// maxFamilies bounds the values of the label family.
const maxFamilies = 10

func newMetrics(r prometheus.Registerer, g *gauge) *metrics {
	m := &metrics{
		runs: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_cleanup_runs_total", Help: "Passes of the clean-up."}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_cleanup_errors_total",
			Help: "Things that went wrong in passes: the engine did not answer, a removal failed, the history could not be written."}),
		reclaimed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_cleanup_reclaimed_bytes_total",
			Help: "Disk space of what was removed, as it was measured right before."}, []string{"kind"}),
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_cleanup_removed_total", Help: "Things removed."}, []string{"kind"}),
		candidates: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fairlead_cleanup_candidates",
			Help: "Things that may go later: at the end of their grace, or under pressure."}, []string{"kind"}),
		failing: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fairlead_cleanup_failing_tasks",
			Help: "Tasks that are left of a family that fails again and again."}, []string{"family"}),
	}
	for _, kind := range plan.Kinds {
		m.reclaimed.WithLabelValues(string(kind))
		m.removed.WithLabelValues(string(kind))
		m.candidates.WithLabelValues(string(kind))
	}
	r.MustRegister(m.runs, m.errors, m.reclaimed, m.removed, m.candidates, m.failing, &diskMetrics{g})
	return m
}

// pass notes what a pass found.
func (m *metrics) pass(r *Report) {
	m.runs.Inc()
	if r.Held != "" && len(r.Errors) > 0 {
		m.errors.Inc()
	}
	counts := map[plan.Kind]int{}
	for i := range r.Items {
		if r.Items[i].Action == plan.Wait {
			counts[r.Items[i].Kind]++
		}
	}
	for _, kind := range plan.Kinds {
		m.candidates.WithLabelValues(string(kind)).Set(float64(counts[kind]))
	}
	m.failing.Reset()
	for i, f := range r.Failing {
		if i == maxFamilies {
			break
		}
		m.failing.WithLabelValues(f.Family).Set(float64(f.Tries))
	}
}

// diskMetrics looks at the disks when it is asked.
type diskMetrics struct{ g *gauge }

var (
	freeBytes  = prometheus.NewDesc("fairlead_disk_free_bytes", "Bytes that are free for others than root, of each file system that matters.", []string{"mount"}, nil)
	freeInodes = prometheus.NewDesc("fairlead_disk_free_inodes", "Free inodes, of each file system that matters.", []string{"mount"}, nil)
	untilFull  = prometheus.NewDesc("fairlead_disk_seconds_until_full",
		"When bytes or inodes run out if it goes on like this; +Inf while it does not fill, or is not known.", []string{"mount"}, nil)
)

// Describe implements prometheus.Collector.
func (d *diskMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- freeBytes
	ch <- freeInodes
	ch <- untilFull
}

// Collect implements prometheus.Collector.
func (d *diskMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, disk := range d.g.look() {
		seconds := math.Inf(1)
		if disk.UntilFull != plan.Never {
			seconds = disk.UntilFull.Seconds()
		}
		ch <- prometheus.MustNewConstMetric(freeBytes, prometheus.GaugeValue, float64(disk.FreeBytes), disk.Mount)
		ch <- prometheus.MustNewConstMetric(freeInodes, prometheus.GaugeValue, float64(disk.FreeInodes), disk.Mount)
		ch <- prometheus.MustNewConstMetric(untilFull, prometheus.GaugeValue, seconds, disk.Mount)
	}
}
