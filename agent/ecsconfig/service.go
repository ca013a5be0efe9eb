package ecsconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
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
	Running bool   // or about to be: a restart has something to do
	Failed  bool   // the init system has given up on it
	Behind  string // a unit that is still starting and that the agent starts after: to wait for the agent may be to wait for ever
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
		return upstart(out), nil
	}
	return State{}, ErrNoInit
}

func (s Service) job() string { return strings.TrimSuffix(s.Unit, ".service") }

// upstart reads what its status command says: "ecs start/running, process 2761", or "ecs stop/waiting".
func upstart(status string) State {
	_, goal, _ := strings.Cut(status, " ")
	st := State{Upstart: true, Running: strings.HasPrefix(goal, "start/")}
	// Processes of pre-start and post-stop follow on lines of their own.
	first, _, _ := strings.Cut(goal, "\n")
	if _, pid, ok := strings.Cut(first, "process "); ok {
		st.PID = strings.TrimSpace(pid)
	}
	return st
}

// systemd asks over D-Bus, else through systemctl.
func (s Service) systemd(ctx context.Context) (State, error) {
	properties := func(ctx context.Context, unit string) (map[string]string, error) { return show(ctx, unit) }
	if c, err := connect(ctx); err == nil {
		defer c.Close()
		properties = func(ctx context.Context, unit string) (map[string]string, error) { return ask(ctx, c, unit) }
	}
	unit, err := properties(ctx, s.Unit)
	if err != nil {
		return State{}, err
	}
	state := unit["ActiveState"]
	st := State{
		Running: state == "active" || state == "activating" || state == "reloading",
		Failed:  state == "failed" && slices.Contains([]string{"", "0", "[0 /]"}, unit["Job"]), // else it is on its way from one to the next
		PID:     unit["MainPID"],
	}
	// cloud-final runs user data, which may be who calls. So may a unit that starts before the agent, as fairlead-render.service does.
	starting := []string{"cloud-final.service"}
	if own := ownUnit(); slices.Contains(strings.Fields(unit["After"]), own) {
		starting = append(starting, own)
	}
	for _, name := range starting {
		other, err := properties(ctx, name)
		if err != nil {
			return State{}, err
		}
		if other["ActiveState"] == "activating" {
			st.Behind = name
		}
	}
	return st, nil
}

// connect reaches systemd over the system bus, or its own socket where there is no bus.
func connect(ctx context.Context) (*systemd.Conn, error) {
	c, err := systemd.NewSystemConnectionContext(ctx)
	if err != nil && os.Geteuid() == 0 {
		c, err = systemd.NewSystemdConnectionContext(ctx)
	}
	return c, err
}

// ask answers the properties of a unit over D-Bus, in the words of systemctl show. A unit that is not there is inactive.
func ask(ctx context.Context, c *systemd.Conn, unit string) (map[string]string, error) {
	all, err := c.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return nil, fmt.Errorf("ask systemd for %s: %w", unit, err)
	}
	m := map[string]string{}
	for name, value := range all {
		switch value := value.(type) {
		case []string:
			m[name] = strings.Join(value, " ")
		default:
			m[name] = fmt.Sprint(value)
		}
	}
	return m, nil
}

// show asks through systemctl.
func show(ctx context.Context, unit string) (map[string]string, error) {
	out, err := output(ctx, "systemctl", "show", "--property=ActiveState,MainPID,After,Job", unit)
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

// ownUnit is the unit that this process belongs to, empty if it belongs to none: its control group is called like it.
func ownUnit() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name := path.Base(strings.TrimSpace(line)); strings.HasSuffix(name, ".service") {
			return name
		}
	}
	return ""
}

// Restart has the job started again and returns before it is: systemd queues it, so that a call from what the agent starts after does not
// wait for itself.
func (s Service) Restart(ctx context.Context, st State) error {
	ctx, cancel := context.WithTimeout(ctx, 3*limit)
	defer cancel()
	if st.Upstart {
		// restart does not read the job's configuration again. A job that has stopped meanwhile is no fault.
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
