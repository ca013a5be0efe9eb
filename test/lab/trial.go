package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// Scenario is one row of the table.
type Scenario struct {
	Name  string
	What  string // happens
	Quick bool   // among those of the ordinary tests
	setup setup
	run   func(*Trial) // makes the faults, and ends with a few seconds of good weather

	delay    time.Duration // that no event of fairlead may exceed; 0: any
	recovers time.Duration // that fairlead may take to catch up after the fault; 0: any
}

// Docker says that it takes a Docker engine, and is tried with its own driver as well.
func (s *Scenario) Docker() bool { return s.setup.containers }

// setup is what stands before the first fault.
type setup struct {
	balancer   *balancer.Options  // between senders and receivers; nil: none
	receivers  int                // 0: one
	containers bool               // real ones, each subject its own, instead of four files of which fairlead takes 200 lines a second
	pauses     time.Duration      // between the bursts of containers, at most; 0: 5 s
	rate       int                // lines a second from all files; 0: 200
	maxSize    int64              // of a file, before it is rotated; 0: it is not
	apart      bool               // fairlead and the receivers on two hosts, with a link between
	named      bool               // fairlead finds the receivers by a name
	child      bool               // the receiver in a process of its own
	tmpfs      int64              // size of a file system of its own for fairlead's state; 0: none
	behaviour  receiver.Behaviour // of the receivers from the begin
	forward    string             // keys of fairlead's configuration beside the addresses, after a comma
	spool      string             // its keys of the spool; empty: min_free 0, whatever disk the laboratory is on
	quiet      time.Duration      // 0: quiet
	swallow    int                // each so manieth event is acknowledged and lost: only to see that this is noticed
}

// Times that bound a trial.
const (
	warmUp = 2 * time.Second  // before the first fault
	quiet  = 15 * time.Second // what has not come when nothing has come for so long is lost
	settle = 2 * time.Minute  // at the latest; after a fault that is over
	calm   = 3 * time.Second  // good weather at the end of most trials
)

// Row is what came of a scenario.
type Row struct {
	*Scenario
	NotRun   error // it could not be, and why
	Results  map[Subject]Result
	Problems []string // what must not be, of fairlead
	Slow     []string // what took fairlead too long; means something on a machine that does nothing else
	Took     time.Duration
}

// Trial is one scenario while it runs. The first error ends it: after that its methods do nothing.
type Trial struct {
	env   *Env
	ctx   context.Context
	rnd   *rand.Rand
	log   func(format string, args ...any)
	setup setup
	dir   string

	lanes     []*lane
	near, far *Space // fairlead's, the receivers'
	link      *Link
	names     *nameServer
	tmpfs     string // path to fairlead's file system from outside
	undo      []func() error
	over      time.Time // when the fault was
	kills     int
	silent    sync.RWMutex // held for writing while files are not written
	err       error
	stepped   atomic.Int64 // of the clock that the records' times are taken from, nanoseconds

	writing     *errgroup.Group
	stopWriting context.CancelFunc
}

// Run runs a scenario. The seed gives the same random choices for the same scenario, whatever others run.
func Run(ctx context.Context, env *Env, s *Scenario, seed uint64, log func(format string, args ...any)) *Row {
	row := &Row{Scenario: s, Results: map[Subject]Result{}}
	if s.Docker() && env.Engine == nil {
		row.NotRun = env.NoEngine
		return row
	}
	began := time.Now()
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.Name))
	t := &Trial{env: env, ctx: ctx, rnd: rand.New(rand.NewPCG(seed, h.Sum64())), log: log, setup: s.setup}
	var cannot *cannotRunError
	t.do(t.begin)
	if errors.As(t.err, &cannot) {
		row.NotRun = t.err
	} else {
		t.pause(warmUp)
		if t.err == nil {
			s.run(t)
		}
		t.finish(row)
	}
	t.err = errors.Join(t.err, t.close(row))
	if t.err != nil && row.NotRun == nil {
		row.Problems = append(row.Problems, t.err.Error())
	}
	row.Took = time.Since(began)
	return row
}

// cannotRunError is what the kernel or the machine does not have.
type cannotRunError struct{ err error }

func (e *cannotRunError) Error() string { return e.err.Error() }
func (e *cannotRunError) Unwrap() error { return e.err }

