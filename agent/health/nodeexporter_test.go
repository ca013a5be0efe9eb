package health

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What we export of node_exporter's is what node_exporter says of the same machine: names, types, labels and values. It is asked between
// two scrapes of ours, so that a counter must lie between ours.
func TestAsNodeExporter(t *testing.T) {
	binary, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		t.Skip("prometheus-node-exporter is not installed (test/setup.sh installs it)")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	// The defaults of upstream, where Debian has others.
	c := exec.CommandContext(t.Context(), binary, "--web.listen-address="+address, "--no-collector.netdev.netlink", "--collector.diskstats.device-exclude="+otherDisks.String(),
		"--collector.netdev.device-exclude=^veth", "--collector.filesystem.mount-points-exclude="+otherMounts.String())
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Wait() }()
	defer func() { _ = c.Process.Kill() }()
	h := NewHost()
	ours := func() map[string]float64 {
		return samples(t, scrape(t, newExporter(slog.New(slog.DiscardHandler), true, h.sources()...)))
	}
	var before, after map[string]float64
	var theirs map[string]float64
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		before = ours()
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			continue
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		theirs, after = samples(t, string(text)), ours()
		break
	}
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(after)) {
		first, was := before[name]
		if !strings.Contains(name, " node_") || !was {
			continue
		}
		want, ok := theirs[name]
		if !ok {
			t.Errorf("node_exporter has no %s", name)
			continue
		}
		compared++
		low, high := min(first, after[name]), max(first, after[name])
		// What goes up and down may have been elsewhere in between.
		slack := 1e-9 * math.Abs(want)
		if strings.HasPrefix(name, "GAUGE") {
			slack += 0.1*math.Abs(want) + 64<<20
			if !strings.Contains(name, "_bytes") {
				slack = 0.5*math.Abs(want) + 20
			}
		}
		if want < low-slack || want > high+slack {
			t.Errorf("%s: ours %g and %g, node_exporter's in between %g", name, first, after[name], want)
		}
	}
	for name := range theirs {
		short, _, _ := strings.Cut(strings.Fields(name)[1], "{")
		if _, ok := after[name]; !ok && slices.ContainsFunc(catalogue, func(m *metric) bool { return m.name == short }) {
			t.Errorf("only node_exporter has %s", name)
		}
	}
	t.Logf("%d series are as node_exporter has them", compared)
	if compared < 100 {
		t.Errorf("only %d series were compared", compared)
	}
}

// samples answers the values of an exposition by type, name and labels.
func samples(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			key := f.GetType().String() + " " + name + "{" + strings.Join(labels, ",") + "}"
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				values[key] = m.Counter.GetValue()
			case dto.MetricType_GAUGE:
				values[key] = m.Gauge.GetValue()
			case dto.MetricType_UNTYPED:
				values[key] = m.Untyped.GetValue()
			}
		}
	}
	return values
}
