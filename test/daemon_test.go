package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// daemon is one fairlead, by its configuration and state; its process comes and goes.
type daemon struct {
	t       *testing.T
	dir     string // everything of it is below
	uid     uint32 // 0: as the test
	health  string // host:port
	config  string // path
	logPath string

	proc *lab.Process
}

// daemonConfig is what a test may choose.
type daemonConfig struct {
	to         string // address of the receiver
	containers bool
	names      string // more keys of the containers section, after a comma
	files      []filesConfig
	spool      string // keys of the spool section, as flow YAML
	forward    string // more keys of the forward section, after a comma
	uid        uint32
	listen     string // host:port for Forward clients; the unix socket is fluent.sock in the daemon's folder
	more       string // whole lines of YAML
}

type filesConfig struct{ path, tag, format string }

// yaml is the configuration file. What later versions switch on by default is off.
func (c daemonConfig) yaml(dir, health string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "forward: {to: [%q], ack_timeout: 3s, connect_timeout: 2s%s}\n", c.to, c.forward)
	fmt.Fprintf(&b, "state: {dir: %s/state}\n", dir)
	fmt.Fprintf(&b, "spool: {%s}\n", c.spool)
	fmt.Fprintf(&b, "control: {socket: %s/ctl.sock}\n", dir)
	fmt.Fprintf(&b, "health: {listen: %q}\n", health)
	fmt.Fprintf(&b, "drain: {enabled: false}\n")
	fmt.Fprintf(&b, "sources:\n  containers: {enabled: %v, root: %s%s}\n", c.containers, bed.logs, c.names)
	fmt.Fprintf(&b, "  host: {enabled: false}\n  journal: {units: []}\n")
	if c.listen == "" {
		fmt.Fprintf(&b, "  listen: {tcp: \"\", unix: \"\"}\n")
	} else {
		fmt.Fprintf(&b, "  listen: {tcp: %q, unix: %s/fluent.sock}\n", c.listen, dir)
	}
	if len(c.files) > 0 {
		fmt.Fprintf(&b, "  files:\n")
	}
	for _, f := range c.files {
		fmt.Fprintf(&b, "    - {path: %q, tag: %s, format: %s}\n", f.path, f.tag, f.format)
	}
	b.WriteString(c.more)
	return b.String()
}

// newDaemon writes the configuration; nothing runs yet. Whatever runs when the test ends is killed.
func newDaemon(t *testing.T, c daemonConfig) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp(bed.dir, "d")
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir, uid: c.uid, health: freeAddr(t), config: filepath.Join(dir, "fairlead.yaml"), logPath: filepath.Join(dir, "fairlead.log")}
	if err := os.WriteFile(d.config, []byte(c.yaml(dir, d.health)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, int(c.uid), int(c.uid))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("log of fairlead, its end:\n%s", d.logTail(100))
		}
	})
	return d
}

// freeAddr finds a port that is free now.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := lab.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// start runs the process and returns at once. An end that nobody asked for fails the test.
func (d *daemon) start() {
	d.t.Helper()
	out, err := os.OpenFile(d.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(bed.fairlead, "run", "--config", d.config)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = lab.Environment()
	if d.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: d.uid, Gid: d.uid}}
	}
	if d.proc, err = lab.StartProcess(cmd, nil); err != nil {
		d.t.Fatal(err)
	}
}

// alive ends the test if the daemon has ended without being asked to: nothing that follows would mean anything.
func (d *daemon) alive() {
	d.t.Helper()
	if d.proc != nil && d.proc.Died() {
		d.t.Fatalf("fairlead ended by itself: %v", d.proc.Err())
	}
}

// kill is kill -9.
func (d *daemon) kill() {
	d.t.Helper()
	if d.proc == nil {
		return
	}
	if err := d.proc.End(syscall.SIGKILL, 10*time.Second); err != nil {
		d.t.Error(err)
	}
}

// stop is the ordinary end: it must come within the grace period and with exit code 0.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.proc.End(syscall.SIGTERM, 30*time.Second); err != nil {
		d.t.Error(err)
		d.kill()
		return
	}
	if err := d.proc.Err(); err != nil {
		d.t.Errorf("an ordinary stop: %v, want exit code 0", err)
	}
}

// signal is for signals the process survives.
func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	if err := d.proc.Signal(sig); err != nil {
		d.t.Error(err)
	}
}

func (d *daemon) metrics(ctx context.Context) (map[string]float64, error) {
	return lab.Metrics(ctx, nil, d.health)
}

// waitMetric waits until the metric fits.
func (d *daemon) waitMetric(within time.Duration, name string, fits func(float64) bool) {
	d.t.Helper()
	var v float64
	var ok bool
	err := poll(d.t.Context(), within, func() bool {
		d.alive()
		m, err := d.metrics(d.t.Context())
		if err != nil {
			return false
		}
		v, ok = m[name]
		return ok && fits(v)
	})
	if err != nil {
		d.t.Errorf("%s is %v (there: %v), which is not what was waited for: %v", name, v, ok, err)
	}
}

// poll asks until it is so, every 20 ms.
func poll(ctx context.Context, within time.Duration, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s: %w", within, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// status is what `fairlead status --json` says.
func (d *daemon) status() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bed.fairlead, "status", "--json", "--config", d.config)
	cmd.Env = lab.Environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}

// logTail is the end of what the daemon has logged in all its lives.
func (d *daemon) logTail(lines int) string {
	data, err := os.ReadFile(d.logPath)
	if err != nil {
		return err.Error()
	}
	all := bytes.SplitAfter(data, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], nil))
}
