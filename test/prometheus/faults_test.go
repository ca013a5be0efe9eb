package prometheus

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/docker"
	"github.com/fairlead/fairlead/test/lab"
)

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
		return b.value(`sum(fairlead_docker_failures_total)`) == "0" && b.value(`min(fairlead_docker_containers{state="created"})`) == "1"
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
	h := newHost(t)
	agent := h.ecsAgent(&known)
	disk, small := smallDisk(t), smallDisk(t)
	socket, engine := h.dockerd()
	slow := newSlow(t, socket)
	binary := build(t)
	var r, deaf *receiver.Receiver
	for _, to := range []**receiver.Receiver{&r, &deaf} {
		h.do(func() (err error) {
			*to, err = receiver.Listen("127.0.0.1:0", nil)
			return err
		})
		defer (*to).Close()
	}
	b := h.start(dir)
	b.disks = []string{disk, small}
	writeLines(t, filepath.Join(dir, "app.log"))
	configure(t, dir, filepath.Join(dir, "state"), r.Addr(), b.fairlead, "{max_bytes: 16MiB}")
	configure(t, other, filepath.Join(small, "state"), deaf.Addr(), b.second, "{max_bytes: 8MiB, min_free: 1MiB, when_full: drop_oldest}")
	write(t, filepath.Join(other, "app.log"), "")
	env := environment(slow.path)
	h.run(env, binary, "run", "--config", filepath.Join(dir, "fairlead.yaml"))
	// The second one stays in its place though it is started twice.
	write(t, filepath.Join(other, "user-data"), "#!/bin/bash\necho ECS_CLUSTER=prod >> /etc/ecs/ecs.config\n")
	name, args := private(t, other, "sh", "-c", `"$0" render --config "$1" --user-data "$2" --restart never >/dev/null && touch "/boot/vmlinuz-$(uname -r)" && exec sleep infinity`,
		binary, filepath.Join(other, "fairlead.yaml"), filepath.Join(other, "user-data"))
	h.run(env, name, args...)
	var pid string
	inside := func(path string) string { return "/proc/" + pid + "/root" + path }
	b.until("the second one has its place", time.Minute, func() bool {
		text, _ := os.ReadFile(filepath.Join(other, "pid"))
		pid = strings.TrimSpace(string(text))
		found, _ := filepath.Glob(inside("/boot/vmlinuz-*"))
		return pid != "" && len(found) > 0
	})
	enter := []string{"--mount", "--target", pid}
	second := func() *lab.Process {
		return h.run(env, "nsenter", append(slices.Clone(enter), binary, "run", "--config", filepath.Join(other, "fairlead.yaml"))...)
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
	if err := victim.Signal(syscall.SIGHUP); err != nil {
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
	if err := victim.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deaf.Set(receiver.Behaviour{})
	deaf.DropConnections()

	// While these clear, what the engine and the whole program may suffer.
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
	more := []string{"FairleadDockerDown", "FairleadDiskFull", "FairleadReceiverGone", "FairleadAgentDisconnected"}
	// What is asked every 5 s, and has 5 s to answer, is known after 10; the rest at once. Two evaluations take 2 s.
	for _, name := range more {
		b.until(name+" fires", 2*time.Minute, func() bool { return b.firing()[name] })
	}
	if got := b.value(fmt.Sprintf(`max_over_time(up{instance=%[1]q}[1m]) - min_over_time(up{instance=%[1]q}[30s])`, b.fairlead)); got != "0" {
		t.Errorf("scrapes failed meanwhile: %q", got)
	}
	for _, name := range faults { // the first one's logs are late by now
		b.until(name+" clears", 2*time.Minute, func() bool { return !b.firing(b.second)[name] })
	}

	if err := engine.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.do(r.Restart)
	h.ecsAgent(&known)
	if err := victim.End(syscall.SIGKILL, time.Minute); err != nil {
		t.Fatal(err)
	}
	b.until("FairleadDown fires", time.Minute, func() bool { return b.firing()["FairleadDown"] })
	second()
	for _, name := range slices.Concat(more, faults, []string{"FairleadDown"}) {
		b.until(name+" clears", 2*time.Minute, func() bool { return !b.firing()[name] })
	}
	if soaking {
		b.patience(socket, slow, small, inside("/etc/ecs/ecs.config"))
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
