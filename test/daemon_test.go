package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// daemon is one fairlead, by its configuration and state; its process comes and goes.
type daemon struct {
	t       *testing.T
	dir     string // everything of it is below
	uid     uint32 // 0: as the test
	health  string // host:port
	config  string // path
	logPath string

	mu     sync.Mutex // all below
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	wanted bool          // its end was asked for
	broken bool          // it ended all the same
}

// daemonConfig is what a test may choose.
type daemonConfig struct {
	to         string // address of the receiver
	containers bool
	files      []filesConfig
	spool      string // keys of the spool section, as flow YAML
	forward    string // more keys of the forward section, after a comma
	uid        uint32
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
	fmt.Fprintf(&b, "sources:\n  containers: {enabled: %v, root: %s}\n", c.containers, bed.logs)
	fmt.Fprintf(&b, "  host: {enabled: false}\n  journal: {units: []}\n  listen: {tcp: \"\", unix: \"\"}\n")
	if len(c.files) > 0 {
		fmt.Fprintf(&b, "  files:\n")
	}
	for _, f := range c.files {
		fmt.Fprintf(&b, "    - {path: %q, tag: %s, format: %s}\n", f.path, f.tag, f.format)
	}
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
	cmd.Env = environment()
	// If the test itself is killed, nothing of it stays behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if d.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: d.uid, Gid: d.uid}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	exited := make(chan struct{})
	d.cmd, d.exited, d.wanted = cmd, exited, false
	go func() { // ends with the process, which the clean-up of the test kills and waits for
		defer close(exited)
		err := cmd.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.wanted {
			d.broken = true
			d.t.Errorf("fairlead ended by itself: %v", err)
		}
	}()
}

// environment is that of the test without what is meant for the test: fairlead takes every FAIRLEAD_ variable for a key of its
// configuration.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_") })
}

// alive ends the test if the daemon has ended without being asked to: nothing that follows would mean anything.
func (d *daemon) alive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		d.t.FailNow()
	}
}

// end sends a signal that ends the process, and waits until it has.
func (d *daemon) end(sig syscall.Signal, within time.Duration) error {
	d.mu.Lock()
	cmd, exited := d.cmd, d.exited
	d.wanted = true
	d.mu.Unlock()
	if cmd == nil {
		return nil
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-exited:
		return nil
	case <-time.After(within):
		return fmt.Errorf("fairlead still runs %s after %s", within, sig)
	}
}

// kill is kill -9.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.end(syscall.SIGKILL, 10*time.Second); err != nil {
		d.t.Error(err)
	}
}

// stop is the ordinary end: it must come within the grace period and with exit code 0.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.end(syscall.SIGTERM, 30*time.Second); err != nil {
		d.t.Error(err)
		d.kill()
		return
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("exit code of an ordinary stop: %d, want 0", code)
	}
}

// signal is for signals the process survives.
func (d *daemon) signal(sig syscall.Signal) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.t.Error(err)
	}
}

// metrics reads /metrics: every series under its whole name, and under the bare name the sum over the labels.
func (d *daemon) metrics(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+d.health+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	m := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, value, ok := cutLast(line, " ")
		if !ok || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		m[name] = v
		if bare, _, labelled := strings.Cut(name, "{"); labelled {
			m[bare] += v
		}
	}
	return m, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
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
	cmd.Env = environment()
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
