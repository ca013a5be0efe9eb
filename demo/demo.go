// Package demo runs the whole path on this machine, with nothing but the binary: containers that write real logs, fairlead's own
// forwarder, a load balancer that drops idle connections, and a receiver that dies now and then. It knows what was written
// and compares that with what arrives, event by event, so its verdict can be wrong in neither direction.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// Options of a demo.
type Options struct {
	For    time.Duration   // how long is written
	Keep   bool            // leave the folder
	Docker bool            // real containers of the engine write
	Out    io.Writer       // a terminal gets a live display, anything else plain lines
	Enough <-chan struct{} // closed: writing ends early
}

// demo is one run.
type demo struct {
	Options
	dir     string
	logPath string
	oracle  *oracle
	display *display
	faults  *faults
	writers writers
	began   time.Time
	settled atomic.Bool // writing is over

	executable string        // what runs in real containers; empty: this one
	settle     time.Duration // how long the last events may take after writing has ended

	// drop, if set, loses what it answers true for at the receiver.
	drop func(*receiver.Event) bool
}

// writers is who writes the logs: ourselves, or containers of a Docker engine.
type writers interface {
	// run writes for a time or until the context ends. What it wrote is complete when it returns.
	run(ctx context.Context, began time.Time, d time.Duration) error
	// logs is the folder of the containers.
	logs() string
	// figures are for the display.
	figures() string
	// close takes away what is outside the demo's folder.
	close() error
}

// Run runs a demo and prints what it does; the last line is the verdict. If the context ends, it gives up waiting for what has not
// arrived. An error means that there was no demo.
func Run(ctx context.Context, o Options) (Verdict, error) { return newDemo(o).run(ctx) }

func newDemo(o Options) *demo { return &demo{Options: o, settle: 20 * time.Second} }

func (d *demo) run(ctx context.Context) (v Verdict, err error) {
	if d.dir, err = os.MkdirTemp("", "fairlead-demo-"); err != nil {
		return v, fmt.Errorf("make a folder for the demo: %w (TMPDIR says where)", err)
	}
	defer func() {
		if err == nil && v.Kept == "" || err != nil && !d.Keep {
			_ = os.RemoveAll(d.dir)
		}
	}()
	d.logPath = filepath.Join(d.dir, "fairlead.log")
	d.oracle, d.display = newOracle(), newDisplay(d.Out)
	if d.writers, err = d.newWriters(ctx); err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, d.writers.close()) }()

	recv, err := receiver.Listen("127.0.0.1:0", d.receive)
	if err != nil {
		return v, err
	}
	defer recv.Close()
	bal, err := balancer.Listen("127.0.0.1:0", balancerOptions(0), recv.Addr())
	if err != nil {
		return v, err
	}
	defer bal.Close()
	d.faults = &faults{recv: recv, bal: bal}

	log, err := os.OpenFile(d.logPath, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return v, err
	}
	defer log.Close()
	f, err := forwarder.New(d.config(bal.Addr()), slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	if err != nil {
		return v, err
	}
	problems, err := d.forward(ctx, f)
	if err != nil {
		return v, err
	}
	v = Verdict{Count: d.oracle.count(time.Now()), ConnectionsLost: d.faults.lost(), Problems: problems, Details: d.oracle.report()}
	if d.Keep || !v.OK() {
		v.Kept = d.dir
	}
	d.conclude(v)
	return v, nil
}

func (d *demo) newWriters(ctx context.Context) (writers, error) {
	if d.Docker {
		return openEngine(ctx, d.dir, d.executable, d.oracle)
	}
	return newTraffic(filepath.Join(d.dir, "containers"), d.oracle)
}

// config is that of a daemon on a host of its own, but for the folders and the address. The folder of a demo may be small.
func (d *demo) config(to string) forwarder.Config {
	cfg := forwarder.DefaultConfig()
	cfg.Forward.To = []forwarder.Endpoint{{Address: to}}
	cfg.Sources.Containers.Root = d.writers.logs()
	cfg.Spool.Dir = filepath.Join(d.dir, "state", "spool")
	cfg.Spool.MinFree = 0
	cfg.Sources.Host.Enabled, cfg.Sources.Journal.Units = false, nil // the demo is of its own logs
	cfg.Sources.Listen.TCP, cfg.Sources.Listen.Unix = "", ""         // a daemon may have them
	return cfg
}

