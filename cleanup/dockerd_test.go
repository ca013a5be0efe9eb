package cleanup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// ownEngine is a Docker engine of the test's own, with its own files on a small disk of its own. What it does to the engine of this machine
// is nothing.
type ownEngine struct {
	t    *testing.T
	dir  string
	disk string // where the small disk is mounted
	cmd  *exec.Cmd
	log  *os.File
	cli  *client.Client
}

// newEngine starts an engine on a disk of so many MiB. Where there is no dockerd, or we are not root, the test is skipped.
func newEngine(t *testing.T, mib int) *ownEngine {
	t.Helper()
	if testing.Short() {
		t.Skip("an engine of its own takes seconds to start")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, for an engine and a disk of its own")
	}
	for _, tool := range []string{"dockerd", "mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	dir, err := os.MkdirTemp("", "fl-gc") // short: it holds a socket's path
	if err != nil {
		t.Fatal(err)
	}
	e := &ownEngine{t: t, dir: dir, disk: filepath.Join(dir, "disk")}
	t.Cleanup(func() {
		e.stop()
		if out, err := exec.Command("umount", "-l", e.disk).CombinedOutput(); err != nil {
			t.Logf("umount: %v: %s", err, out)
		}
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("the engine's log ends with:\n%s", text[max(0, len(text)-3000):])
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Log(err)
		}
	})
	image := filepath.Join(dir, "disk.img")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(int64(mib)<<20), f.Close(), os.Mkdir(e.disk, 0o700)); err != nil {
		t.Fatal(err)
	}
	e.must("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image)
	if out, err := exec.Command("mount", "-o", "loop", image, e.disk).CombinedOutput(); err != nil {
		t.Skipf("needs a loop device: %v: %s", err, out)
	}
	if e.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	e.start()
	return e
}

func (e *ownEngine) must(name string, args ...string) {
	e.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		e.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (e *ownEngine) host() string { return "unix://" + filepath.Join(e.dir, "docker.sock") }

func (e *ownEngine) root() string { return filepath.Join(e.disk, "docker") }

func (e *ownEngine) start() {
	e.t.Helper()
	e.cmd = exec.Command("dockerd", "--data-root", e.root(), "--exec-root", filepath.Join(e.dir, "x"), "--host", e.host(),
		"--pidfile", filepath.Join(e.dir, "pid"), "--bridge=none", "--iptables=false", "--ip-forward=false", "--config-file", filepath.Join(e.dir, "none.json"))
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	if err := errors.Join(os.WriteFile(filepath.Join(e.dir, "none.json"), []byte("{}"), 0o600), e.cmd.Start()); err != nil {
		e.t.Fatal(err)
	}
	cli, err := client.New(client.WithHost(e.host()))
	if err != nil {
		e.t.Fatal(err)
	}
	e.cli = cli
	deadline := time.Now().Add(60 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(e.t.Context(), time.Second)
		_, err := cli.Info(ctx, client.InfoOptions{})
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(e.dir, "log"))
			e.t.Skipf("no engine of its own can be started here: %v\n%s", err, text[max(0, len(text)-2000):])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// stop ends the engine with all its containers.
func (e *ownEngine) stop() {
	if e.cmd == nil || e.cmd.Process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if r, err := e.cli.ContainerList(ctx, client.ContainerListOptions{}); err == nil {
		for _, c := range r.Items {
			_, _ = e.cli.ContainerKill(ctx, c.ID, client.ContainerKillOptions{Signal: "KILL"})
		}
	}
	e.halt()
}

// halt ends the engine as a restart does.
func (e *ownEngine) halt() {
	_ = e.cli.Close()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		_ = e.cmd.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		_ = e.cmd.Process.Kill()
		<-ended
	}
	e.cmd = nil
}

// filler is the program of the containers, built once.
var filler = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "fl-filler")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "filler")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "./testdata/filler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(program)
})

// image imports an image that holds nothing but the filler, with /data as a volume.
func (e *ownEngine) image(name string) {
	e.t.Helper()
	text, err := filler()
	if err != nil {
		e.t.Fatal(err)
	}
	var fs bytes.Buffer
	w := tar.NewWriter(&fs)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "filler", Mode: 0o755, Size: int64(len(text))})); err != nil {
		e.t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		e.t.Fatal(err)
	}
	// Something of its own, so that each name is another image.
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "name", Mode: 0o644, Size: int64(len(name))})); err != nil {
		e.t.Fatal(err)
	}
	if _, err := w.Write([]byte(name)); err != nil {
		e.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		e.t.Fatal(err)
	}
	r, err := e.cli.ImageImport(e.t.Context(), client.ImageImportSource{Source: &fs, SourceName: "-"}, name,
		client.ImageImportOptions{Changes: []string{`ENTRYPOINT ["/filler"]`, "VOLUME /data"}})
	if err != nil {
		e.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		e.t.Fatal(err)
	}
	_ = r.Close()
}

// spec is a container of the tests.
type spec struct {
	image   string
	labels  map[string]string
	volumes []string // NAME:/path
	bytes   int      // written into /data
	sleep   time.Duration
	code    int
	restart string
	noStart bool
}

// run makes a container, and starts it. Without sleep it waits until it has ended.
func (e *ownEngine) run(s spec) string {
	e.t.Helper()
	id, err := e.tryRun(s)
	if err != nil {
		e.t.Fatal(err)
	}
	return id
}

func (e *ownEngine) tryRun(s spec) (string, error) {
	ctx := e.t.Context()
	if s.image == "" {
		s.image = "filler"
	}
	r, err := e.cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{Image: s.image, Labels: s.labels, Cmd: []string{"/data", fmt.Sprint(s.bytes), s.sleep.String(), fmt.Sprint(s.code)}},
		HostConfig: &container.HostConfig{NetworkMode: "none", Binds: s.volumes, LogConfig: container.LogConfig{Type: "json-file"},
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(s.restart)}},
	})
	if err != nil || s.noStart {
		return r.ID, err
	}
	if _, err := e.cli.ContainerStart(ctx, r.ID, client.ContainerStartOptions{}); err != nil {
		return r.ID, err
	}
	if s.sleep > 0 {
		return r.ID, nil
	}
	wait := e.cli.ContainerWait(ctx, r.ID, client.ContainerWaitOptions{})
	select {
	case <-wait.Result:
		return r.ID, nil
	case err := <-wait.Error:
		return r.ID, err
	}
}

func (e *ownEngine) createVolume(o client.VolumeCreateOptions) string {
	e.t.Helper()
	r, err := e.cli.VolumeCreate(e.t.Context(), o)
	if err != nil {
		e.t.Fatal(err)
	}
	return r.Volume.Name
}

// volumes lists the names of all volumes that there are.
func (e *ownEngine) volumes() map[string]bool {
	e.t.Helper()
	r, err := e.cli.VolumeList(e.t.Context(), client.VolumeListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	names := map[string]bool{}
	for _, v := range r.Items {
		names[v.Name] = true
	}
	return names
}

// mounts are the volumes of a container.
func (e *ownEngine) mounts(id string) []string {
	e.t.Helper()
	r, err := e.cli.ContainerInspect(e.t.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	var names []string
	for _, m := range r.Container.Mounts {
		names = append(names, m.Name)
	}
	return names
}

func (e *ownEngine) removeContainer(id string) {
	e.t.Helper()
	if _, err := e.cli.ContainerRemove(e.t.Context(), id, client.ContainerRemoveOptions{Force: true}); err != nil {
		e.t.Fatal(err)
	}
}

// describe is for messages.
func describe(r Report) string {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

func (e *ownEngine) signal(s syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}
