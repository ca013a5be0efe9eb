package agent

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// documented is a metric as the page tells of it.
// Without a receiver there is nothing to forward, but all series are there, so that rules and dashboards know them.
func TestMetricsWithoutReceiver(t *testing.T) {
	names := func(environ ...string) []string {
		dir := t.TempDir()
		loaded := Source{Path: filepath.Join(dir, "f.yaml"), Environ: append(environ, "FAIRLEAD_STATE_DIR="+dir)}.Load()
		a := New(Source{}, Build{"1.0.0", "abc", "go"}, slog.New(slog.DiscardHandler))
		n, err := a.newLife(loaded)
		if err != nil {
			t.Fatal(err)
		}
		families, err := n.registry.Gather()
		if err != nil {
			t.Log(err) // what is not open yet
		}
		var list []string
		for _, f := range families {
			if strings.HasPrefix(f.GetName(), "fairlead_") && f.GetName() != "fairlead_forward_address_up" {
				list = append(list, f.GetName())
			}
		}
		return list
	}
	with, without := names("FAIRLEAD_FORWARD_TO=a:24224"), names()
	for _, name := range with {
		if !slices.Contains(without, name) {
			t.Errorf("%s is not there", name)
		}
	}
	if len(with) < 50 {
		t.Errorf("only %v", with)
	}
}

type documented struct {
	name, kind, labels, help string
}

var descForm = regexp.MustCompile(`^Desc\{fqName: "(.*?)", help: "(.*)", unit: ".*", constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}\}$`)

// documentedMetrics are all that a daemon registers, those of Go's runtime and of the process left out: client_golang documents them.
func documentedMetrics(t *testing.T) []documented {
	t.Helper()
	dir := t.TempDir()
	loaded := Source{Path: filepath.Join(dir, "f.yaml"), Environ: []string{"FAIRLEAD_FORWARD_TO=a:24224", "FAIRLEAD_STATE_DIR=" + dir}}.Load()
	if !loaded.OK() {
		t.Fatal(loaded.Findings)
	}
	a := New(Source{}, Build{"1.0.0", "abc", "go"}, slog.New(slog.DiscardHandler))
	a.drain = a.newDrain(loaded.Config)
	n, err := a.newLife(loaded)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]dto.MetricType{}
	found := map[string]documented{}
	for _, r := range []*prometheus.Registry{a.metrics.registry, n.registry} {
		families, err := r.Gather()
		if err != nil {
			t.Log(err) // what is not open yet
		}
		for _, f := range families {
			kinds[f.GetName()] = f.GetType()
		}
		descs := make(chan *prometheus.Desc)
		go func() { r.Describe(descs); close(descs) }()
		for d := range descs {
			m := descForm.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("not understood: %s", d)
			}
			if strings.HasPrefix(m[1], "go_") || strings.HasPrefix(m[1], "process_") {
				continue
			}
			labels := strings.FieldsFunc(m[4], func(r rune) bool { return r == ',' || r == ' ' })
			for pair := range strings.SplitSeq(m[3], ",") {
				if name, _, ok := strings.Cut(pair, "="); ok {
					labels = append(labels, name)
				}
			}
			slices.Sort(labels)
			kind := ""
			if k, ok := kinds[m[1]]; ok {
				kind = strings.ToLower(k.String())
			}
			if kind == "" { // it has no sample yet
				kind = "gauge"
				if strings.HasSuffix(m[1], "_total") {
					kind = "counter"
				}
			}
			found[m[1]] = documented{m[1], kind, strings.Join(labels, ", "), strings.ReplaceAll(m[2], `\"`, `"`)}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b documented) int { return cmp.Compare(a.name, b.name) })
}

// unitOf tells the unit by the end of a name, as Prometheus has it.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for suffix, unit := range map[string]string{"_seconds": "s", "_bytes": "bytes", "_ratio": "0 to 1", "_info": "always 1"} {
		if strings.HasSuffix(name, suffix) {
			return unit
		}
	}
	return ""
}

// docs/metrics.md tells of every metric there is, and of no other.
func TestMetricsDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Metrics

Made from the registry by ` + "`go test ./agent -run MetricsDocument -update`" + `; a test keeps it true. All are on ` + "`health.listen`" + ` at ` + "`/metrics`" + `, as text or OpenMetrics,
packed with gzip where the scraper asks. The counters of a configuration begin anew at a reload, as after a restart.

- ` + "`node_*`" + ` are node_exporter's, with its names, labels and values, for the subset that its usual dashboards and alerts use; ` + "`health.node_metrics: false`" + `
  leaves them out where node_exporter runs as well.
- Containers are told apart by ECS family and container name; what ECS did not start is ` + "`family=\"\"`, `container=\"other\"`" + `, and so is what goes beyond 60 of them.
- Each collector has its deadline (0.5 s for the host, 1 s for Docker and ECS, which are asked beside the scrapes) and shows in ` + "`fairlead_health_collector_*`" + `.
  A scrape has at most 3,000 samples of the host; what goes beyond is counted in ` + "`fairlead_health_dropped_series_total`" + `.
- Besides there are ` + "`go_*` and `process_*`" + `, of client_golang.

`)
	section := ""
	for _, m := range documentedMetrics(t) {
		parts := strings.SplitN(m.name, "_", 3)
		part := parts[0] + "_" + parts[1]
		if parts[0] == "node" {
			part = "node"
		}
		if part != section {
			section = part
			fmt.Fprintf(&b, "\n## %s\n\n| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n", part)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, unitOf(m.name), m.labels, strings.ReplaceAll(m.help, "|", "\\|"))
	}
	path := "../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is not what the registry says (go test ./agent -run MetricsDocument -update writes it anew)", path)
	}
}
