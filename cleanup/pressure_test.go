package cleanup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// usedPart is how full the small disk is.
func (e *ownEngine) usedPart() float64 {
	e.t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(e.disk, &fs); err != nil {
		e.t.Fatal(err)
	}
	return float64(fs.Blocks-fs.Bfree) / float64(fs.Blocks-fs.Bfree+fs.Bavail)
}

func taskLabels(arn, family string) map[string]string {
	return map[string]string{"com.amazonaws.ecs.task-arn": arn, "com.amazonaws.ecs.task-definition-family": family, "com.amazonaws.ecs.task-definition-version": "7"}
}

// TestCrashLoop has a service fail every 30 s and leave 6 MiB each time on a disk of 96 MiB, which is full after seven minutes. Services that
// start meanwhile keep what they have.
func TestCrashLoop(t *testing.T) {
	e := newEngine(t, 96)
	e.image("filler")
	precious := e.createVolume(client.VolumeCreateOptions{Name: "pgdata"})
	cfg := DefaultConfig()
	cfg.Interval = 3 * time.Minute
	var unacked atomic.Value
	unacked.Store("")
	tasks := plan.ECS{Present: true, Answers: true}
	c, cl := newCleaner(t, cfg, Host{Docker: e.host(), ECS: ecsOf(&tasks), Delivered: func(_ context.Context, id, path string) (bool, string) {
		if filepath.Base(path) != id+"-json.log" {
			t.Errorf("the log of %s is %q", id, path)
		}
		return id != unacked.Load(), "5 lines wait"
	}})
	interval := int(cfg.Interval / (30 * time.Second))
	above, worst := 0, 0.0
	var failed, services []string
	for i := range 26 {
		failed = append(failed, e.run(spec{bytes: 6 << 20, code: 1, labels: taskLabels(fmt.Sprint("arn:", i), "broken")}))
		if i == 2 {
			unacked.Store(failed[2])
		}
		if i%10 == 5 {
			services = append(services, e.run(spec{bytes: 1 << 10, sleep: time.Hour, labels: taskLabels(fmt.Sprint("arn:web", i), "web")}))
		}
		cl.Up += 30 * time.Second
		// What Run does: a pass each interval, and one soon where the disk is above its mark.
		w := plan.World{Disks: c.gauge.sample(c.now())}
		if i%interval == interval-1 || c.pressed(&w) {
			r := pass(t, c, false)
			for _, f := range r.Failing {
				if f.Family != "broken" {
					t.Errorf("%s is named as a culprit", f.Family)
				}
			}
		}
		worst = max(worst, e.usedPart())
		if above++; e.usedPart() < float64(cfg.High)/100 {
			above = 0
		}
		if above > interval {
			t.Fatalf("above the high mark for %d rounds, at %.0f%%", above, 100*e.usedPart())
		}
	}
	t.Logf("%.0f%% at worst, %.0f%% at the end", 100*worst, 100*e.usedPart())
	// When it fails no more, what is kept of it stays for a while, pressure or not.
	c.policy.High, c.policy.Low = 0.01, 0.01
	for range 3 {
		pass(t, c, false)
	}
	left, err := c.docker.containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, l := range left {
		there[l.ID] = true
	}
	if !there[unacked.Load().(string)] {
		t.Error("one whose log is not delivered is gone")
	}
	kept := 0 // the engine tells their age in whole seconds, so which are the newest is not for sure
	for _, id := range failed[len(failed)-10:] {
		if there[id] {
			kept++
		}
	}
	if kept != cfg.Pressure.KeepFailed {
		t.Errorf("%d are kept, want the newest %d", kept, cfg.Pressure.KeepFailed)
	}
	if len(left) > 12 {
		t.Errorf("%d containers are left", len(left))
	}
	volumes := e.volumes()
	for _, id := range services {
		for _, name := range e.mounts(id) {
			if !volumes[name] {
				t.Errorf("a service has lost its volume %s", name)
			}
		}
	}
	if !volumes[precious] {
		t.Error("the named volume is gone")
	}
	if s := c.Status(); len(s.Failing) != 1 || s.Failing[0].Exit != 1 || s.ReclaimedBytes < 40<<20 {
		t.Errorf("status %+v", s)
	}
}

