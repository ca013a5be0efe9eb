package prometheus

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// bench is a Prometheus that scrapes two fairleads.
type bench struct {
	t        *testing.T
	client   *http.Client
	dir      string
	fairlead string // the address of the first
	second   string // and of the one that has a name space of its own for mounts
	address  string // of Prometheus
	server   *lab.Process
	rules    string
	fired    map[string]bool // alerts that have fired at all
	disks    []string        // that the test fills
}

// build makes the program, and a folder with it.
func build(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "fairlead")
	c := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/fairlead")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// configure writes the configuration of a fairlead that forwards the file app.log of dir to the receiver at to.
func configure(t *testing.T, dir, state, to, address, spool string) {
	t.Helper()
	write(t, filepath.Join(dir, "fairlead.yaml"), fmt.Sprintf(`
forward: {to: [%q], connect_timeout: 1s, ack_timeout: 5m, grace: 1s}
state: {dir: %s}
spool: %s
sources: {containers: {enabled: false}, host: {enabled: false}, journal: {units: []}, listen: {tcp: "", unix: ""}, files: [{path: %s/app.log, tag: app}]}
health: {listen: %q, docker_probe: 5s}
control: {socket: %s/s}
cleanup: {enabled: false}
`, to, state, spool, dir, address, dir))
}

// environment has a fairlead watch the engine at socket, and ask no cloud.
func environment(socket string) []string {
	return []string{"DOCKER_HOST=unix://" + socket, "AWS_EC2_METADATA_DISABLED=true"}
}

// start runs Prometheus, with the rules as they are but for the time between two evaluations.
func (h *host) start(dir string) *bench {
	t := h.t
	t.Helper()
	b := &bench{t: t, client: h.client(), dir: dir, fairlead: h.freePort(), second: h.freePort(), address: h.freePort(), fired: map[string]bool{}}
	// Half a minute becomes a second, else a test would take long; what is told is told after two evaluations as ever.
	b.rules = strings.NewReplacer("interval: 30s", "interval: 1s", "for: 30s", "for: 1s").Replace(read(t, filepath.Join(packaged, "fairlead.rules.yml")))
	write(t, filepath.Join(dir, "fairlead.rules.yml"), b.rules)
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [fairlead.rules.yml]
scrape_configs: [{job_name: fairlead, static_configs: [{targets: [%q, %q], labels: {group: test}}]}]
`, b.fairlead, b.second))
	b.server = h.run(nil, tool(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+b.address, "--log.level=warn")
	return b
}

// hurry has the windows of the rules become shorter as the evaluations have: 30 times. What an alert counts stays.
func (b *bench) hurry() {
	b.t.Helper()
	write(b.t, filepath.Join(b.dir, "fairlead.rules.yml"), strings.NewReplacer(
		"[5m]", "[10s]", "[5m:30s]", "[10s:1s]", "[10m]", "[20s]", "[6h]", "[12m]", "offset 5m", "offset 10s", "oldest_age_seconds > 300", "oldest_age_seconds > 10",
	).Replace(b.rules))
	if err := b.server.Signal(syscall.SIGHUP); err != nil {
		b.t.Fatal(err)
	}
}

// ask asks Prometheus.
func (b *bench) ask(path string, into any) error {
	answer, err := b.client.Get("http://" + b.address + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return json.Unmarshal(text, into)
}

// firing answers the alerts that fire, or those of some instances, but for those about file systems of other tests, which may run beside
// this one.
func (b *bench) firing(of ...string) map[string]bool {
	b.t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	if err := b.ask("alerts", &answer); err != nil {
		b.t.Fatal(err)
	}
	names := map[string]bool{}
	for _, a := range answer.Data.Alerts {
		mount := a.Labels["mountpoint"] + a.Labels["mount"]
		if len(of) > 0 && !slices.Contains(of, a.Labels["instance"]) {
			continue
		}
		if a.State == "firing" && (!strings.HasPrefix(mount, os.TempDir()+"/") || slices.Contains(b.disks, mount)) {
			names[a.Labels["alertname"]] = true
			b.fired[a.Labels["alertname"]] = true
		}
	}
	return names
}

// value answers what an expression with one result is.
func (b *bench) value(expr string) string {
	b.t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := b.ask("query?query="+url.QueryEscape(expr), &answer); err != nil {
		b.t.Fatalf("%s: %v", expr, err)
	}
	if len(answer.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

func (b *bench) until(what string, within time.Duration, ok func() bool) {
	b.t.Helper()
	started := time.Now()
	for !ok() {
		if time.Since(started) > within {
			b.t.Fatalf("%s: not after %s; firing: %v", what, within, b.firing())
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Logf("%s: after %.1f s", what, time.Since(started).Seconds())
}
