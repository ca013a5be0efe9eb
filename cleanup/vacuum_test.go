package cleanup

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// archivedJournal has a systemd-journald of a log namespace of its own write an entry and begin another file. It answers the text of the former.
func archivedJournal(t *testing.T) []byte {
	t.Helper()
	const program = "/usr/lib/systemd/systemd-journald"
	id, err := os.ReadFile("/etc/machine-id")
	if _, perr := os.Stat(program); os.Getuid() != 0 || err != nil || perr != nil {
		t.Skip("needs root, systemd-journald and a machine id (test/setup.sh installs them)")
	}
	name := fmt.Sprintf("fairlead-vacuum-%d", os.Getpid())
	run := "/run/systemd/journal." + name
	dirs := []string{"/var/log/journal", "/run/log/journal"}
	for i := range dirs {
		dirs[i] = filepath.Join(dirs[i], strings.TrimSpace(string(id))+"."+name)
	}
	cmd := exec.Command(program, name)
	cmd.Env = []string{"RUNTIME_DIRECTORY=" + run}
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Skip(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for _, dir := range append(dirs, run) {
			_ = os.RemoveAll(dir)
		}
	}()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		conn, err := net.Dial("unixgram", run+"/socket")
		if err != nil {
			continue
		}
		_, _ = conn.Write([]byte("MESSAGE=an entry\n"))
		_ = conn.Close()
		_ = cmd.Process.Signal(syscall.SIGUSR2) // begin another file
		for _, dir := range dirs {
			for file := range archived(dir) {
				if text, err := os.ReadFile(file); err == nil {
					return text
				}
			}
		}
	}
	t.Skip("systemd-journald makes no journal here")
	return nil
}

// Of the journal go the archived files that are old, and each byte is counted; what is young stays, and so does what is written.
func TestVacuum(t *testing.T) {
	text := archivedJournal(t)
	dir := t.TempDir()
	write := func(name string, at time.Time) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := func(n int, at time.Time) string {
		return write(fmt.Sprintf("system@%032x-%016x-%016x.journal", 1, n, at.UnixMicro()), at)
	}
	now := time.Now()
	old, young, active := file(1, now.Add(-48*time.Hour)), file(2, now.Add(-time.Hour)), write("system.journal", now.Add(-48*time.Hour))
	want := archived(dir)[old]
	c, _ := newCleaner(t, DefaultConfig(), Host{Journal: dir})
	if err := os.MkdirAll(c.state.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	item := &plan.Item{Kind: plan.KindJournal, ID: "journal"}
	if err := c.vacuum(t.Context(), item); err != nil || item.Bytes != want || want == 0 {
		t.Errorf("%v, %d bytes, want %d", err, item.Bytes, want)
	}
	for path, there := range map[string]bool{old: false, young: true, active: true} {
		if _, err := os.Stat(path); (err == nil) != there {
			t.Errorf("%s: %v, want it there: %v", path, err, there)
		}
	}
	if v, ok := asVerdict(c.vacuum(t.Context(), item)); !ok || v.action != plan.Keep {
		t.Errorf("again: %+v", v)
	}
	if h, err := History(c.host.StateDir); err != nil || len(h) != 1 || h[0].Bytes != want {
		t.Errorf("history %+v, %v", h, err)
	}
}
