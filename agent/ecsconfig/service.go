package ecsconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
)

// Service is the ECS agent's job on this host, under systemd or upstart.
type Service struct {
	Unit string // ecs.service; upstart's job is its name without the suffix
}

// State is what the host's init system says.
type State struct {
	Running bool // or about to be: a restart has something to do
	Booting bool // cloud-final, which the agent waits for, still runs: to wait for the agent would be to wait for ever
	Upstart bool
	PID     string // of the main process; another one after a restart
}

// limit bounds each question to the init system.
const limit = 10 * time.Second

// ErrNoInit says that there is neither systemd nor upstart.
var ErrNoInit = errors.New("neither systemd nor upstart runs here")

// State asks for the state of the agent's job.
func (s Service) State(ctx context.Context) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return s.systemd(ctx)
	}
	if out, err := output(ctx, "status", s.job()); err == nil {
		st := State{Upstart: true, Running: strings.Contains(out, "start/")}
		if _, pid, ok := strings.Cut(out, "process "); ok {
			st.PID = strings.TrimSpace(pid)
		}
		return st, nil
	}
	return State{}, ErrNoInit
}

func (s Service) job() string { return strings.TrimSuffix(s.Unit, ".service") }

// systemd asks over D-Bus, else through systemctl.
func (s Service) systemd(ctx context.Context) (State, error) {
	unit, final := map[string]string{}, map[string]string{}
	c, err := connect(ctx)
	if err == nil {
		defer c.Close()
		get := func(name, property, kind string) string {
			var p *systemd.Property
			if kind == "" {
				p, err = c.GetUnitPropertyContext(ctx, name, property)
			} else {
				p, err = c.GetUnitTypePropertyContext(ctx, name, kind, property)
			}
			if err != nil {
				return ""
			}
			return strings.Trim(strings.TrimPrefix(p.Value.String(), "@u "), `"`)
		}
		unit["ActiveState"], unit["MainPID"] = get(s.Unit, "ActiveState", ""), get(s.Unit, "MainPID", "Service")
		final["ActiveState"] = get("cloud-final.service", "ActiveState", "")
		if unit["ActiveState"] == "" {
			return State{}, fmt.Errorf("ask systemd for %s: %w", s.Unit, err)
		}
	} else {
		if unit, err = show(ctx, s.Unit); err != nil {
			return State{}, err
		}
		if final, err = show(ctx, "cloud-final.service"); err != nil {
			return State{}, err
		}
	}
	state := unit["ActiveState"]
	return State{
		Running: state == "active" || state == "activating" || state == "reloading",
		Booting: final["ActiveState"] == "activating",
		PID:     unit["MainPID"],
	}, nil
}

// connect reaches systemd over the system bus, or its own socket where there is no bus.
func connect(ctx context.Context) (*systemd.Conn, error) {
	c, err := systemd.NewSystemConnectionContext(ctx)
	if err != nil && os.Geteuid() == 0 {
		c, err = systemd.NewSystemdConnectionContext(ctx)
	}
	return c, err
}

func show(ctx context.Context, unit string) (map[string]string, error) {
	out, err := output(ctx, "systemctl", "show", "--property=ActiveState,MainPID", unit)
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			m[name] = value
		}
	}
	return m, nil
}

// Restart has the job started again and returns before it is: systemd queues it, so that a call from the boot that the
// agent waits for does not wait for itself.
func (s Service) Restart(ctx context.Context, st State) error {
	ctx, cancel := context.WithTimeout(ctx, 3*limit)
	defer cancel()
	if st.Upstart {
		// restart does not read the job's environment again. A job that has stopped meanwhile is no fault.
		_, _ = output(ctx, "stop", s.job())
		_, err := output(ctx, "start", s.job())
		return err
	}
	if c, err := connect(ctx); err == nil {
		defer c.Close()
		if _, err = c.RestartUnitContext(ctx, s.Unit, "replace", nil); err == nil {
			return nil
		}
	}
	_, err := output(ctx, "systemctl", "--no-block", "restart", s.Unit)
	return err
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