// receive is the receiver's handler.
func (d *demo) receive(e *receiver.Event) {
	if d.drop == nil || !d.drop(e) {
		d.oracle.receive(string(e.Field("container_id")), string(e.Field("source")) == "stderr", e.Time, e.Field("log"))
	}
}

// forward runs the forwarder while the writers write and until all has arrived, then stops it. It answers what went wrong other
// than with single events.
func (d *demo) forward(ctx context.Context, f *forwarder.Forwarder) (problems []string, err error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var failure error
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		failure = f.Run(running)
	}()
	select {
	case <-f.Ready():
	case <-stopped:
		return nil, fmt.Errorf("start the forwarder: %w", failure)
	}
	d.began = time.Now()
	d.faults.began = d.began
	d.introduce()

	var shown sync.WaitGroup
	showing, hide := context.WithCancel(ctx)
	defer hide()
	shown.Go(func() { d.show(showing) })
	if err := d.write(ctx, stopped); err != nil {
		problems = append(problems, err.Error())
	}
	d.settled.Store(true)
	if err := d.wait(ctx, stopped); err != nil {
		problems = append(problems, err.Error())
	}
	if b := f.Status().Ledger; b.Imbalance != 0 {
		problems = append(problems, fmt.Sprintf("the forwarder's books are out of balance by %d events", b.Imbalance))
	}
	stop()
	<-stopped
	if failure != nil {
		problems = append(problems, fmt.Sprintf("the forwarder stopped: %v", failure))
	}
	hide()
	shown.Wait()
	return problems, nil
}

// write has the writers write and things fail, until the time is over or somebody has seen enough.
func (d *demo) write(ctx context.Context, stopped <-chan struct{}) error {
	g, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	g.Go(func() error {
		defer end()
		if err := d.writers.run(ctx, d.began, d.For); err != nil {
			return fmt.Errorf("write logs: %w", err)
		}
		return nil
	})
	g.Go(func() error { return d.faults.run(ctx) })
	g.Go(func() error {
		defer end()
		select {
		case <-ctx.Done():
		case <-d.Enough:
		case <-stopped:
		}
		return nil
	})
	return g.Wait()
}

// wait waits until all that was written has arrived.
func (d *demo) wait(ctx context.Context, stopped <-chan struct{}) error {
	deadline := time.NewTimer(d.settle)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for d.oracle.count(time.Now()).Missing() > 0 {
		select {
		case <-tick.C:
		case <-deadline.C:
			return nil // what is missing says enough
		case <-stopped:
			return nil
		case <-ctx.Done():
			return errors.New("interrupted before everything had arrived")
		}
	}
	return nil
}

func (d *demo) introduce() {
	d.display.text(
		fmt.Sprintf("%d containers write real Rails and Sidekiq logs, rotated every %d KiB -> fairlead -> a balancer that drops connections", len(casts), maxLogBytes>>10),
		fmt.Sprintf("idle for %v -> a Forward receiver that is killed now and then. Every event is compared with what was written.", idleDrop),
		"")
}

// show shows how it stands, and the end.
func (d *demo) show(ctx context.Context) {
	tick := time.NewTicker(d.display.every())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.display.show(d.view(time.Now()))
		case <-ctx.Done():
			d.display.show(d.view(time.Now()))
			return
		}
	}
}

func (d *demo) view(now time.Time) view {
	v := view{Count: d.oracle.count(now), elapsed: now.Sub(d.began), total: d.For, connectionsLost: d.faults.lost()}
	v.writers = d.writers.figures()
	var at time.Time
	var down bool
	v.fault, at, down = d.faults.state()
	v.faultAgo = now.Sub(at)
	switch a := actAt(v.elapsed); {
	case d.settled.Load() && v.Missing() == 0:
		v.phase = "everything has arrived"
	case d.settled.Load():
		v.phase = "writing is over, the last events are on their way"
	case down:
		v.phase = "the receiver is dead"
	case a.writing:
		v.phase = "the containers write"
	default:
		v.phase = fmt.Sprintf("silence for another %.1f s", a.left.Seconds())
	}
	return v
}

// conclude prints what is to be said of the end; the verdict is the last line.
func (d *demo) conclude(v Verdict) {
	d.display.text("")
	if !v.OK() {
		d.display.text(v.Details...)
	}
	if v.Kept != "" {
		d.display.text("logs and spool are left in "+d.dir, "fairlead's own log is "+d.logPath)
	}
	d.display.text(v.String())
}
