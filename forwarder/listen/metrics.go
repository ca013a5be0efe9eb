package listen

import "github.com/prometheus/client_golang/prometheus"

// Why a connection was closed by us, or an entry dropped.
const (
	refusedMalformed = "malformed"
	refusedTooLarge  = "too_large"
	refusedSlow      = "too_slow"
	refusedTooMany   = "too_many"
	refusedHandshake = "handshake"
	refusedEntry     = "invalid_entry"
	refusedCut       = "cut_off"
)

// Metrics are those of the listener.
type Metrics struct {
	connections prometheus.Gauge
	events      prometheus.Counter
	bytes       prometheus.Counter
	acks        prometheus.Counter
	resent      prometheus.Counter
	refused     *prometheus.CounterVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_listen_connections", Help: "Connections of Forward clients that are open."}),
		events:      prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_listen_events_total", Help: "Entries received from Forward clients, before folding."}),
		bytes:       prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_listen_bytes_total", Help: "Bytes of whole messages received from Forward clients."}),
		acks:        prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_listen_acks_total", Help: "Acks sent to Forward clients."}),
		resent: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_listen_resent_total",
			Help: "Messages that a client sent again within its last few thousand: acked again, not passed on again."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_listen_refused_total",
			Help: "Entries dropped because they are no event, and connections closed, by reason."}, []string{"reason"}),
	}
	reg.MustRegister(m.connections, m.events, m.bytes, m.acks, m.resent, m.refused)
	for _, r := range []string{refusedMalformed, refusedTooLarge, refusedSlow, refusedTooMany, refusedHandshake, refusedEntry, refusedCut} {
		m.refused.WithLabelValues(r)
	}
	return m
}
