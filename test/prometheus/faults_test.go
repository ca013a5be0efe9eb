package prometheus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/lab"
)

// bench is a Prometheus that scrapes a fairlead.
type bench struct {
	t        *testing.T
	client   *http.Client
	dir      string
	fairlead string // its address
	address  string // of Prometheus
}

// host is a network of its own: an ECS agent is asked at one address, which another test may look at beside this one.
type host struct {
	t     *testing.T
	space *lab.Space
}

func newHost(t *testing.T) *host {
	t.Helper()
	space, err := lab.NewNetwork()
	if err != nil {
		t.Skipf("no network of its own: %v", err)
	}
	t.Cleanup(func() { _ = space.Close() })
	return &host{t, space}
}

// do runs f where the sockets it makes are of this network.
func (h *host) do(f func() error) {
	h.t.Helper()
	if err := h.space.Do(f); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) listen(address string) (l net.Listener) {
	h.t.Helper()
	h.do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l
}

func (h *host) freePort() string {
	h.t.Helper()
	l := h.listen("127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

func (h *host) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = h.space.Do(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}}}
}

// run starts a process that ends with the test; its output is shown when the test fails.
func (h *host) run(environ []string, name string, args ...string) *lab.Process {
	t := h.t
	t.Helper()
	var out bytes.Buffer
	c := exec.Command(name, args...)
	// What tells the tests something is no setting of the daemon.
	c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_") }), environ...)
	c.Stdout, c.Stderr = &out, &out
	p, err := lab.StartProcess(c, h.space)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGCONT)
		if err := p.End(syscall.SIGTERM, 20*time.Second); err != nil {
			_ = p.End(syscall.SIGKILL, 20*time.Second)
		}
		if t.Failed() {
			text := out.Bytes()
			t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	return p
}

// start runs Prometheus and fairlead, which forwards the file log to the receiver at to and watches the engine at socket.
func (h *host) start(dir, to, log, socket string) *bench {
	t := h.t
	t.Helper()
	prometheus := tool(t, "prometheus")
	binary := filepath.Join(dir, "fairlead")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/fairlead")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := &bench{t: t, client: h.client(), dir: dir, fairlead: h.freePort(), address: h.freePort()}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("fairlead.yaml", fmt.Sprintf(`
forward: {to: [%q], connect_timeout: 1s}
state: {dir: %s/state}
spool: {max_bytes: 16MiB}
sources: {containers: {enabled: false}, host: {enabled: false}, journal: {units: []}, listen: {tcp: "", unix: ""}, files: [{path: %s, tag: app}]}
health: {listen: %q, docker_probe: 5s}
control: {socket: %s/s}
cleanup: {enabled: false}
`, to, dir, log, b.fairlead, dir))
	// Half a minute becomes a second, else a test would take long; what is told is told after two evaluations as ever.
	rules := read(t, filepath.Join(packaged, "fairlead.rules.yml"))
	write("fairlead.rules.yml", strings.NewReplacer("interval: 30s", "interval: 1s", "for: 30s", "for: 1s").Replace(rules))
	write("prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [fairlead.rules.yml]
scrape_configs: [{job_name: fairlead, static_configs: [{targets: [%q], labels: {group: test}}]}]
`, b.fairlead))
	h.run([]string{"DOCKER_HOST=unix://" + socket, "AWS_EC2_METADATA_DISABLED=true"}, binary, "run", "--config", filepath.Join(dir, "fairlead.yaml"))
	h.run(nil, prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+b.address, "--log.level=warn")
	return b
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

// firing answers the alerts that fire.
func (b *bench) firing() map[string]bool {
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
		if a.State == "firing" {
			names[a.Labels["alertname"]] = true
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

// smallDisk is a file system of 24 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	for _, c := range [][]string{
		{"truncate", "-s", "24M", image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mkdir", mount}, {"mount", "-o", "loop", image, mount},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no file system can be made here: %v: %v %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return mount
}

// ecsAgent is a stand-in for the ECS agent, which cannot run outside of AWS.
func (h *host) ecsAgent() *http.Server {
	h.t.Helper()
	l := h.listen("127.0.0.1:51678")
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/tasks" {
			_, _ = io.WriteString(w, `{"Tasks":[]}`)
			return
		}
		_, _ = io.WriteString(w, `{"Cluster":"prod","ContainerInstanceArn":"arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/0123","Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`)
	})}
	go func() { _ = s.Serve(l) }()
	h.t.Cleanup(func() { _ = s.Close() })
	return s
}

