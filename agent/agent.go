package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/agent/drain"
	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/pulse"
)

// Build says which program this is.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

// Agent is one daemon. Run is to be called once.
type Agent struct {
	source  Source
	signals chan os.Signal // what came, and reloads that were asked for
	build   Build
	log     *slog.Logger
	metrics *metrics
	notify  *notifier
	monitor *pulse.Monitor
	started time.Time

	ecs     *ecsWatch
	bundles *bundles

	health, control *server // owned by Run; nil: none

	sockets *forwarder.Sockets // of Forward clients, between two lives; owned by Run
	keeper  forwarder.Keeper   // nil: what is open ends with the process
	taps    *forwarder.Taps    // of all lives

	instance *instanceID
	host     *health.Host
	history  *health.History
	drain    *drain.Drain // made by Run

	asking   sync.Mutex // guards question
	question *question

	mu      sync.Mutex // guards what follows: the loop of Run writes, the servers read
	now     *life
	loaded  Loaded
	refused refusal // of the configuration that was read last, if it was not taken
}

// New makes a daemon that will run with the configuration of source.
func New(source Source, build Build, log *slog.Logger) *Agent {
	m := newMetrics(build)
	a := &Agent{source: source, signals: make(chan os.Signal, 4), build: build, log: log, metrics: m, notify: newNotifier(log), monitor: pulse.NewMonitor(),
		taps: &forwarder.Taps{}, instance: newInstanceID(log), host: health.NewHost(), history: health.NewHistory()}
	a.ecs = newECSWatch(log, m.registry, a.askReload)
	a.bundles = newBundles(source, log)
	return a
}

// ErrConfig is what Run returns when it has logged the findings of a configuration that cannot be used.
var ErrConfig = errors.New("the configuration is not valid")

// Run is the daemon, until the context ends or SIGTERM or SIGINT comes: it reads the configuration, opens the port and the
// socket, and forwards. SIGHUP has the configuration read again. The order of the stop is: the forwarder (which stops
// reading, drains for forward.grace and closes the spool), then the servers, which so tell about the stop until its end.
func (a *Agent) Run(ctx context.Context) error {
	signal.Notify(a.signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(a.signals)
	asked := make(chan os.Signal, 1) // for a bundle
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	a.started = time.Now()
	a.sockets, a.keeper = inherited(a.log), newKeeper(a.log)
	defer func() { a.sockets.Close() }() // what systemd keeps stays open for the next process

	loaded := a.source.Load()
	a.logFindings(loaded.Findings)
	if !loaded.OK() {
		return fmt.Errorf("%w (fairlead check lists what is wrong)", ErrConfig)
	}
	a.drain = a.newDrain(loaded.Config)
	next, err := a.newLife(loaded)
	if err != nil {
		return err
	}
	limitMemory()
	defer time.AfterFunc(startUp, func() {
		if err := letGoOfStart(); err != nil {
			a.log.Debug("pages of the binary stay in memory", "err", err)
		}
	}).Stop()
	defer func() {
		a.taps.Close()
		a.health.close()
		a.control.close()
	}()
	if err := a.serve(loaded.Config); err != nil {
		return err
	}

	// What goes on beside the lives.
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() {
		a.ecs.run(watching, func() (Source, string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.now == nil { // not at work yet
				return a.source, loaded.Config.State.Dir
			}
			return a.source, a.loaded.Config.State.Dir
		})
	})
	beside.Go(func() { a.instance.run(watching, a.tellInstance) })
	beside.Go(func() { a.tellType(watching) })
	beside.Go(func() { a.watchDebug(watching) })
	beside.Go(func() { a.bundles.run(watching, asked, a.bundleConfig, a.ready) })
	beside.Go(func() { a.drain.Run(watching) })
	defer func() {
		unwatch()
		beside.Wait()
	}()

	var before *life // what ran before a reload, until the new one has shown that it works
	for {
		last := next
		if next, err = a.live(ctx, last); next != nil {
			before = last
			continue
		}
		if err == nil || before == nil || last.wasReady() {
			return err
		}
		a.log.Error("the new configuration does not work, going back to the former", "err", err)
		a.reloaded(refusal{err.Error(), last.loaded.Findings})
		if next, err = a.newLife(before.loaded); err == nil {
			err = a.serve(before.loaded.Config)
		}
		if err != nil {
			return err
		}
		before = nil
	}
}

// askReload has the configuration read again, soon.
func (a *Agent) askReload() {
	select {
	case a.signals <- syscall.SIGHUP:
	default: // so many wait that it is read anyway
	}
}

// refusal says why a configuration was not taken.
type refusal struct {
	reason   string // empty: it was
	findings []document.Finding
}

// reloaded notes how reading the configuration again went.
func (a *Agent) reloaded(r refusal) {
	a.mu.Lock()
	a.refused = r
	a.mu.Unlock()
	a.metrics.reloaded(r.reason == "")
}

// serve opens the port and the socket of the configuration, where they are not open already. Either both are as
// configured afterwards, or nothing has changed.
func (a *Agent) serve(c Config) error {
	// The socket first: what it says of another daemon is plainer than that a port is taken.
	control, err := a.replacement(a.control, c.Control.Socket, "", listenControl, a.controlHandler())
	if err != nil {
		return err
	}
	port, err := a.replacement(a.health, c.Health.Listen, c.Health.WebConfig, listenHealth, a.healthHandler())
	if err != nil {
		if control != a.control {
			control.close()
		}
		return err
	}
	if control != a.control {
		a.control.close()
	}
	if port != a.health {
		a.health.close()
	}
	a.health, a.control = port, control
	return nil
}

// logFindings writes each finding as a line of the log.
func (a *Agent) logFindings(findings []document.Finding) {
	for _, f := range findings {
		level := slog.LevelError
		if f.Severity == document.Warning {
			level = slog.LevelWarn
		}
		a.log.Log(context.Background(), level, "configuration", "finding", f.String())
	}
}
