package fluent

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the series of a Sender. All of them are there from the first scrape.
type Metrics struct {
	sentBytes     prometheus.Counter
	ackedEvents   prometheus.Counter
	resent        prometheus.Counter
	setAside      prometheus.Counter
	connections   prometheus.Counter
	connectErrors prometheus.Counter
	disconnects   *prometheus.CounterVec
	refusals      prometheus.Counter
	ackSeconds    prometheus.Histogram
	addressUp     *prometheus.GaugeVec
}

// NewMetrics builds the series and registers them at reg, unless it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_forward_" + name, Help: help})
	}
	m := &Metrics{
		sentBytes:     counter("sent_bytes_total", "Bytes of frames written to receivers, repeats included."),
		ackedEvents:   counter("acked_events_total", "Events that a receiver has acknowledged."),
		resent:        counter("resent_frames_total", "Frames written again because their first writing was not acknowledged."),
		setAside:      counter("set_aside_frames_total", "Frames moved aside because a receiver refused them while it took others."),
		connections:   counter("connections_total", "Connections established."),
		connectErrors: counter("connect_errors_total", "Attempts to resolve or connect to an address that failed."),
		disconnects: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_forward_disconnects_total",
			Help: "Connections that ended, by reason."}, []string{"reason"}),
		refusals: counter("refusals_total", "Times a receiver closed the connection on frames without acknowledging any."),
		ackSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fairlead_forward_ack_seconds",
			Help:    "Time from writing a frame to reading its acknowledgement, which a quiet sender may put off for 50 ms.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}),
		addressUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "fairlead_forward_address_up",
			Help: "1 if the last thing known of the address is an acknowledgement, 0 if it is a failure or nothing is known."}, []string{"address"}),
	}
	for _, r := range reasons {
		m.disconnects.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(m.sentBytes, m.ackedEvents, m.resent, m.setAside, m.connections, m.connectErrors, m.disconnects,
			m.refusals, m.ackSeconds, m.addressUp)
	}
	return m
}
