package forwarder

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// journald is a real systemd-journald of its own, with its own sockets and files: an instance for a log namespace.
type journald struct {
	t    *testing.T
	name string
	dir  string // of its journal files
	run  string // of its sockets
	cmd  *exec.Cmd
}

func newJournald(t *testing.T) *journald {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a systemd-journald of its own needs root")
	}
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("no journalctl: install systemd (test/setup.sh does)")
	}
	program := ""
	for _, p := range []string{"/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"} {
		if _, err := os.Stat(p); err == nil {
			program = p
		}
	}
	id, err := os.ReadFile("/etc/machine-id")
	if program == "" || err != nil {
		t.Skip("no systemd-journald or no /etc/machine-id: install systemd (test/setup.sh does)")
	}
	name := fmt.Sprintf("fairlead-hostlogs-%d-%d", os.Getpid(), time.Now().UnixNano()%1e9)
	j := &journald{t: t, name: name, run: "/run/systemd/journal." + name}
	dirs := []string{"/var/log/journal", "/run/log/journal"}
	t.Cleanup(func() {
		if j.cmd != nil {
			_ = j.cmd.Process.Kill()
			_ = j.cmd.Wait()
		}
		_ = os.RemoveAll(j.run)
		for _, d := range dirs {
			_ = os.RemoveAll(filepath.Join(d, strings.TrimSpace(string(id))+"."+name))
		}
	})
	if err := os.MkdirAll(j.run, 0o755); err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(program, name)
	cmd.Env = []string{"RUNTIME_DIRECTORY=" + j.run, "PATH=" + os.Getenv("PATH")}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	j.cmd = cmd
	for deadline := time.Now().Add(time.Minute); j.dir == ""; time.Sleep(10 * time.Millisecond) {
		for _, d := range dirs {
			dir := filepath.Join(d, strings.TrimSpace(string(id))+"."+name)
			if _, err := os.Stat(filepath.Join(dir, "system.journal")); err == nil {
				j.dir = dir
			}
		}
		if time.Now().After(deadline) {
			t.Skipf("systemd-journald makes no journal here: %s", said.String())
		}
	}
	return j
}

// service is a process whose standard output is that of a service. journald goes by the process, so each is one of its own.
type service struct {
	t  *testing.T
	in io.Writer
}

func (j *journald) service(unit, ident string) *service {
	j.t.Helper()
	for range 20 {
		if s := j.process(unit, ident); s != nil {
			return s
		}
	}
	j.t.Skip("journald does not take the processes of this test for services")
	return nil
}

// process starts a process of a service; nil if journald forgot the service at once, which it does now and then: to know it for good,
// the process would have to be in a control group of that name.
func (j *journald) process(unit, ident string) *service {
	j.t.Helper()
	conn, err := net.Dial("unix", j.run+"/stdout")
	if err != nil {
		j.t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "%s\n%s\n6\n1\n0\n0\n0\n", ident, unit)
	out, err := conn.(*net.UnixConn).File()
	if err != nil {
		j.t.Fatal(err)
	}
	defer out.Close()
	cat := exec.Command("cat")
	cat.Stdout = out
	in, err := cat.StdinPipe()
	if err == nil {
		err = cat.Start()
	}
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(func() {
		_ = in.Close()
		_ = cat.Wait()
	})
	s := &service{j.t, in}
	probe := fmt.Sprintf("%s%d", probes, cat.Process.Pid)
	s.write(probe)
	j.has(probe)
	found, _ := exec.Command("journalctl", "--directory="+j.dir, "-q", "--no-pager", "-o", "cat", "MESSAGE="+probe, "_SYSTEMD_UNIT="+unit).Output()
	if len(found) == 0 {
		return nil
	}
	return s
}

// probes begins lines that are not part of a test.
const probes = "probe-"

func (s *service) write(lines ...string) {
	s.t.Helper()
	if _, err := s.in.Write([]byte(strings.Join(lines, "\n") + "\n")); err != nil {
		s.t.Fatal(err)
	}
}

// unattributed says whether journald has lines of a service without the service's name. It keeps the name that a stream begins with only
// as long as it remembers the process, because the processes of the test are in no control group of a unit. A test cannot judge
// what becomes of such lines: nobody asked for them.
func (j *journald) unattributed() bool {
	out, _ := exec.Command("journalctl", "--directory="+j.dir, "-q", "--no-pager", "-o", "export", "_TRANSPORT=stdout").Output()
	for entry := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n\n") {
		if strings.Contains(entry, "__CURSOR=") && !strings.Contains(entry, "\nMESSAGE="+probes) && !strings.Contains(entry, "\n_SYSTEMD_UNIT=") {
			return true
		}
	}
	return false
}

// judge ends a test that is about to fail, if it is journald that failed.
func (j *journald) judge() {
	j.t.Helper()
	if j.unattributed() {
		j.t.Skip("journald lost the unit of a stream: it does not know the processes of this test as services")
	}
}

// send sends an entry of journald's own protocol.
func (j *journald) send(fields ...string) {
	j.t.Helper()
	conn, err := net.Dial("unixgram", j.run+"/socket")
	if err != nil {
		j.t.Fatal(err)
	}
	defer conn.Close()
	var b []byte
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		b = append(b, key+"\n"...)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
		b = append(b, value+"\n"...)
	}
	if _, err := conn.Write(b); err != nil {
		j.t.Fatal(err)
	}
}

// has waits until the journal holds a text: what is written to a socket is in it a moment later.
func (j *journald) has(text string) {
	j.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, _ := exec.Command("journalctl", "--directory="+j.dir, "-q", "--no-pager", "-o", "cat", "--all").Output()
		if bytes.Contains(out, []byte(text)) {
			return
		}
		if time.Now().After(deadline) {
			j.t.Fatalf("%q did not come into the journal:\n%s", text, out)
		}
	}
}

func (j *journald) files() []string {
	found, _ := filepath.Glob(filepath.Join(j.dir, "*.journal"))
	return found
}

// rotate has journald begin a new file.
func (j *journald) rotate() {
	j.t.Helper()
	before := len(j.files())
	if err := j.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		j.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(j.files()) <= before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			j.t.Fatal("journald does not rotate")
		}
	}
}

// vacuum deletes all files but the newest.
func (j *journald) vacuum() {
	j.t.Helper()
	for _, f := range j.files() {
		if filepath.Base(f) != "system.journal" {
			if err := os.Remove(f); err != nil {
				j.t.Fatal(err)
			}
		}
	}
}

// children are the pids of those journalctl that this process runs on the journal.
func (j *journald) children() []int {
	var pids []int
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range found {
		line, err := os.ReadFile(path)
		var pid int
		if err == nil && bytes.HasPrefix(line, []byte("journalctl\x00")) && bytes.Contains(line, []byte("--follow")) && bytes.Contains(line, []byte(j.name)) {
			_, _ = fmt.Sscanf(path, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// value is what a counter stands at.
func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
