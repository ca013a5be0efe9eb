package health

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/internal/dockerd"
)

// engine is the Docker engine of this machine.
func engine(t *testing.T) *client.Client {
	t.Helper()
	cli, err := dockerd.New("")
	if err == nil {
		_, err = cli.Ping(t.Context(), client.PingOptions{NegotiateAPIVersion: true})
	}
	if err != nil {
		t.Skipf("no Docker engine answers (test/setup.sh starts one): %v", err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// labelled marks what these tests make.
const labelled = "fairlead-health"

// sleeper makes an image of a static program that sleeps, or ends as it is told; no registry is needed.
func sleeper(t *testing.T, cli *client.Client) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	program := `package main

import (
	"os"
	"strconv"
	"time"
)

func main() {
	code, _ := strconv.Atoi(os.Args[1])
	pause, _ := time.ParseDuration(os.Args[2])
	hold := make([]byte, 32<<20)
	for i := 0; i < len(hold); i += 4096 {
		hold[i] = 1
	}
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
	}
	time.Sleep(pause)
	os.Exit(code + int(hold[1]))
}
`
	if err := os.WriteFile(source, []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "sleeper"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary, err := os.ReadFile(filepath.Join(dir, "sleeper"))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: "sleeper", Mode: 0o755, Size: int64(len(binary))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(binary); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("fairlead-health-test:%s-%d", strings.ToLower(t.Name()), os.Getpid()) // another run may be at it beside this one
	answer, err := cli.ImageImport(t.Context(), client.ImageImportSource{Source: &archive, SourceName: "-"}, name, client.ImageImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer); err != nil {
		t.Fatal(err)
	}
	answer.Close()
	t.Cleanup(func() {
		_, _ = cli.ImageRemove(context.Background(), name, client.ImageRemoveOptions{Force: true})
	})
	return name
}

// start runs a container as the ECS agent would, which ends with the code after the pause.
func start(t *testing.T, cli *client.Client, image, name, family, code, pause string, retries int) string {
	t.Helper()
	made, err := cli.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name: fmt.Sprintf("fairlead-health-%s-%d", name, os.Getpid()),
		Config: &container.Config{Image: image, Entrypoint: []string{"/sleeper", code, pause}, Labels: map[string]string{
			labelled: "1", familyLabel: family, containerLabel: name, taskLabel: "arn:aws:ecs:eu-west-1:111122223333:task/prod/" + name,
		}},
		HostConfig: &container.HostConfig{
			NetworkMode: "none", Resources: container.Resources{Memory: 256 << 20},
			RestartPolicy: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: retries},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = cli.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	})
	if _, err := cli.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// background runs until the test ends.
func background(t *testing.T, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// eventually waits until the exposition has all lines.
func eventually(t *testing.T, e *Exporter, lines ...string) string {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		text := scrape(t, e)
		missing := ""
		for _, line := range lines {
			if !strings.Contains(text, line) {
				missing = line
			}
		}
		if missing == "" {
			return text
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s in\n%s", missing, text)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestDocker(t *testing.T) {
	cli := engine(t)
	name := sleeper(t, cli)
	d := newDocker(NewHost(), cli, minProbe, slog.New(slog.DiscardHandler))
	e := newExporter(slog.New(slog.DiscardHandler), true, d.sources()...)
	background(t, d.run)
	eventually(t, e, "fairlead_docker_up 1")
	web := start(t, cli, name, "web", "shop", "0", "10m", 0)
	crash := start(t, cli, name, "crash", "shop", "139", "1s", 2)
	text := eventually(t, e,
		`fairlead_docker_exits_total{code="139",container="crash",family="shop"} 3`,
		`fairlead_docker_failures_total{container="crash",family="shop"} 3`,
		`fairlead_docker_restarts_total{container="crash",family="shop"} 2`,
		`fairlead_docker_exits_total{code="1",container="crash",family="shop"} 0`,
		`fairlead_docker_container_memory_limit_bytes{container="web",family="shop"} 2.68435456e+08`,
		`fairlead_docker_info{cgroup_driver="`,
	)
	got := samples(t, text)
	if v := got[`GAUGE fairlead_docker_container_memory_bytes{container="web",family="shop"}`]; v < 30<<20 || v > 256<<20 {
		t.Errorf("memory of a container that holds 32 MiB: %g", v)
	}
	if v := got[`COUNTER fairlead_docker_container_cpu_seconds_total{container="web",family="shop"}`]; v < 0.01 || v > 30 {
		t.Errorf("processor time of a container that worked for 0.2 s beside others: %g", v)
	}
	if v := got[`GAUGE fairlead_docker_container_memory_used_ratio{container="web",family="shop"}`]; v < 0.1 || v > 1 {
		t.Errorf("its part of the limit: %g", v)
	}
	if how, ok := d.ending(crash); !ok || how.code != "139" || how.oom {
		t.Errorf("how it ended: %+v, %t", how, ok)
	}
	for _, c := range d.State().Containers {
		if c.ID == web && (c.State != "running" || c.Family != "shop" || !strings.HasSuffix(c.Task, "/web")) {
			t.Errorf("%+v", c)
		}
	}
	// The sums stay when what they were made of goes.
	before := got[`COUNTER fairlead_docker_container_cpu_seconds_total{container="web",family="shop"}`]
	if _, err := cli.ContainerRemove(t.Context(), web, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	text = eventually(t, e, `fairlead_docker_exits_total{code="137",container="web",family="shop"} 1`, `memory_bytes{container="web",family="shop"} 0`,
		`fairlead_docker_failures_total{container="web",family="shop"} 0`) // that was asked for
	if after := samples(t, text)[`COUNTER fairlead_docker_container_cpu_seconds_total{container="web",family="shop"}`]; after < before {
		t.Errorf("a counter fell from %g to %g", before, after)
	}
}

// An engine that takes connections and answers nothing is hung; scrapes go on as ever. One that is gone is down; one that never was is
// missing.
func TestDockerDoesNotAnswer(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	cli, err := dockerd.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	defer cli.Close()
	h := newHost(dir, kernel{})
	d := newDocker(h, cli, time.Minute, slog.New(slog.DiscardHandler))
	e := newExporter(slog.New(slog.DiscardHandler), true, d.sources()...)
	probed := make(chan struct{})
	go func() { d.probe(t.Context()); close(probed) }()
	for hanging := true; hanging; {
		started := time.Now()
		scrape(t, e)
		if took := time.Since(started); took > 4*time.Second {
			t.Errorf("a scrape took %s while a probe hung", took)
		}
		select {
		case <-probed:
			hanging = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	s := d.State()
	if s.Up || !s.Hung || s.Missing || !strings.Contains(s.Error, "did not answer within") {
		t.Errorf("hung: %+v", s)
	}
	text := scrape(t, e, d.latency)
	for _, want := range []string{"fairlead_docker_up 0", `fairlead_docker_probe_failures_total{call="ping"} 1`, `fairlead_docker_probe_seconds_count{call="ping"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	l.Close()
	d.probe(t.Context())
	if s := d.State(); s.Up || s.Hung || !s.Missing {
		t.Errorf("never there: %+v", s)
	}
	if err := os.MkdirAll(filepath.Join(dir, "var/lib/docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.probe(t.Context())
	if s := d.State(); s.Up || s.Hung || s.Missing {
		t.Errorf("down: %+v", s)
	}
}

// withNamespaces is a copy of a recorded host in which the files below ns are what the kernel shows: symbolic links to what they hold. As
// such they would not survive every way that a source tree takes.
func withNamespaces(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "proc/*/ns/*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no namespaces below %s: %v", root, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(string(text), name); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Two containers of one task definition, one per version of cgroups, as AL2 and AL2023 have them below the ECS agent's groups.
func TestCgroups(t *testing.T) {
	for name, want := range map[string]usage{
		"al2": {cpuSeconds: 12.345678901, throttledSeconds: 1.5, memoryBytes: 90 << 20, limitBytes: 256 << 20, readBytes: 4096, writtenBytes: 81920,
			receivedBytes: 1234567, sentBytes: 7654321},
		"al2023": {cpuSeconds: 98.765432, throttledSeconds: 2.25, memoryBytes: 300 << 20, limitBytes: 512 << 20, readBytes: 1 << 20, writtenBytes: 3 << 20},
	} {
		h := recorded(t, name)
		h.root = withNamespaces(t, h.root)
		got, err := h.container(4711)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	if _, err := recorded(t, "al2").container(4712); err == nil {
		t.Error("a process that has ended has used something")
	}
}

func TestParseAmount(t *testing.T) {
	for text, want := range map[string]float64{"23.33GB": 23.33e9, "479.7MB": 479.7e6, "512 B": 512, "23.33 GB": 23.33e9, "65.54 kB": 65.54e3, "0B": 0} {
		if got, ok := parseAmount(text); !ok || got/max(want, 1) < 0.999999 && want > 0 || got > want*1.000001 {
			t.Errorf("%q: %g, %t, want %g", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "GB", "12", "12 parsecs", "-1 B"} {
		if got, ok := parseAmount(text); ok {
			t.Errorf("%q: %g", text, got)
		}
	}
	p := parsePool([][2]string{{"Pool Name", "docker-docker--pool"}, {"Data Space Available", "20.1 GB"}, {"Data Space Total", "23.33 GB"}, {"Metadata Space Available", "25.1MB"}, {"Metadata Space Total", "25.17MB"}})
	if !p.found || p.dataFree != 20.1e9 || p.metaSize < 25.16e6 {
		t.Errorf("%+v", p)
	}
	if p := parsePool([][2]string{{"Backing Filesystem", "xfs"}}); p.found {
		t.Errorf("%+v", p)
	}
}

// Groups are bounded whatever runs, and every exit is counted somewhere.
func TestGroupsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDocker(newHost(t.Name(), kernel{}), nil, 0, slog.New(slog.DiscardHandler))
		families := rapid.SliceOfN(rapid.StringMatching(`[a-c]{0,4}`), 1, 200).Draw(t, "families")
		for _, f := range families {
			d.groups[d.bounded(groupOf(map[string]string{familyLabel: f}, "x"))].restarts++
		}
		if len(d.groups) > maxGroups+1 {
			t.Errorf("%d groups", len(d.groups))
		}
		sum := 0.0
		for _, g := range d.groups {
			sum += g.restarts
		}
		if int(sum) != len(families) {
			t.Errorf("%g counted, want %d", sum, len(families))
		}
	})
}
