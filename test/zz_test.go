package test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

func TestZZ(t *testing.T) {
	path := logPath(t, "app.log")
	r := newRig(t, newOurReceiver, daemonConfig{files: []filesConfig{{path, "plain.app", "json-file"}}})
	l := r.newLog(path, script.TagsOneCall, oracle.Source{Tag: "plain.app"})
	l.open()
	r.daemon.start()
	ours := r.receiver.(*ourReceiver)
	for i := 0; i < 60; i++ {
		up := time.Now().Add(r.between(30*time.Millisecond, []time.Duration{200 * time.Millisecond, 2 * time.Second}[r.rnd.IntN(2)]))
		for time.Now().Before(up) {
			l.writeJSON(1)
			if r.rnd.IntN(5) == 0 {
				l.rotate()
			}
			r.pause(r.between(20*time.Millisecond, 120*time.Millisecond))
		}
		r.daemon.kill()
		exec.Command("rm", "-rf", "/tmp/zzstate.old").Run()
		exec.Command("mv", "/tmp/zzstate", "/tmp/zzstate.old").Run()
		exec.Command("cp", "-a", r.daemon.dir, "/tmp/zzstate").Run()
		exec.Command("sh", "-c", "ls -lai --time-style=full-iso "+path+"* > /tmp/zzstate/ls").Run()
		r.pause(r.between(0, 200*time.Millisecond))
		l.writeJSON(1)
		r.daemon.start()
		r.pause(300 * time.Millisecond)
		ours.mu.Lock()
		n := len(ours.stray)
		ours.mu.Unlock()
		if n > 0 {
			t.Errorf("stray after kill %d at %s", i, time.Now().UTC())
			exec.Command("sh", "-c", "mkdir -p /tmp/zzlogs; cp "+path+"* /tmp/zzlogs/").Run()
			break
		}
	}
	l.done()
	r.finish()
}
