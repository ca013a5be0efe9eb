package lab

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
	"syscall"
	"time"
)

// Daemon is one fairlead by its configuration and state; its process comes and goes.
type Daemon struct {
	binary string
	dir    string
	space  *Space
	health string // host:port in the space
	proc   *Process
}

// newDaemon writes the configuration; nothing runs yet. Keys are lines of YAML beyond what a trial always sets.
func newDaemon(binary, dir string, space *Space, health, to, containers, socket, forward, spool string) (*Daemon, error) {
	d := &Daemon{binary: binary, dir: dir, space: space, health: health}
	conf := fmt.Sprintf(`forward: {to: [%s]%s}
state: {dir: %q}
spool: {%s}
sources:
  containers: {enabled: true, root: %q}
  host: {enabled: false}
  journal: {units: []}
  listen: {tcp: "", unix: %q}
health: {listen: %q}
control: {socket: %q}
drain: {enabled: false}
`, to, forward, filepath.Join(dir, "state"), spool, containers, socket, health, filepath.Join(dir, "sock"))
	return d, os.WriteFile(d.configPath(), []byte(conf), 0o644)
}

func (d *Daemon) configPath() string { return filepath.Join(d.dir, "fairlead.yaml") }
func (d *Daemon) logPath() string    { return filepath.Join(d.dir, "fairlead.log") }

// start runs it and returns at once.
func (d *Daemon) start() error {
	out, err := os.OpenFile(d.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(d.binary, "run", "--config", d.configPath())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = Environment()
	d.proc, err = StartProcess(cmd, d.space)
	return err
}

func (d *Daemon) kill() error {
	if d.proc == nil {
		return nil
	}
	return d.proc.End(syscall.SIGKILL, 10*time.Second)
}

// stop is the ordinary end: it must come within the grace period and with exit code 0.
func (d *Daemon) stop() error {
	if err := d.proc.End(syscall.SIGTERM, 30*time.Second); err != nil {
		return errors.Join(err, d.kill())
	}
	if d.proc.Err() != nil {
		return fmt.Errorf("an ordinary stop of fairlead: %w", d.proc.Err())
	}
	return nil
}

// Environment is ours without what is meant for us: fairlead takes every FAIRLEAD_ variable for a key of its configuration. The engine of
// this machine and its disks are not a test's to clean up.
func Environment() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_") })
	return append(own, "FAIRLEAD_CLEANUP_ENABLED=false")
}

// Metrics reads /metrics of an address in a space: every series under its whole name, and under the bare name the sum over the labels.
func Metrics(ctx context.Context, in *Space, addr string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = in.Do(func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		}}}
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
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
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", line, err)
		}
		name := line[:i]
		m[name] = v
		if bare, _, labelled := strings.Cut(name, "{"); labelled {
			m[bare] += v
		}
	}
	return m, nil
}

// books returns what is wrong with fairlead's own account once it has come to rest.
func (d *Daemon) books(ctx context.Context) error {
	var m map[string]float64
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; {
		m, err = Metrics(ctx, d.space, d.health)
		if err == nil && m["fairlead_spool_pending_frames"] == 0 && m["fairlead_ledger_imbalance_events"] == 0 {
			break
		}
		if time.Now().After(deadline) || pause(ctx, 50*time.Millisecond) != nil {
			if err != nil {
				return fmt.Errorf("ask fairlead for its metrics: %w", err)
			}
			return fmt.Errorf("fairlead's books: imbalance %v events, %v frames pending", m["fairlead_ledger_imbalance_events"], m["fairlead_spool_pending_frames"])
		}
	}
	if lost := m["fairlead_lost_events_total"] + m["fairlead_lost_bytes_total"]; lost != 0 {
		return fmt.Errorf("fairlead counts %v events and %v bytes as lost", m["fairlead_lost_events_total"], m["fairlead_lost_bytes_total"])
	}
	return nil
}

// logTail is the end of what it has logged in all its lives.
func (d *Daemon) logTail(lines int) string {
	data, err := os.ReadFile(d.logPath())
	if err != nil {
		return err.Error()
	}
	all := bytes.SplitAfter(data, []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], nil))
}

// pause waits, or returns the error of a context that ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// FreeAddr finds a port that is free now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
