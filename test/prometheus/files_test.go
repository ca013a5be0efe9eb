package prometheus

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const packaged = "../../packaging/prometheus"

// tool is one of Debian's packages prometheus and prometheus-node-exporter.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (test/setup.sh installs it)", name)
	}
	return path
}

func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), tool(t, "promtool"), args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRules(t *testing.T) {
	promtool(t, packaged, "check", "rules", "fairlead.rules.yml")
	promtool(t, packaged, "test", "rules", "fairlead.rules_test.yml")
	promtool(t, packaged, "check", "config", "scrape-ec2.yml")
	tests := read(t, filepath.Join(packaged, "fairlead.rules_test.yml"))
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, filepath.Join(packaged, "fairlead.rules.yml")), -1) {
		if !strings.Contains(tests, "alertname: "+m[1]+"\n") {
			t.Errorf("%s has no test", m[1])
		}
	}
}

// dashboard is what Grafana imports, as far as it is looked at here.
type dashboard struct {
	Title  string
	Panels []struct {
		Title   string
		Targets []struct{ Expr string }
	}
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(packaged, "grafana/*.json"))
	if err != nil || len(paths) != 2 {
		t.Fatalf("%v, %v", paths, err)
	}
	var all []dashboard
	for _, path := range paths {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, path)), &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, d)
	}
	return all
}

// Rules and dashboards ask only for metrics that there are.
func TestMetricsExist(t *testing.T) {
	documented := read(t, "../../docs/metrics.md")
	asked := read(t, filepath.Join(packaged, "fairlead.rules.yml"))
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				asked += "\n" + target.Expr
			}
		}
	}
	for _, name := range regexp.MustCompile(`\b(?:fairlead|node)_[a-zA-Z0-9_]+`).FindAllString(asked, -1) {
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
		if strings.HasSuffix(base, "_") { // "node_pressure_io_*", in words
			continue
		}
		if !strings.Contains(documented, "| `"+name+"` |") && !strings.Contains(documented, "| `"+base+"` |") {
			t.Errorf("there is no %s", name)
		}
	}
}
