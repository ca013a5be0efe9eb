package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are those of the daemon as a whole; they live as long as it does.
type metrics struct {
	registry   *prometheus.Registry
	successful prometheus.Gauge
	hash       *prometheus.GaugeVec
}

func newMetrics(b Build) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairlead_config_last_reload_successful",
			Help: "1 if the configuration that was read last is at work, 0 if it was refused.",
		}),
		hash: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fairlead_config_hash_info",
			Help: "A hash of the configuration at work; always 1.",
		}, []string{"hash"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "fairlead_build_info",
		Help:        "What this binary was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": b.Go},
	})
	info.Set(1)
	m.successful.Set(1)
	m.registry.MustRegister(m.successful, m.hash, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) reloaded(ok bool) {
	m.successful.Set(0)
	if ok {
		m.successful.Set(1)
	}
}

func (m *metrics) configured(c Config) {
	m.hash.Reset()
	m.hash.WithLabelValues(hash(c)).Set(1)
}

// hash is the same for configurations that say the same, however they are written. Secrets are not in it: whether two are the
// same is not for everybody to see.
func hash(c Config) string {
	text, err := json.Marshal(c)
	if err != nil {
		panic("agent: the configuration has no JSON form: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// gatherers are the daemon's metrics and those of the life at work.
func (a *Agent) gatherers() prometheus.Gatherers {
	all := prometheus.Gatherers{a.metrics.registry}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now != nil {
		all = append(all, a.now.registry)
	}
	return all
}
