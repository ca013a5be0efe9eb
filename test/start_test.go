package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// TestStartFails has fairlead refuse to start, soon, with an exit code and a reason that names the path.
func TestStartFails(t *testing.T) {
	tests := []struct {
		name    string
		uid     uint32
		prepare func(t *testing.T, d *daemon)
		reason  string
	}{
		{"the state folder is closed to it", nobody, func(t *testing.T, d *daemon) {
			if err := os.Mkdir(filepath.Join(d.dir, "state"), 0o755); err != nil { // root's
				t.Fatal(err)
			}
		}, "permission denied"},
		{"a file stands where the spool should be", 0, func(t *testing.T, d *daemon) {
			if err := errors.Join(os.Mkdir(filepath.Join(d.dir, "state"), 0o700), os.WriteFile(filepath.Join(d.dir, "state", "spool"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "not a directory"},
		{"another daemon has the spool", 0, func(t *testing.T, d *daemon) {
			d.start()
			d.waitMetric(2*time.Minute, "fairlead_spool_segments", func(float64) bool { return true })
		}, "spool"},
	}
	for _, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			d := newDaemon(t, daemonConfig{to: "127.0.0.1:9", uid: tt.uid})
			tt.prepare(t, d)
			cmd := exec.Command(bed.fairlead, "run", "--config", d.config)
			// Only the spool is in dispute: a port in use is another reason.
			cmd.Env = append(lab.Environment(), "FAIRLEAD_HEALTH_LISTEN="+freeAddr(t), "FAIRLEAD_CONTROL_SOCKET="+filepath.Join(d.dir, "second.sock"))
			// No Pdeathsig: the thread that starts this may be one that ends with another process.
			cmd.SysProcAttr = &syscall.SysProcAttr{}
			if tt.uid != 0 {
				cmd.SysProcAttr.Credential = &syscall.Credential{Uid: tt.uid, Gid: tt.uid}
			}
			var stderr strings.Builder
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			err := cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d (%v), want 1", code, err)
			}
			for _, want := range []string{tt.reason, filepath.Join(d.dir, "state")} {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr.String())
				}
			}
		})
	}
}

// TestDiskFull fills the disk of the spool: fairlead pauses reading and says so, and goes on when there is room.
func TestDiskFull(t *testing.T) {
	path := logPath(t, "app.log")
	r := newRig(t, newOurReceiver, daemonConfig{spool: "min_free: 1MiB", files: []filesConfig{{path, "plain.app", "plain"}}})
	state := filepath.Join(r.daemon.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=40m,mode=0700"); err != nil {
		t.Fatalf("mount a small disk for the spool: %v", err)
	}
	t.Cleanup(func() {
		r.daemon.kill()
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	// Something else fills most of it, and later goes away.
	other := filepath.Join(state, "other")
	if err := os.WriteFile(other, make([]byte, 30<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	r.daemon.start()
	r.receiver.kill()
	r.faults++
	l := r.newLog(path, script.TagsOneCall, oracle.Source{Tag: "plain.app"})
	l.open()
	l.write(5000) // some 18 MB
	r.daemon.waitMetric(2*time.Minute, "fairlead_spool_full_seconds_total", func(v float64) bool { return v > 0 })
	if err := poll(t.Context(), time.Minute, func() bool { return strings.Contains(r.daemon.logTail(100), "full") }); err != nil {
		t.Errorf("the log does not say that the spool is full: %v", err)
	}
	r.killDaemon(0)
	r.pause(time.Second)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	r.receiver.start()
	l.done()
	r.finish()
}

// TestNULs reads what a power loss leaves in a json-file: runs of zero bytes and cut lines between whole ones.
func TestNULs(t *testing.T) {
	path := logPath(t, "damaged-json.log")
	r := newRig(t, newOurReceiver, daemonConfig{files: []filesConfig{{path, "plain.app", "json-file"}}})
	l := r.newLog(path, script.TagsOneCall, oracle.Source{Tag: "plain.app", Debris: true})
	l.open()
	r.daemon.start()
	for i := range 8 {
		l.writeJSON(1)
		r.pause(200 * time.Millisecond)
		l.put([]string{
			strings.Repeat("\x00", 5000),                          // and the next record in the same line
			strings.Repeat("\x00", 300) + "\n",                    // a line of nothing else
			`{"log":"cut off he` + "\n",                           // a record without its end
			`{"log":"cut off he` + strings.Repeat("\x00", 70_000), // the same, and zero bytes up to the next record
			"not json at all\n",
			"\n",
			`{"log":"no time\n","stream":"stdout"}` + "\n",
			`{"stream":"stdout","time":"2026-11-21T09:11:33.9Z"}` + "\n",
		}[i])
		// A good record follows at a distance that no fold bridges.
		r.pause(1200 * time.Millisecond)
	}
	l.writeJSON(2)
	l.done()
	r.finish()
}
