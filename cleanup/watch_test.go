package cleanup

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// Where cleaning up is off, the disks are still looked at; what does not fill is not foretold.
func TestWatch(t *testing.T) {
	c := New(DefaultConfig(), Host{StateDir: t.TempDir()}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Watch(ctx)
	if len(c.gauge.samples) == 0 {
		t.Error("no disk was looked at")
	}
	if got := c.Forecast(); len(got) > 0 {
		t.Errorf("%v by a single look", got)
	}
	if _, err := c.Pass(t.Context(), true); err == nil {
		t.Error("a pass after the end")
	}
	for mount, samples := range c.gauge.samples { // as if it had filled for ten minutes
		last := samples[0]
		var past []plan.Sample
		for i := range 20 {
			past = append(past, plan.Sample{Up: last.Up - time.Duration(20-i)*30*time.Second, FreeBytes: last.FreeBytes + int64(20-i)*last.FreeBytes/100, FreeInodes: last.FreeInodes})
		}
		c.gauge.samples[mount] = append(past, last)
		if got := c.Forecast()[mount]; got < 40*time.Minute || got > time.Hour {
			t.Errorf("%s is full in %s, want about 50 minutes", mount, got)
		}
	}
}