// do runs a step unless one has failed.
func (t *Trial) do(f func() error) {
	if t.err == nil {
		t.err = f()
	}
}

// each does the same to all lanes.
func (t *Trial) each(f func(l *lane) error) {
	for _, l := range t.lanes {
		t.do(func() error {
			if err := f(l); err != nil {
				return fmt.Errorf("%s: %w", l.subject, err)
			}
			return nil
		})
	}
}

// begin builds everything and starts it.
func (t *Trial) begin() error {
	var err error
	if t.dir, err = os.MkdirTemp(t.env.Dir, "t"); err != nil {
		return err
	}
	if err := t.makeSpaces(); err != nil {
		return &cannotRunError{err}
	}
	seed := t.rnd.Uint64()
	for i, s := range subjects {
		if s != Fairlead && !t.setup.containers {
			break
		}
		l := &lane{t: t, subject: s, ledger: NewLedger(), chunks: map[string]bool{}, dir: filepath.Join(t.dir, fmt.Sprintf("%s-%d", filepath.Base(t.dir), i))}
		t.lanes = append(t.lanes, l)
		if err := os.Mkdir(l.dir, 0o755); err != nil {
			return err
		}
		if err := l.open(); err != nil {
			return err
		}
		if t.setup.containers {
			if err := l.createContainer(t.ctx, seed); err != nil { // the same pauses for all
				return err
			}
		}
	}
	if err := t.prepareNear(); err != nil {
		return err
	}
	for _, l := range t.lanes {
		if l.subject.ours() {
			if err := l.startFairlead(); err != nil {
				return err
			}
		}
	}
	return t.startWriters()
}

// makeSpaces makes the namespaces that the setup asks for.
func (t *Trial) makeSpaces() error {
	s := t.setup
	if s.apart || s.named {
		t.near = newSpace()
		t.undo = append(t.undo, t.near.close)
		if err := t.near.addNetwork(); err != nil {
			return err
		}
		t.far = t.near
	}
	if s.apart {
		t.far = newSpace()
		t.undo = append(t.undo, t.far.close)
		if err := t.far.addNetwork(); err != nil {
			return err
		}
		var err error
		if t.link, err = newLink(t.near, t.far, rand.New(rand.NewPCG(t.rnd.Uint64(), 0))); err != nil {
			return err
		}
		t.undo = append(t.undo, t.link.close)
	}
	if s.named {
		var err error
		if t.names, err = startNames(t.near); err != nil {
			return err
		}
		t.undo = append(t.undo, t.names.close)
	}
	return nil
}

func (t *Trial) fairlead() *lane { return t.lanes[0] }

