package spool

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the figures of a spool for Prometheus. All read 0 until Open.
type Metrics struct {
	spool       atomic.Pointer[Spool]
	badSegments prometheus.Counter
	badBytes    prometheus.Counter
}

// NewMetrics registers the metrics of a spool; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{}
	f := promauto.With(reg)
	gauge := func(name, help string, v func(Stats, *Spool) float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fairlead", Subsystem: "spool", Name: name, Help: help}, m.read(v))
	}
	counter := func(name, help string, v func(Stats, *Spool) float64) {
		f.NewCounterFunc(prometheus.CounterOpts{Namespace: "fairlead", Subsystem: "spool", Name: name, Help: help}, m.read(v))
	}
	gauge("pending_bytes", "Bytes of frames that are spooled and not yet acknowledged.", func(st Stats, _ *Spool) float64 { return float64(st.PendingBytes) })
	gauge("pending_frames", "Frames that are spooled and not yet acknowledged.", func(st Stats, _ *Spool) float64 { return float64(st.PendingFrames) })
	gauge("oldest_age_seconds", "Age of the oldest frame that is not yet acknowledged.", func(st Stats, s *Spool) float64 {
		if st.Oldest == 0 {
			return 0
		}
		return max(0, float64(s.now().UnixMilli()-st.Oldest)/1e3)
	})
	gauge("segments", "Segment files of the spool.", func(st Stats, _ *Spool) float64 { return float64(st.Segments) })
	gauge("disk_bytes", "Bytes of all segment files.", func(st Stats, _ *Spool) float64 { return float64(st.Bytes) })
	gauge("capacity_bytes", "Bytes the spool may take (spool.max_bytes).", func(st Stats, _ *Spool) float64 { return float64(st.Capacity) })
	counter("full_seconds_total", "Seconds in which the spool took no frames: it was full, or the disk failed.", func(st Stats, _ *Spool) float64 { return st.FullFor.Seconds() })
	m.badSegments = f.NewCounter(prometheus.CounterOpts{
		Namespace: "fairlead", Subsystem: "spool", Name: "bad_segments_total", Help: "Segments in which damage was found.",
	})
	m.badBytes = f.NewCounter(prometheus.CounterOpts{
		Namespace: "fairlead", Subsystem: "spool", Name: "bad_bytes_total", Help: "Bytes of segments that were no valid record.",
	})
	return m
}

func (m *Metrics) read(v func(Stats, *Spool) float64) func() float64 {
	return func() float64 {
		s := m.spool.Load()
		if s == nil {
			return 0
		}
		return v(s.Stats(), s)
	}
}

func (m *Metrics) attach(s *Spool) { m.spool.Store(s) }
