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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/docker"
)

// bench is a Prometheus that scrapes two fairleads.
type bench struct {
	t        *testing.T
	dir      string
	fairlead string // the address of the first
	second   string // and of the one that has a name space of its own for mounts
	address  string // of Prometheus
	server   *exec.Cmd
	rules    string
	fired    map[string]bool // alerts that have fired at all
	disks    []string        // that the test fills
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// run starts a process that ends with the test; its output is shown when the test fails.
func run(t *testing.T, environ []string, name string, args ...string) *exec.Cmd {
	t.Helper()
	var out bytes.Buffer
	c := exec.Command(name, args...)
	// What tells the tests something is no setting of the daemon.
	c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_") }), environ...)
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGCONT)
		_ = c.Process.Signal(syscall.SIGTERM)
		ended := make(chan struct{})
		go func() { _ = c.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = c.Process.Kill()
			<-ended
		}
		if t.Failed() {
			text := out.Bytes()
			t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	return c
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
func start(t *testing.T, dir string) *bench {
	t.Helper()
	b := &bench{t: t, dir: dir, fairlead: freePort(t), second: freePort(t), address: freePort(t), fired: map[string]bool{}}
	// Half a minute becomes a second, else a test would take long; what is told is told after two evaluations as ever.
	b.rules = strings.NewReplacer("interval: 30s", "interval: 1s", "for: 30s", "for: 1s").Replace(read(t, filepath.Join(packaged, "fairlead.rules.yml")))
	write(t, filepath.Join(dir, "fairlead.rules.yml"), b.rules)
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [fairlead.rules.yml]
scrape_configs: [{job_name: fairlead, static_configs: [{targets: [%q, %q], labels: {group: test}}]}]
`, b.fairlead, b.second))
	b.server = run(t, nil, tool(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+b.address, "--log.level=warn")
	return b
}

// hurry has the windows of the rules become shorter as the evaluations have: 30 times. What an alert counts stays.
func (b *bench) hurry() {
	b.t.Helper()
	write(b.t, filepath.Join(b.dir, "fairlead.rules.yml"), strings.NewReplacer(
		"[5m]", "[10s]", "[5m:30s]", "[10s:1s]", "[10m]", "[20s]", "[6h]", "[12m]", "offset 5m", "offset 10s", "oldest_age_seconds > 300", "oldest_age_seconds > 10",
	).Replace(b.rules))
	if err := b.server.Process.Signal(syscall.SIGHUP); err != nil {
		b.t.Fatal(err)
	}
}

// ask asks Prometheus.
func (b *bench) ask(path string, into any) error {
	answer, err := http.Get("http://" + b.address + "/api/v1/" + path)
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

// firing answers the alerts that fire, but for those about file systems of other tests, which may run beside this one.
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
		mount := a.Labels["mountpoint"] + a.Labels["mount"]
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

// tasks is what the stand-in for the ECS agent says of its tasks.
type tasks struct {
	mu   sync.Mutex
	text string
}

func (k *tasks) set(status string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []string
	for i := range 3 {
		list = append(list, fmt.Sprintf(`{"Arn":"arn:aws:ecs:eu-west-1:111122223333:task/prod/%d","KnownStatus":%q,"Family":"web","Version":"1","Containers":[]}`, i, status))
	}
	k.text = `{"Tasks":[` + strings.Join(list, ",") + `]}`
}

func (k *tasks) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text
}

// ecsAgent is a stand-in for the ECS agent, which cannot run outside of AWS.
func ecsAgent(t *testing.T, k *tasks) *http.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:51678")
	if err != nil {
		t.Skipf("an ECS agent runs here: %v", err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/tasks" {
			_, _ = io.WriteString(w, k.String())
			return
		}
		_, _ = io.WriteString(w, `{"Cluster":"prod","ContainerInstanceArn":"arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/0123","Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`)
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// dockerd starts an engine of our own, for none but us to stop.
func dockerd(t *testing.T) (socket string, engine *exec.Cmd) {
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
	engine = run(t, nil, binary, "--config-file="+dir+"/daemon.json", "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "--host=unix://"+socket, "--pidfile="+dir+"/pid",
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

// private begins a command in a name space of its own for mounts, where /etc and /boot may be written to and the host's stay as they are.
func private(t *testing.T, dir, binary string, args ...string) (name string, all []string) {
	t.Helper()
	script := fmt.Sprintf(`set -e
mkdir -p %[1]s/own && mount -t tmpfs own %[1]s/own && mkdir %[1]s/own/etc %[1]s/own/work
mount -t overlay own -o lowerdir=/etc,upperdir=%[1]s/own/etc,workdir=%[1]s/own/work /etc
mkdir -p /etc/ecs && mount -t tmpfs own /boot
exec "$@"`, dir)
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", "true").CombinedOutput(); err != nil {
		t.Skipf("no name space for mounts can be made here: %v %s", err, out)
	}
	return "unshare", append([]string{"--mount", "sh", "-c", script, "sh", binary}, args...)
}

// fails starts a container so often that it is one that fails again and again.
func fails(t *testing.T, b *bench, binary, socket string) {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	engine := docker.New("prometheus")
	image, err := engine.ImportImage(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	id, err := engine.Create(t.Context(), docker.Spec{Image: image, Args: []string{"no-such-command"}})
	if err != nil {
		t.Fatal(err)
	}
	b.until("the container is seen", time.Minute, func() bool {
		return b.value(`sum(fairlead_docker_exits_total{code="other"})`) == "0" && b.value(`min(fairlead_docker_containers{state="created"})`) == "1"
	})
	time.Sleep(2 * time.Second) // a scrape sees that none has failed
	for range 4 {
		if err := engine.Start(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if code, err := engine.Wait(t.Context(), id); err != nil || code == 0 {
			t.Fatalf("exit code %d, %v", code, err)
		}
	}
}

// spill writes so many bytes of lines at once.
func spill(t *testing.T, path string, n int) {
	t.Helper()
	write(t, path, strings.Repeat(strings.Repeat("x", 1023)+"\n", n>>10))
}

// slow is the socket of an engine whose calls may take longer.
type slow struct {
	path  string
	delay atomic.Int64
}

func newSlow(t *testing.T, engine string) *slow {
	t.Helper()
	s := &slow{path: engine + ".slow"}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go s.carry(from, engine)
		}
	}()
	return s
}

func (s *slow) carry(from net.Conn, engine string) {
	defer from.Close()
	to, err := net.Dial("unix", engine)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		time.Sleep(time.Duration(s.delay.Load()))
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// volumes makes 25 volumes that nobody uses, or removes them.
func volumes(t *testing.T, socket, method string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	for i := range 25 {
		name := fmt.Sprintf("leak-%d", i)
		path, body := "/volumes/"+name, ""
		if method == http.MethodPost {
			path, body = "/volumes/create", fmt.Sprintf(`{"Name":%q}`, name)
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://docker"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, answer.Status)
		}
	}
}

// patience has the faults that take minutes to show: an engine that is slow, settings that somebody has changed, volumes that become more, a
// disk that fills steadily.
func (b *bench) patience(engine string, s *slow, disk, settings string) {
	b.t.Helper()
	was := read(b.t, settings)
	write(b.t, settings, was+"ECS_CLUSTER=other\n")
	volumes(b.t, engine, http.MethodPost)
	s.delay.Store(int64(1500 * time.Millisecond))
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	filled := make(chan struct{})
	path := filepath.Join(disk, "grows")
	go func() {
		defer close(filled)
		f, err := os.Create(path)
		if err != nil {
			b.t.Error(err)
			return
		}
		defer f.Close()
		for ctx.Err() == nil {
			_, _ = f.Write(make([]byte, 8<<10))
			time.Sleep(time.Second)
		}
	}()
	faults := []string{"FairleadDockerSlow", "FairleadConfigDrift", "FairleadVolumeLeak", "FairleadDiskFullSoon"}
	for _, name := range faults {
		b.until(name+" fires", 12*time.Minute, func() bool { return b.firing()[name] || b.fired[name] })
	}
	stop()
	<-filled
	if err := os.Remove(path); err != nil {
		b.t.Error(err)
	}
	s.delay.Store(0)
	write(b.t, settings, was)
	volumes(b.t, engine, http.MethodDelete)
	for _, name := range faults {
		b.until(name+" clears", 12*time.Minute, func() bool { return !b.firing()[name] })
	}
}

// Real faults, each seen by a real Prometheus through the real rules: the alert fires, and clears when the fault is over. Meanwhile no scrape
// takes longer than it may. With FAIRLEAD_SOAK nothing is broken for that long, and nothing may fire; then come the faults that take minutes to
// show. What cannot be caused here (a throttled volume, spent credits, a clock that nobody keeps, a thin pool, books that do not balance) has the
// unit tests of the rules only.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two minutes")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: a Docker engine, a file system and mounts of its own")
	}
	tool(t, "prometheus")
	dir, other := t.TempDir(), t.TempDir()
	var known tasks
	known.set("RUNNING")
	agent := ecsAgent(t, &known)
	disk, small := smallDisk(t), smallDisk(t)
	socket, engine := dockerd(t)
	slow := newSlow(t, socket)
	binary := build(t)
	r, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	deaf, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	b := start(t, dir)
	b.disks = []string{disk, small}
	writeLines(t, filepath.Join(dir, "app.log"))
	configure(t, dir, filepath.Join(dir, "state"), r.Addr(), b.fairlead, "{max_bytes: 16MiB}")
	configure(t, other, filepath.Join(small, "state"), deaf.Addr(), b.second, "{max_bytes: 8MiB, min_free: 1MiB, when_full: drop_oldest}")
	write(t, filepath.Join(other, "app.log"), "")
	env := environment(slow.path)
	run(t, env, binary, "run", "--config", filepath.Join(dir, "fairlead.yaml"))
	// The second one stays in its place though it is started twice.
	write(t, filepath.Join(other, "user-data"), "#!/bin/bash\necho ECS_CLUSTER=prod >> /etc/ecs/ecs.config\n")
	name, args := private(t, other, "sh", "-c", `"$0" render --config "$1" --user-data "$2" --restart never >/dev/null && touch "/boot/vmlinuz-$(uname -r)" && exec sleep infinity`,
		binary, filepath.Join(other, "fairlead.yaml"), filepath.Join(other, "user-data"))
	place := run(t, env, name, args...)
	inside := func(path string) string { return fmt.Sprintf("/proc/%d/root%s", place.Process.Pid, path) }
	b.until("the second one has its place", time.Minute, func() bool {
		found, _ := filepath.Glob(inside("/boot/vmlinuz-*"))
		return len(found) > 0
	})
	enter := []string{"--mount", "--target", fmt.Sprint(place.Process.Pid)}
	second := func() *exec.Cmd {
		return run(t, env, "nsenter", append(slices.Clone(enter), binary, "run", "--config", filepath.Join(other, "fairlead.yaml"))...)
	}
	victim := second()

	b.until("Prometheus runs", time.Minute, func() bool {
		var any struct{}
		return b.ask("status/buildinfo", &any) == nil
	})
	b.until("everything is up", 2*time.Minute, func() bool {
		return b.value("min(fairlead_docker_up)") == "1" && b.value("min(fairlead_ecs_agent_connected)") == "1" && b.value("min(fairlead_forward_address_up)") == "1" &&
			b.value("sum(up)") == "2"
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
	soak, err := time.ParseDuration(os.Getenv("FAIRLEAD_SOAK"))
	soaking := err == nil
	for end := time.Now().Add(soak); time.Now().Before(end); time.Sleep(5 * time.Second) {
		if names := b.firing(); len(names) > 0 {
			t.Fatalf("nothing is wrong, and there fire %v, %s before the end", names, time.Until(end))
		}
	}
	b.hurry()

	// What is no fault of the engine, so that it can be told by an engine that works.
	fails(t, b, binary, socket)
	known.set("STOPPED")
	write(t, inside("/boot/vmlinuz-999.0"), "")
	nsenter := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("nsenter", append(slices.Clone(enter), args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	nsenter("mount", "-t", "tmpfs", "own", "/proc/sys/fs")
	write(t, filepath.Join(other, "conf.d/wrong.yaml"), "no_such_key: 1\n")
	if err := victim.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deaf.Set(receiver.Behaviour{NoAcks: true})
	spill(t, filepath.Join(other, "app.log"), 24<<20)
	faults := []string{"FairleadCrashLoop", "FairleadTasksFail", "FairleadRebootRequired", "FairleadCollectorFails", "FairleadConfigRefused", "FairleadLogsLost",
		"FairleadSpoolFilling", "FairleadLogsLate"}
	for _, name := range faults {
		b.until(name+" fires", 2*time.Minute, func() bool { return b.firing()[name] || b.fired[name] })
	}
	if err := os.Remove(inside("/boot/vmlinuz-999.0")); err != nil {
		t.Fatal(err)
	}
	nsenter("umount", "/proc/sys/fs")
	if err := os.Remove(filepath.Join(other, "conf.d/wrong.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := victim.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deaf.Set(receiver.Behaviour{})
	deaf.DropConnections()

	// While these clear, what the engine and the whole program may suffer.
	filler := filepath.Join(disk, "filler")
	if err := engine.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=1M").CombinedOutput(); err == nil {
		t.Fatalf("the disk has no end: %s", out)
	}
	r.Kill()
	if err := agent.Close(); err != nil {
		t.Fatal(err)
	}
	more := []string{"FairleadDockerDown", "FairleadDiskFull", "FairleadReceiverGone", "FairleadAgentDisconnected"}
	// What is asked every 5 s, and has 5 s to answer, is known after 10; the rest at once. Two evaluations take 2 s.
	for _, name := range more {
		b.until(name+" fires", 2*time.Minute, func() bool { return b.firing()[name] })
	}
	if got := b.value(fmt.Sprintf(`max_over_time(up{instance=%[1]q}[1m]) - min_over_time(up{instance=%[1]q}[30s])`, b.fairlead)); got != "0" {
		t.Errorf("scrapes failed meanwhile: %q", got)
	}
	for _, name := range faults {
		b.until(name+" clears", 2*time.Minute, func() bool { return !b.firing()[name] })
	}

	if err := engine.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	ecsAgent(t, &known)
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.until("FairleadDown fires", time.Minute, func() bool { return b.firing()["FairleadDown"] })
	second()
	for _, name := range append(more, "FairleadDown") {
		b.until(name+" clears", 2*time.Minute, func() bool { return !b.firing()[name] })
	}
	if soaking {
		b.patience(socket, slow, small, inside("/etc/ecs/ecs.config"))
	}
	if names := b.firing(); len(names) > 0 {
		t.Errorf("still firing: %v", names)
	}

	// What it exposes is as promtool wants it, but for names that are node_exporter's.
	answer, err := http.Get("http://" + b.fairlead + "/metrics")
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