// prepareNear makes what the fairlead that tails files sees of the machine.
func (t *Trial) prepareNear() error {
	l, s := t.fairlead(), t.setup
	containers, state := filepath.Join(l.dir, "containers"), filepath.Join(l.dir, "state")
	if err := errors.Join(os.MkdirAll(containers, 0o755), os.MkdirAll(state, 0o755)); err != nil {
		return err
	}
	var mounts []func() error
	if s.containers { // fairlead sees this container alone, however many the machine has
		at := filepath.Join(containers, l.container.id)
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		mounts = append(mounts, func() error { return bind(filepath.Join(t.env.Logs, l.container.id), at) })
	}
	if s.tmpfs > 0 {
		mounts = append(mounts, func() error {
			path, done, err := tmpfs(state, s.tmpfs)
			t.tmpfs = path
			if err == nil {
				t.undo = append(t.undo, done)
			}
			return err
		})
	}
	if s.named {
		conf, hosts := filepath.Join(t.dir, "resolv.conf"), filepath.Join(t.dir, "hosts")
		err := errors.Join(os.WriteFile(conf, []byte("nameserver "+nameServerAddress+"\noptions timeout:1 attempts:2\n"), 0o644), os.WriteFile(hosts, nil, 0o644))
		if err != nil {
			return err
		}
		mounts = append(mounts, func() error { return errors.Join(bind(conf, "/etc/resolv.conf"), bind(hosts, "/etc/hosts")) })
	}
	if len(mounts) > 0 {
		if t.near == nil {
			t.near = newSpace()
			t.undo = append(t.undo, t.near.close)
		}
		err := t.near.addMounts(func() error {
			for _, m := range mounts {
				if err := m(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return &cannotRunError{err}
		}
	}
	return nil
}

// startWriters starts four files or the containers.
func (t *Trial) startWriters() error {
	if t.setup.containers {
		for _, l := range t.lanes {
			if err := t.env.Engine.Start(t.ctx, l.container.id); err != nil {
				return err
			}
		}
		return nil
	}
	var ctx context.Context
	ctx, t.stopWriting = context.WithCancel(t.ctx)
	t.writing, ctx = errgroup.WithContext(ctx)
	const files = 4
	rate := t.setup.rate
	if rate == 0 {
		rate = 200
	}
	l := t.fairlead()
	for i := range files {
		s, err := newSource(l.ledger, filepath.Join(l.dir, "containers"), fmt.Sprintf("%s-%s-%d", t.env.Run, filepath.Base(t.dir), i), i)
		if err != nil {
			return err
		}
		s.maxSize = t.setup.maxSize
		t.writing.Go(func() error {
			return s.run(ctx, rate/files, &t.silent, func() time.Time { return time.Now().Add(time.Duration(t.stepped.Load())) })
		})
	}
	return nil
}

// finish ends the writers, waits for what is on its way, and passes the verdict.
func (t *Trial) finish(row *Row) {
	if t.over.IsZero() {
		t.over = time.Now()
	}
	if t.writing != nil {
		t.stopWriting()
		t.do(t.writing.Wait)
	}
	if t.setup.containers {
		var stopping errgroup.Group
		for _, l := range t.lanes {
			stopping.Go(func() error { return l.container.stop(t.ctx, t.env.Engine, l.ledger) })
		}
		t.do(stopping.Wait)
	}
	wait := quiet
	if t.setup.quiet > 0 {
		wait = t.setup.quiet
	}
	t.do(t.alive)
	if t.err != nil {
		return // nothing more will come
	}
	var settling sync.WaitGroup
	for _, l := range t.lanes {
		settling.Go(func() { l.ledger.Settle(t.ctx, wait, settle) })
	}
	settling.Wait()
	if t.ctx.Err() != nil {
		t.err = errors.Join(t.err, t.ctx.Err())
		return
	}
	t.do(t.alive)
	t.each(func(l *lane) error {
		if l.daemon == nil {
			return nil
		}
		if err := l.daemon.books(t.ctx); err != nil {
			return err
		}
		return l.daemon.stop()
	})
	for _, l := range t.lanes {
		got, problems := l.result()
		row.Results[l.subject] = got
		row.Problems = append(row.Problems, problems...)
		if !l.subject.ours() {
			continue
		}
		if row.delay > 0 && got.Max > row.delay {
			row.Slow = append(row.Slow, fmt.Sprintf("%s: an event took %s, want at most %s", l.subject, short(got.Max), short(row.delay)))
		}
		if row.recovers > 0 && got.CaughtUp > row.recovers {
			row.Slow = append(row.Slow, fmt.Sprintf("%s: caught up %s after the fault, want at most %s", l.subject, short(got.CaughtUp), short(row.recovers)))
		}
	}
}

// alive is an error if a fairlead has ended by itself.
func (t *Trial) alive() error {
	for _, l := range t.lanes {
		if d := l.daemon; d != nil && d.proc != nil && d.proc.Died() {
			return fmt.Errorf("%s: fairlead ended by itself: %w", l.subject, d.proc.Err())
		}
	}
	return nil
}

// close takes everything down, and shows what fairlead has logged if something went wrong.
func (t *Trial) close(row *Row) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), time.Minute)
	defer cancel()
	var errs []error
	if t.writing != nil {
		t.stopWriting()
		_ = t.writing.Wait() // finish has asked
	}
	for _, l := range t.lanes {
		if l.daemon != nil && l.daemon.proc != nil && (t.err != nil || len(row.Problems) > 0) {
			t.log("%s: the log of fairlead, its end:\n%s", l.subject, l.daemon.logTail(40))
		}
		errs = append(errs, l.close(ctx))
	}
	for i := range t.undo {
		errs = append(errs, t.undo[len(t.undo)-1-i]())
	}
	if t.dir != "" {
		errs = append(errs, os.RemoveAll(t.dir))
	}
	return errors.Join(errs...)
}