// TestLadder fills a disk with one thing of each step, and looks at what goes in which order, and what stays.
func TestLadder(t *testing.T) {
	e := newEngine(t, 256)
	for _, name := range []string{"filler", "local", "registry.example.com/app:1", "stopped"} {
		e.image(name)
	}
	id := func(ref string) string {
		r, err := e.cli.ImageInspect(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	dangling := id("local")
	e.image("local") // the same again is the same image, so its content must differ
	if id("local") == dangling {
		t.Log("the import made the same image")
	}
	stopped := e.run(spec{image: "stopped", bytes: 1 << 10, code: 0})
	wanted := e.run(spec{bytes: 1 << 10, restart: "always", sleep: time.Hour})
	if _, err := e.cli.ContainerStop(t.Context(), wanted, client.ContainerStopOptions{}); err != nil {
		t.Fatal(err)
	}
	composed := e.run(spec{bytes: 1, labels: map[string]string{"com.docker.compose.project": "x"}})
	never := e.run(spec{noStart: true})
	volume := e.createVolume(client.VolumeCreateOptions{})
	logs := t.TempDir()
	rotated := filepath.Join(logs, "x.log.1")
	if err := os.WriteFile(rotated, bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.High, cfg.Low = 2, 1 // all of the ladder is gone up
	c, cl := newCleaner(t, cfg, Host{Docker: e.host(), Logs: func(context.Context) []plan.Log {
		info, err := os.Stat(rotated)
		if err != nil {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		return []plan.Log{{Path: rotated, Dev: st.Dev, Ino: st.Ino, Bytes: 1000}}
	}})
	first := pass(t, c, false)
	if kinds := removedKinds(first); strings.Join(kinds, " ") != "log" {
		t.Errorf("at first %v go: %s", kinds, describe(first))
	}
	cl.Up += time.Hour + time.Minute
	second := pass(t, c, false)
	there := e.volumes()
	if there[volume] {
		t.Error("the volume stays under pressure")
	}
	left, err := c.docker.containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, l := range left {
		ids[l.ID] = true
	}
	for what, want := range map[string]bool{stopped: false, wanted: true, composed: true, never: true} {
		if ids[what] != want {
			t.Errorf("container %s: there %v, want %v\n%s", what, ids[what], want, describe(second))
		}
	}
	images, err := c.docker.images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range images {
		if len(i.Tags) == 0 {
			t.Errorf("an image without a tag stays: %+v", i)
		}
	}
	if len(images) != 4 { // none of them has a registry to come from again
		t.Errorf("%d images are left: %+v", len(images), images)
	}
}

// A report is read by fairlead gc as the daemon wrote it.
func TestReportAsJSON(t *testing.T) {
	seconds := 60.5
	r := Report{Time: time.Unix(5, 0).UTC(), Errors: []string{"x"}, Disks: []DiskStatus{{Mount: "/", Roles: []string{"root"}, UntilFullSeconds: &seconds}}, Plan: &plan.Plan{
		Items:   []plan.Item{{Kind: plan.KindVolume, ID: "a", Action: plan.Wait, Reason: "why", Step: plan.StepVolumes}},
		Failing: []plan.Culprit{{Family: "web", Tries: 4}}, Pressure: []plan.Pressed{{Mount: "/", Level: plan.High, Used: 0.9}}}}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v\n%s", got, err, text)
	}
}

func removedKinds(r Report) []string {
	var kinds []string
	for i := range r.Items {
		if r.Items[i].Action == plan.Remove {
			kinds = append(kinds, string(r.Items[i].Kind))
		}
	}
	return kinds
}

// What another file has come to the name of is put back.
func TestRemoveLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.1")
	write := func(text string) plan.Log {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		return plan.Log{Path: path, Dev: st.Dev, Ino: st.Ino, Bytes: info.Size()}
	}
	l := write("delivered")
	if err := os.Rename(path, path+".2"); err != nil { // it is rotated on, and the next has its name
		t.Fatal(err)
	}
	next := write("not delivered yet")
	if v, ok := asVerdict(removeLog(&l)); !ok || v.action != plan.Keep {
		t.Errorf("verdict %+v", v)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "not delivered yet" {
		t.Errorf("%q, %v", text, err)
	}
	if err := removeLog(&next); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}
