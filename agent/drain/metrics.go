package drain

import "github.com/prometheus/client_golang/prometheus"

// calls are those that may fail, as they are named in IAM policies.
var calls = []string{
	"imds", "ecs:UpdateContainerInstancesState", "ecs:DescribeContainerInstances", "ecs:DescribeTasks", "ecs:StopTask",
	"autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLifecycleHooks", "autoscaling:RecordLifecycleActionHeartbeat",
	"autoscaling:CompleteLifecycleAction", "s3:PutObject",
}

type metrics struct {
	notices       *prometheus.CounterVec
	failures      *prometheus.CounterVec
	heartbeats    prometheus.Counter
	spilledEvents prometheus.Counter
	spilledBytes  prometheus.Counter
	status        func() Status // a Drain in what a registry holds would have the linker keep its clients whole
	phase         *prometheus.Desc
	tasks         *prometheus.Desc
	end           *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, status func() Status) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_drain_notices_total",
			Help: "Reasons to take the instance out of service, by kind: a Spot notice, a target state of Auto Scaling, a rebalance recommendation, a command."}, []string{"kind"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_drain_call_failures_total",
			Help: "Calls that failed or were denied, tried again or not."}, []string{"call"}),
		heartbeats:    counter("fairlead_drain_heartbeats_total", "Heartbeats that kept the lifecycle hook waiting."),
		spilledEvents: counter("fairlead_drain_spilled_events_total", "Events brought to S3 because they could not be delivered in time."),
		spilledBytes:  counter("fairlead_drain_spilled_bytes_total", "Bytes of records brought to S3."),
		status:        status,
		phase:         prometheus.NewDesc("fairlead_drain_phase", "1 for how far the instance is on its way out of service, 0 for the others.", []string{"phase"}, nil),
		tasks:         prometheus.NewDesc("fairlead_drain_tasks", "Tasks that are waited for.", nil, nil),
		end:           prometheus.NewDesc("fairlead_drain_end_timestamp_seconds", "When tasks and logs are waited for no longer; 0 while the instance is in service.", nil, nil),
	}
	for _, k := range kinds {
		m.notices.WithLabelValues(string(k))
	}
	for _, c := range calls {
		m.failures.WithLabelValues(c)
	}
	if reg != nil {
		reg.MustRegister(m.notices, m.failures, m.heartbeats, m.spilledEvents, m.spilledBytes, m)
	}
	return m
}

func (m *metrics) failed(call string) { m.failures.WithLabelValues(call).Inc() }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.phase
	ch <- m.tasks
	ch <- m.end
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.status()
	for _, p := range phases {
		v := 0.0
		if p == s.Phase {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(m.phase, prometheus.GaugeValue, v, string(p))
	}
	end := 0.0
	if !s.End.IsZero() {
		end = float64(s.End.UnixMilli()) / 1000
	}
	ch <- prometheus.MustNewConstMetric(m.tasks, prometheus.GaugeValue, float64(s.Tasks))
	ch <- prometheus.MustNewConstMetric(m.end, prometheus.GaugeValue, end)
}
