package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// quick are options for a tree of files.
func quick(root string) Options {
	return Options{Root: root, Docker: filepath.Join(root, "none.sock"), Introspection: "http://127.0.0.1:1", Deadline: 20 * time.Second, MaxBytes: 64 << 20, Format: "gzip", Instance: "i-0123", hurry: true}
}

func entry(t *testing.T, m Manifest, source string) Entry {
	t.Helper()
	for _, e := range m.Sources {
		if e.Source == source {
			return e
		}
	}
	t.Fatalf("no source %q", source)
	return Entry{}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// An engine that hangs costs its own time and no more; what it does not say is read from disk.
func TestStoppedEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an engine")
	}
	needRoot(t)
	if _, err := exec.LookPath("dockerd"); err != nil {
		t.Skip("no dockerd on this machine")
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "d.sock")
	log, err := os.Create(filepath.Join(dir, "dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	config := filepath.Join(dir, "daemon.json") // not the machine's own
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	engine := exec.Command("dockerd", "--config-file", config, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--host", "unix://"+socket, "--pidfile", dir+"/pid", "--bridge=none", "--iptables=false", "--ip-masq=false")
	engine.Stdout, engine.Stderr = log, log
	engine.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = engine.Process.Signal(syscall.SIGCONT)
		_ = engine.Process.Signal(syscall.SIGTERM)
		_ = engine.Wait()
		for _, d := range []string{"data", "exec/netns/default", "exec"} { // it leaves mounts
			_ = unix.Unmount(filepath.Join(dir, d), unix.MNT_DETACH)
		}
	}()
	up := false
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline) && !up; time.Sleep(100 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			up = true
		}
	}
	if !up {
		text, _ := os.ReadFile(log.Name())
		t.Skipf("this machine runs no second engine: %.500s", text)
	}
	if err := engine.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}

	root := t.TempDir()
	containerFile(t, root, "a", map[string]any{"Config": map[string]any{"Env": []string{"DB_PASSWORD=hunter2xyz"}}})
	o := quick(root)
	o.Docker = socket
	var out bytes.Buffer
	began := time.Now()
	r, err := Run(t.Context(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > o.Deadline {
		t.Errorf("it took %v", took)
	}
	m := unpacked(t, "gzip", out.Bytes())
	if e := entry(t, r.Manifest, "docker version"); e.Outcome != TimedOut {
		t.Errorf("docker version: %+v", e)
	}
	for _, name := range []string{"docker/docker-not-running.txt", "docker/docker-ps.txt", "docker/container-inspect-timed-out.txt", "docker/container-aaaaaaaaaaaa-config.v2.json"} {
		if m[name] == "" {
			t.Errorf("%s is not there", name)
		}
	}
	if len(r.Findings) == 0 || r.Findings[0].Rule != "docker-hung" {
		t.Errorf("findings: %s", m["findings.txt"])
	}
	if strings.Contains(out.String()+m["docker/container-aaaaaaaaaaaa-config.v2.json"], "hunter2") {
		t.Error("a secret came out")
	}
}

// An archive on a disk that fills is whole up to where it did.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1200k"); err != nil {
		t.Skipf("no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	root := t.TempDir()
	for i := range 4 {
		var b bytes.Buffer
		for b.Len() < 1<<19 {
			fmt.Fprintf(&b, "task %016x%016x is %d\n", rand.Uint64(), rand.Uint64(), rand.Uint64())
		}
		write(t, root, fmt.Sprintf("/var/log/ecs/ecs-agent.log.%d", i), b.Bytes())
	}
	write(t, root, "/etc/ecs/ecs.config", []byte("ECS_CLUSTER=blue\n"))
	f, err := os.Create(filepath.Join(dir, "b.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := quick(root)
	r, err := Run(t.Context(), o, f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	m := unpacked(t, "gzip", text)
	if !r.Manifest.DiskFull || !manifestOf(t, m).DiskFull || m["ecs-agent/ecs.config"] == "" || m["report.html"] == "" {
		t.Errorf("%d bytes, %d members, full %v", len(text), len(m), r.Manifest.DiskFull)
	}
	if out, err := exec.Command("tar", "tzf", f.Name()).CombinedOutput(); err != nil {
		t.Errorf("tar does not read it: %v\n%s", err, out)
	}
	// Not even the reserve is there: the archive is whole still.
	if err := os.WriteFile(filepath.Join(dir, "hog"), make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	g, err := os.Create(filepath.Join(dir, "c.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := Run(t.Context(), o, g); err == nil {
		if text, err = os.ReadFile(g.Name()); err != nil {
			t.Fatal(err)
		}
		unpacked(t, "gzip", text)
	} else if !errors.Is(err, errFull) && !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without any room: %v", err)
	}
}

// What is written is a whole archive whenever the context ends.
func TestInterrupted(t *testing.T) {
	root := t.TempDir()
	for i := range 5 {
		write(t, root, fmt.Sprintf("/var/log/ecs/ecs-agent.log.%d", i), bytes.Repeat([]byte("level=info msg=\"nothing\"\n"), 100_000))
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := quick(root)
	var began time.Time
	o.Progress = func(e Event) {
		if e.Source == "ECS agent logs" && e.Outcome == "" {
			began = time.Now()
			cancel()
		}
	}
	var out bytes.Buffer
	r, err := Run(ctx, o, &out)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it ended %v later", took)
	}
	m := unpacked(t, "gzip", out.Bytes())
	if !r.Manifest.Interrupted || m["manifest.json"] == "" || entry(t, r.Manifest, "ECS agent logs").Outcome != TimedOut {
		t.Errorf("%+v", r.Manifest)
	}
}

// A command that does not end is killed with all that it started.
func TestCommandGroup(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	text, err := command(ctx, 1000, false, "sh", "-c", "echo begun; sleep 1234.5 & sleep 1234.5")
	if !errors.Is(err, errTimedOut) || string(text) != "begun\n" {
		t.Errorf("%q, %v", text, err)
	}
	for range 50 {
		out, _ := exec.Command("ps", "ax", "-o", "args").Output()
		if !bytes.Contains(out, []byte("sleep 1234.5")) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("what it started goes on")
}

func TestCommandBounds(t *testing.T) {
	const all = "for i in $(seq 1 1000); do echo line $i; done"
	for _, last := range []bool{false, true} {
		text, err := command(t.Context(), 100, last, "sh", "-c", all)
		if !errors.Is(err, errPart) || len(text) > 100 || !bytes.HasSuffix(text, []byte("\n")) || !bytes.HasPrefix(text, []byte("line ")) || bytes.Contains(text, []byte("line 1000\n")) != last {
			t.Errorf("last %v: %q, %v", last, text, err)
		}
	}
	if _, err := command(t.Context(), 100, false, "no-such-program"); !errors.Is(err, errAbsent) {
		t.Errorf("%v", err)
	}
	if text, err := command(t.Context(), 100, false, "sh", "-c", "echo some; echo no >&2; exit 3"); err == nil || string(text) != "some\n" || !strings.Contains(err.Error(), "no") {
		t.Errorf("%q, %v", text, err)
	}
}

// Links that containers leave in their log folders lead nowhere, and a FIFO does not wait.
func TestTraps(t *testing.T) {
	root := t.TempDir()
	write(t, root, "/secret", []byte("the host's own\n"))
	write(t, root, "/var/log/ecs/exec/real.log", []byte("real\n"))
	for name, to := range map[string]string{"link.log": filepath.Join(root, "secret"), "up.log": "../../../../secret"} {
		if err := os.Symlink(to, filepath.Join(root, "/var/log/ecs/exec", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "/var/log/ecs/exec/fifo.log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "/var/log/secure"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"collect-1.tgz", ".fairlead-bundle-1"} { // a bundle is in no bundle
		write(t, root, "/var/log/ecs/"+name, gzipped(t, []byte("the host's own\n")))
	}
	var out bytes.Buffer
	if _, err := Run(t.Context(), quick(root), &out); err != nil {
		t.Fatal(err)
	}
	m := unpacked(t, "gzip", out.Bytes())
	for name, text := range m {
		if strings.Contains(text, "the host's own") {
			t.Errorf("%s holds what a link led to", name)
		}
	}
	if m["ecs_agent_logs/exec/real.log"] != "real\n" {
		t.Errorf("%q", m["ecs_agent_logs/exec/real.log"])
	}
}

// Every cut of the output at the end of a member, with an end behind it, is an archive.
func TestArchiveDamage(t *testing.T) {
	for _, format := range []string{"gzip", "zstd"} {
		for fail := range 40 {
			f, err := os.Create(filepath.Join(t.TempDir(), "a"))
			if err != nil {
				t.Fatal(err)
			}
			a, err := newArchive(f, format)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for i := range 5 {
				name, text := fmt.Sprintf("collect/i/dir%d/file", i%2), strings.Repeat(fmt.Sprint(i), 5000)
				name = fmt.Sprintf("%s%d", name, i)
				body := io.Reader(strings.NewReader(text))
				if i == fail%5 {
					body = io.MultiReader(strings.NewReader(text[:fail*50]), broken{})
				}
				if err := a.add(name, time.Now(), int64(len(text)), body); (err != nil) != (i == fail%5) {
					t.Fatalf("%s: %v", name, err)
				} else if err == nil {
					want[strings.TrimPrefix(name, "collect/i/")] = text
				}
			}
			if err := a.end(); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			got := unpacked(t, format, text)
			if len(got) != 4 {
				t.Errorf("%d members", len(got))
			}
			for name := range want {
				if got[name] != want[name] {
					t.Errorf("%s differs", name)
				}
			}
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestNoGoroutineStays(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var out bytes.Buffer
	if _, err := Run(t.Context(), quick(t.TempDir()), &out); err != nil {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{Deadline: time.Second, MaxBytes: 1, Dir: "x", Upload: "bucket", Every: time.Second}
	err := bad.Validate()
	for _, key := range []string{"bundle.deadline: ", "bundle.max_bytes: ", "bundle.dir: ", "bundle.upload: ", "bundle.every: ", "bundle.keep: "} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not in %v", key, err)
		}
	}
}

// A folder with more files than anybody looks at costs neither the time nor the files beside it.
func TestManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 21,000 files")
	}
	root := t.TempDir()
	write(t, root, "/var/log/ecs/ecs-agent.log", []byte("the agent's own\n"))
	write(t, root, "/var/log/ecs/daemons/a/x", nil)
	for i := range 21_000 {
		if err := os.WriteFile(fmt.Sprintf("%s/var/log/ecs/daemons/a/%06d.log", root, i), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(root+"/var/log/ecs/ecs-agent.log", old, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r, err := Run(t.Context(), quick(root), &out)
	if err != nil {
		t.Fatal(err)
	}
	m := unpacked(t, "gzip", out.Bytes())
	for _, s := range r.Manifest.Sources {
		if s.Source == "ECS agent logs" && (s.Outcome != Partial || s.Seconds > 5 || len(s.Members) != 200) || m["ecs_agent_logs/ecs-agent.log"] == "" {
			t.Errorf("%s in %.1f s, %d members, %q", s.Outcome, s.Seconds, len(s.Members), m["ecs_agent_logs/ecs-agent.log"])
		}
	}
}

// A process whose environment cannot be read hides that of the others no more than it has to.
func TestStuckEnvironment(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"1", "2", "3"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, p, "environ")
		if p == "2" { // a FIFO that nobody writes to
			if err := syscall.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // lets go of who waits
				if w, err := os.OpenFile(path, os.O_RDWR, 0); err == nil {
					w.Close()
				}
			})
		} else if err := os.WriteFile(path, []byte("SECRET="+p+"2345678\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(environments(t.Context(), filepath.Join(dir, "[0-9]*")), " "); got != "SECRET=12345678 SECRET=32345678" {
		t.Errorf("%q", got)
	}
}
