package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// nobody is the unprivileged daemon's uid and gid.
const nobody = 65534

// TestFiles is one scenario after another with a plain file as source. Those of a table row get a daemon, a receiver and a folder
// of their own and run side by side.
func TestFiles(t *testing.T) {
	tests := []struct {
		name string
		run  func(*rig, *logFile)
		late bool   // the scenario opens the file and starts the daemon itself
		uid  uint32 // of the daemon
	}{
		{name: "rename", run: func(r *rig, l *logFile) {
			for range 12 {
				l.write(1 + r.rnd.IntN(20))
				l.rotate()
				l.write(1)
				r.pause(r.between(0, 300*time.Millisecond))
			}
		}},
		{name: "rename and kills", run: func(r *rig, l *logFile) {
			for range 8 {
				l.write(1 + r.rnd.IntN(20))
				r.pause(r.between(0, 200*time.Millisecond))
				l.rotate()
				l.write(1)
				r.killDaemon(r.between(0, 100*time.Millisecond))
			}
		}},
		{name: "rename inside a trace", run: func(r *rig, l *logFile) {
			for range 4 {
				writes := l.next()
				for i, w := range writes {
					if i == len(writes)/2 {
						l.rotate()
					}
					l.put(w)
				}
				r.pause(200 * time.Millisecond)
			}
		}},
		{name: "late writes after a rename", run: func(r *rig, l *logFile) {
			for range 4 {
				l.write(5)
				if err := os.Rename(l.path, l.path+".1"); err != nil {
					r.t.Fatal(err)
				}
				if err := os.WriteFile(l.path, nil, 0o644); err != nil {
					r.t.Fatal(err)
				}
				r.pause(r.between(0, 500*time.Millisecond))
				l.write(5) // into what is .1 by now
				r.pause(r.between(0, 500*time.Millisecond))
				l.open()
				l.write(5)
			}
		}},
		{name: "rename while down", run: func(r *rig, l *logFile) {
			l.write(50)
			r.arrived(l)
			r.daemon.kill()
			r.faults++
			for range 5 {
				l.write(20)
				l.rotate()
			}
			l.write(3)
			r.daemon.start()
		}},
		{name: "gzip while down", run: func(r *rig, l *logFile) {
			l.write(50)
			r.arrived(l)
			l.write(20)
			r.pause(r.between(0, 100*time.Millisecond)) // some of it read, or none
			r.daemon.kill()
			r.faults++
			for range 4 {
				l.write(20)
				l.rotate()
				l.compress()
			}
			l.write(3)
			r.daemon.start()
		}},
		{name: "gzip before the first start", late: true, run: func(r *rig, l *logFile) {
			l.open()
			for range 4 {
				l.write(10)
				l.rotate()
				l.compress()
			}
			l.write(3)
			r.daemon.start()
		}},
		{name: "copytruncate", run: func(r *rig, l *logFile) {
			for range 5 {
				l.write(1 + r.rnd.IntN(30))
				r.arrived(l) // what is not read when it is truncated would be gone
				l.copyTruncate()
			}
			l.write(40)
		}},
		{name: "copytruncate while down", run: func(r *rig, l *logFile) {
			l.write(30)
			r.arrived(l)
			r.daemon.kill()
			r.faults++
			l.write(30)
			l.copyTruncate()
			l.write(2) // shorter than the offset
			r.daemon.start()
			r.arrived(l)
			r.daemon.kill()
			r.faults++
			l.copyTruncate()
			l.write(60) // longer than the offset
			r.daemon.start()
		}},
		{name: "partial last line", run: func(r *rig, l *logFile) {
			for range 6 {
				for _, u := range l.nextUnits() {
					if len(u.Writes) == 1 && !strings.Contains(u.Events[0], "\n") && r.rnd.IntN(12) == 0 {
						at := 1 + r.rnd.IntN(len(u.Writes[0])-1)
						l.put(u.Writes[0][:at])
						r.pause(1500 * time.Millisecond) // longer than fold.wait
						if r.rnd.IntN(3) == 0 {
							r.killDaemon(0)
						}
						u.Writes[0] = u.Writes[0][at:]
					}
					for _, w := range u.Writes {
						l.put(w)
					}
				}
			}
			// The end of a file that is rotated away is the end of its last line.
			writes := l.next()
			last := len(writes) - 1
			for _, w := range writes[:last] {
				l.put(w)
			}
			l.put(strings.TrimSuffix(writes[last], "\n"))
			l.rotate()
			l.write(2)
		}},
		{name: "deleted", run: func(r *rig, l *logFile) {
			l.write(10)
			r.arrived(l)
			l.write(30)
			if err := os.Remove(l.path); err != nil {
				r.t.Fatal(err)
			}
			r.arrived(l)
			l.open()
			l.write(5)
		}},
		{name: "inode given to another file", run: func(r *rig, l *logFile) {
			reused := 0
			for i := range 6 {
				l.write(5 + i)
				r.arrived(l)
				down := i%2 == 1
				if down {
					r.daemon.kill()
					r.faults++
				}
				if err := l.file.Close(); err != nil { // an open file keeps its inode
					r.t.Fatal(err)
				}
				before := inode(r.t, l.path)
				if err := os.Remove(l.path); err != nil {
					r.t.Fatal(err)
				}
				l.open()
				if inode(r.t, l.path) == before {
					reused++
				}
				l.write(8 + i) // longer than what was read of its predecessor
				if down {
					r.daemon.start()
				}
			}
			r.t.Logf("the inode was the same %d of 6 times", reused)
		}},
		{name: "symlink", late: true, run: func(r *rig, l *logFile) {
			// The path is a link; the program moves it on to new files.
			real := l.path
			for i := range 5 {
				target := fmt.Sprintf("%s-real-%d", real, i)
				l.path = target
				l.open()
				if err := errors.Join(os.Symlink(target, real+".new"), os.Rename(real+".new", real)); err != nil {
					r.t.Fatal(err)
				}
				if i == 0 {
					r.daemon.start()
				}
				l.write(10)
				r.pause(r.between(300*time.Millisecond, 600*time.Millisecond))
			}
		}},
		{name: "permission lost and regained", uid: nobody, run: func(r *rig, l *logFile) {
			l.write(5)
			r.arrived(l)
			l.perm = 0o600 // root's: closed to the daemon
			l.rotate()
			l.write(20)
			r.pause(time.Second)
			if got := r.oracle.Arrived(l.stream); got != 5*script.GroupEvents {
				r.t.Errorf("%d events arrived from a file nobody may read", got)
			}
			if err := os.Chmod(l.path, 0o644); err != nil {
				r.t.Fatal(err)
			}
			r.arrived(l)
			if err := os.Chmod(l.path, 0); err != nil { // what is open stays open
				r.t.Fatal(err)
			}
			l.write(5)
			r.pause(200 * time.Millisecond)
			r.killDaemon(0) // and now it is not
			r.pause(500 * time.Millisecond)
			l.write(5)
			if err := os.Chmod(l.path, 0o644); err != nil {
				r.t.Fatal(err)
			}
		}},
		{name: "folder comes later", late: true, run: func(r *rig, l *logFile) {
			dir := filepath.Dir(l.path)
			if err := os.RemoveAll(dir); err != nil {
				r.t.Fatal(err)
			}
			r.daemon.start()
			r.daemon.waitMetric(2*time.Minute, "fairlead_tail_files", func(float64) bool { return true })
			r.pause(300 * time.Millisecond)
			if err := os.Mkdir(dir, 0o755); err != nil {
				r.t.Fatal(err)
			}
			l.open()
			l.write(5)
			r.arrived(l)
			// And goes, and comes again.
			if err := os.RemoveAll(dir); err != nil {
				r.t.Fatal(err)
			}
			r.pause(300 * time.Millisecond)
			if err := os.Mkdir(dir, 0o755); err != nil {
				r.t.Fatal(err)
			}
			l.open()
			l.write(5)
		}},
		{name: "reload and restart", run: func(r *rig, l *logFile) {
			for range 4 {
				l.write(20)
				r.pause(r.between(0, 300*time.Millisecond))
				r.daemon.signal(syscall.SIGHUP)
				l.write(5)
				r.pause(r.between(0, 300*time.Millisecond))
				r.daemon.stop()
				r.daemon.start()
				r.pause(100 * time.Millisecond)
			}
		}},
	}
	for i, tt := range tests {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			path := logPath(t, "app.log")
			r := newRig(t, newOurReceiver, daemonConfig{uid: tt.uid, files: []filesConfig{{path, "plain.app", "plain"}}})
			l := r.newLog(path, script.Layouts[i%3], oracle.Source{Tag: "plain.app"})
			if !tt.late {
				l.open()
				r.daemon.start()
				r.daemon.waitMetric(2*time.Minute, "fairlead_tail_files", func(float64) bool { return true })
			}
			tt.run(r, l)
			l.done()
			r.finish()
		})
	}
}
