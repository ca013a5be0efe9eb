package agent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder"
)

// A pass over the control socket: `fairlead gc` asks the daemon. There is no engine, which is said and is no failure of the daemon.
func TestGCThroughTheDaemon(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	d := start(t, "")
	d.get(t, "/metrics", 200, `fairlead_cleanup_removed_total{kind="volume"} 0`)
	cfg := DefaultConfig()
	cfg.Control.Socket, cfg.State.Dir = filepath.Join(d.dir, "s"), filepath.Join(d.dir, "elsewhere")
	r, err := GC{Config: cfg, Log: d.log, DryRun: true}.Pass(t.Context())
	if err != nil || !r.DryRun || r.Held == "" || len(r.Errors) != 1 || len(r.Disks) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "state", "cleanup")); err == nil {
		t.Error("a dry run has written something")
	}
	if r, err = (GC{Config: cfg, Log: d.log}).Pass(t.Context()); err != nil || r.DryRun || r.Removed > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "state", "cleanup", "seen.json")); err != nil {
		t.Errorf("the daemon has not remembered: %v", err)
	}
	if _, err := os.Stat(cfg.State.Dir); err == nil {
		t.Error("the pass was not the daemon's")
	}
}

func TestDeliveries(t *testing.T) {
	root := t.TempDir()
	cfg := forwarder.DefaultConfig()
	cfg.Sources.Containers.Root = root
	log := func(id string) string { return filepath.Join(root, id, id+"-json.log") }
	for _, id := range []string{"done", "waits", "unknown", "silent"} {
		text := "x\n"
		if id == "silent" {
			text = ""
		}
		if err := os.MkdirAll(filepath.Dir(log(id)), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{log(id), log(id) + ".1", log(id) + ".2.gz"} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(log(id)+".2.gz", old, old); err != nil {
			t.Fatal(err)
		}
	}
	st := &forwarder.Status{
		Sources:  []forwarder.SourceStatus{{Path: log("done"), Delivered: true}, {Path: log("waits"), LagBytes: 7}},
		Excluded: []forwarder.Excluded{{ContainerID: "excluded"}},
	}
	st.Journal.State = "reading"
	d := deliveries{cfg, func(context.Context) *forwarder.Status { return st }}
	for id, want := range map[string]string{"done": "", "waits": "7 bytes are unread", "unknown": "does not know it", "silent": "", "excluded": "", "gone": ""} {
		ok, why := d.container(t.Context(), id, "")
		if ok != (want == "") || !strings.Contains(why, want) {
			t.Errorf("%s: %v, %q", id, ok, why)
		}
	}
	if ok, why := d.container(t.Context(), "gone", log("done")); ok || !strings.Contains(why, "is sources.containers.root right") {
		t.Errorf("a log in another place: %v, %q", ok, why)
	}
	// Those that were written just now may have lines that nobody has read.
	if logs := d.rotated(t.Context()); len(logs) != 1 || logs[0].Path != log("done")+".2.gz" || logs[0].Bytes != 2 {
		t.Errorf("rotated %+v", logs)
	}
	if ok, why := d.journal(t.Context()); !ok {
		t.Error(why)
	}
	st.Spool.Full = "full"
	if ok, _ := d.journal(t.Context()); ok {
		t.Error("the journal is read though the spool is full")
	}
	st = nil
	if ok, why := d.container(t.Context(), "done", ""); ok || !strings.Contains(why, "does not answer") {
		t.Errorf("nobody answers: %v, %q", ok, why)
	}
	if logs := d.rotated(t.Context()); len(logs) != 0 {
		t.Errorf("nobody answers: %+v", logs)
	}
	if ok, _ := d.journal(t.Context()); ok {
		t.Error("nobody answers, and the journal is read")
	}
	d.cfg.Sources.Containers.Enabled = false
	if ok, _ := d.container(t.Context(), "waits", ""); !ok {
		t.Error("logs that nobody reads are waited for")
	}
}
