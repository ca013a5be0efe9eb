package health

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/internal/introspection"
)

// The whole watches, shows, is idle within its number of series, and leaves nothing behind.
func TestHealth(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, name := range []string{"al2", "al2023"} {
		reg := prometheus.NewRegistry()
		history := NewHistory()
		h, err := New(DefaultConfig(), Parts{
			Host: recorded(t, name), DockerSocket: "unix://" + filepath.Join(t.TempDir(), "none.sock"), Agent: introspection.Client{Base: "http://127.0.0.1:1"},
			Say: func(context.Context, string, time.Time, map[string]any) error { return errors.New("nobody hears") },
			Around: func() Around {
				return Around{Flow: &Flow{Acked: 7}, Reasons: []Reason{{"spool_full", "the spool takes no more"}}}
			},
			History: history,
		}, slog.New(slog.DiscardHandler), reg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { h.Run(ctx); close(ended) }()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			st := h.Status()
			if !st.Docker.Probed.IsZero() && !st.ECS.Since.IsZero() && len(st.Notes) == 1 && st.Host.CPUs == 2 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%+v", st)
			}
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			n += len(f.Metric)
			if f.GetName() == "fairlead_docker_probe_seconds" {
				n += 13 * len(f.Metric)
			}
		}
		if n < 200 || n > 500 { // the rest of fairlead has 150
			t.Errorf("%s: %d series", name, n)
		}
		if st := h.Status(); st.Docker.Up || !st.Docker.Missing || st.ECS.Up || !strings.HasPrefix(st.Host.Name, "ip-10-0-") {
			t.Errorf("%+v", st)
		}
		cancel()
		<-ended
	}
}

// A mount point with a name that is no UTF-8 is shown like any other.
func TestLabelsAreText(t *testing.T) {
	s := sink{node: true}
	s.add(fsSize, 1, "/dev/sdb", "/mnt/\xff", "ext4")
	reg := prometheus.NewRegistry()
	reg.MustRegister(newExporter(slog.New(slog.DiscardHandler), true, &source{name: "x", within: time.Minute, collect: func(_ context.Context, to *sink) error {
		to.samples = s.samples
		return nil
	}}))
	families, err := reg.Gather()
	if err != nil || !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return strings.Contains(f.String(), "/mnt/\uFFFD") }) {
		t.Errorf("%v: %v", err, families)
	}
}