// dockerd starts an engine of our own, for none but us to stop.
func (h *host) dockerd() (socket string, engine *lab.Process) {
	t := h.t
	t.Helper()
	binary, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skip("dockerd is not installed (test/setup.sh installs it)")
	}
	dir, err := os.MkdirTemp("", "flp") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "d.sock")
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	engine = h.run(nil, binary, "--config-file="+dir+"/daemon.json", "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "--host=unix://"+socket, "--pidfile="+dir+"/pid",
		"--bridge=none", "--iptables=false", "--storage-driver=vfs")
	return socket, engine
}

// writeLines writes a line now and then until the test ends.
func writeLines(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = fmt.Fprintf(f, "line %d\n", n)
			time.Sleep(200 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-done; f.Close() })
}

// Real faults, each seen by a real Prometheus through the real rules: the alert fires, and clears when the fault is over. Meanwhile no scrape
// takes longer than it may. With FAIRLEAD_SOAK nothing is broken for that long, and nothing may fire.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: a Docker engine and a file system of its own")
	}
	tool(t, "prometheus")
	dir := t.TempDir()
	log := filepath.Join(dir, "app.log")
	h := newHost(t)
	agent := h.ecsAgent()
	disk := smallDisk(t)
	socket, engine := h.dockerd()
	writeLines(t, log)
	var r *receiver.Receiver
	h.do(func() (err error) {
		r, err = receiver.Listen("127.0.0.1:0", nil)
		return err
	})
	defer r.Close()
	b := h.start(dir, r.Addr(), log, socket)

	b.until("Prometheus runs", time.Minute, func() bool {
		var any struct{}
		return b.ask("status/buildinfo", &any) == nil
	})
	b.until("everything is up", 2*time.Minute, func() bool {
		return b.value("fairlead_docker_up") == "1" && b.value("fairlead_ecs_agent_connected") == "1" && b.value("fairlead_forward_address_up") == "1"
	})
	b.until("nothing fires", time.Minute, func() bool { return len(b.firing()) == 0 })
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", b.fairlead, "$group", ".*").Replace(target.Expr)
				b.value(expr)
			}
		}
	}
	if soak, err := time.ParseDuration(os.Getenv("FAIRLEAD_SOAK")); err == nil {
		for end := time.Now().Add(soak); time.Now().Before(end); time.Sleep(5 * time.Second) {
			if names := b.firing(); len(names) > 0 {
				t.Fatalf("nothing is wrong, and there fire %v", names)
			}
		}
	}

	filler := filepath.Join(disk, "filler")
	if err := engine.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=1M").CombinedOutput(); err == nil {
		t.Fatalf("the disk has no end: %s", out)
	}
	r.Kill()
	if err := agent.Close(); err != nil {
		t.Fatal(err)
	}
	faults := []string{"FairleadDockerDown", "FairleadDiskFull", "FairleadReceiverGone", "FairleadAgentDisconnected"}
	// What is asked every 5 s, and has 5 s to answer, is known after 10; the rest at once. Two evaluations take 2 s.
	for _, name := range faults {
		b.until(name+" fires", 2*time.Minute, func() bool { return b.firing()[name] })
	}
	if got := b.value(`max_over_time(up[1m]) - min_over_time(up[30s])`); got != "0" {
		t.Errorf("scrapes failed meanwhile: %q", got)
	}

	if err := engine.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.do(r.Restart)
	h.ecsAgent()
	for _, name := range faults {
		b.until(name+" clears", 2*time.Minute, func() bool { return !b.firing()[name] })
	}
	if names := b.firing(); len(names) > 0 {
		t.Errorf("still firing: %v", names)
	}

	// What it exposes is as promtool wants it, but for names that are node_exporter's.
	answer, err := b.client.Get("http://" + b.fairlead + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	check := exec.Command(tool(t, "promtool"), "check", "metrics")
	check.Stdin = answer.Body
	out, _ := check.CombinedOutput() // complaints are its exit code
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "node_") {
			t.Errorf("promtool: %s", line)
		}
	}
}
