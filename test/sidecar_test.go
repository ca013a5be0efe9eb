package test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/docker"
	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// The volume of the sidecar test, and what of it may be taken.
const (
	volumeBytes = 30 << 20
	volumeLimit = 20 << 20
)

// sharedVolume mounts a small disk that belongs to nobody in particular.
func sharedVolume(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(bed.dir, "v")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0777", volumeBytes), "fairlead-test", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount a tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// TestSidecar is a task without Docker's logs, ECS or root: a program that writes to a shared volume and rotates its log, and fairlead
// beside it, in a container with a read-only root and no capabilities. More than the volume holds, several times over, goes through it while fairlead
// is killed and the receiver is away now and then.
func TestSidecar(t *testing.T) {
	r := newRig(t, newOurReceiver, daemonConfig{})
	volume := sharedVolume(t)
	config := fmt.Sprintf(`
forward: {to: [%q], ack_timeout: 3s, connect_timeout: 2s}
state: {dir: /logs/.fairlead}
spool: {min_free: 1MiB}
control: {socket: /logs/.fairlead/ctl.sock}
health: {listen: %q}
sources:
  containers: {enabled: false}
  host: {enabled: false}
  journal: {units: []}
  listen: {tcp: "", unix: ""}
  files: [{path: "/logs/*.log", tag: app, max_bytes: %dMiB, delete_acked: true}]
`, r.receiver.addr(), r.daemon.health, volumeLimit>>20)
	if err := os.WriteFile(filepath.Join(volume, "fairlead.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	user := fmt.Sprintf("%d:%d", nobody, nobody)
	stream := script.Stream{Writer: writerName(t, "app"), Name: 'o', Layout: script.TagsOneCall}
	r.oracle.Expect(stream, oracle.Source{Tag: "app", Fields: map[string]string{"source": "/logs/app.log"}, NoTimes: true})
	sidecar := r.create("sidecar", docker.Spec{Entrypoint: []string{"/fairlead"}, Args: []string{"run", "--log-level", "debug", "--config", "/logs/fairlead.yaml"},
		Binds: []string{bed.fairlead + ":/fairlead:ro", volume + ":/logs"}, User: user, Bare: true})
	app := r.create("app", docker.Spec{Args: []string{"-writer", stream.Writer, "-rate", "700000", "-file", "/logs/app.log", "-rotate", "1000000",
		"-progress", "/logs/progress"}, Binds: []string{volume + ":/logs"}, User: user, Bare: true})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(bed.engine.Start(ctx, sidecar))
	must(bed.engine.Start(ctx, app))

	highest := int64(0)
	watch := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			var st syscall.Statfs_t
			must(syscall.Statfs(volume, &st))
			highest = max(highest, int64(st.Blocks-st.Bfree)*st.Bsize)
		}
	}
	for range 3 {
		watch(r.between(2*time.Second, 3*time.Second))
		r.receiver.kill()
		r.faults++
		watch(500 * time.Millisecond)
		r.receiver.start()
		watch(r.between(2*time.Second, 3*time.Second))
		must(bed.engine.Kill(ctx, sidecar))
		r.faults++
		must(bed.engine.Start(ctx, sidecar))
	}
	watch(2 * time.Second)
	if err := bed.engine.Stop(ctx, app); err != nil { // it ended before
		t.Error(err)
	}
	if code, err := bed.engine.Wait(ctx, app); err != nil || code != 0 {
		out, _ := bed.engine.Logs(ctx, app)
		t.Fatalf("the program ended with %d, %v: %s", code, err, out)
	}
	progress, err := os.ReadFile(filepath.Join(volume, "progress"))
	if err != nil || len(progress) < 8 {
		t.Fatal(err, progress)
	}
	r.oracle.Must(stream, int(binary.LittleEndian.Uint64(progress))*script.GroupEvents)
	if err := r.delivered(); err != nil {
		out, _ := bed.engine.Logs(t.Context(), sidecar)
		t.Errorf("not everything arrived: %v\n%s\nstatus: %s", err, out, r.daemon.status())
	}
	r.balanced()
	for _, p := range r.oracle.Problems() {
		t.Error(p)
	}
	err = poll(ctx, time.Minute, func() bool {
		left, _ := filepath.Glob(filepath.Join(volume, "app.log.*"))
		return len(left) == 0
	})
	if err != nil {
		left, _ := filepath.Glob(filepath.Join(volume, "app.log.*"))
		t.Errorf("delivered files stay: %s", strings.Join(left, " "))
	}
	got := r.oracle.Totals()
	t.Logf("events %d, traces %d, %d MiB of %d taken at most", got.Events, got.Traces, highest>>20, volumeLimit>>20)
	if highest > volumeLimit+4<<20 { // what is written between two looks
		t.Errorf("%d bytes of the volume were taken, want %d", highest, volumeLimit)
	}
	if got.Events < 15_000 {
		t.Errorf("%d events are no test", got.Events)
	}
	must(bed.engine.Stop(ctx, sidecar))
	if code, err := bed.engine.Wait(ctx, sidecar); err != nil || code != 0 {
		t.Errorf("fairlead ended with %d, %v", code, err)
	}
}

// create makes a container that is no writer of the oracle's.
func (r *rig) create(part string, spec docker.Spec) (id string) {
	r.t.Helper()
	spec.Image, spec.Name = bed.image, writerName(r.t, part)
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	id, err := bed.engine.Create(ctx, spec)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := docker.IgnoreGone(bed.engine.Remove(ctx, id)); err != nil {
			r.t.Error(err)
		}
	})
	return id
}
