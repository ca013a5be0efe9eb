package health

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one that this package exports: what docs/metrics.md says of it, and what a sample of it needs.
type metric struct {
	name string
	kind prometheus.ValueType
	desc *prometheus.Desc
}

// catalogue is every metric of this package, in the order of the source.
var catalogue []*metric

func newMetric(kind prometheus.ValueType, name, help string, labels []string) *metric {
	m := &metric{name, kind, prometheus.NewDesc(name, help, labels, nil)}
	catalogue = append(catalogue, m)
	return m
}

func counter(name, help string, labels ...string) *metric {
	return newMetric(prometheus.CounterValue, name, help, labels)
}

func gauge(name, help string, labels ...string) *metric {
	return newMetric(prometheus.GaugeValue, name, help, labels)
}

// untyped is for what node_exporter exports without a type.
func untyped(name, help string, labels ...string) *metric {
	return newMetric(prometheus.UntypedValue, name, help, labels)
}

// sink takes the samples of one source.
type sink struct {
	node    bool // node_* are wanted
	samples []prometheus.Metric
}

func (s *sink) add(m *metric, value float64, labels ...string) {
	if !s.node && isNode(m.name) {
		return
	}
	for i, label := range labels { // the name of a mount point may hold anything
		labels[i] = strings.ToValidUTF8(label, "\uFFFD")
	}
	sample, err := prometheus.NewConstMetric(m.desc, m.kind, value, labels...)
	if err != nil {
		sample = prometheus.NewInvalidMetric(m.desc, err) // a wrong number of labels, which no test lets pass
	}
	s.samples = append(s.samples, sample)
}

func (s *sink) flag(m *metric, on bool, labels ...string) {
	value := 0.0
	if on {
		value = 1
	}
	s.add(m, value, labels...)
}
