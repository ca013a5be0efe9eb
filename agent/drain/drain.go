package drain

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Phase is how far the instance is on its way out of service.
type Phase string

// The phases, in their order.
const (
	Serving    Phase = "serving"    // nothing stands
	Draining   Phase = "draining"   // ECS is told
	Tasks      Phase = "tasks"      // they are waited for
	Forwarding Phase = "forwarding" // logs are waited for
	Spilling   Phase = "spilling"   // what could not be delivered goes to S3
	Completing Phase = "completing" // the hook is told
	Out        Phase = "out"        // all is done
	Returning  Phase = "returning"  // ECS is told to place tasks again
)

var phases = []Phase{Serving, Draining, Tasks, Forwarding, Spilling, Completing, Out, Returning}

// Drain looks after one container instance. It outlives reloads of the configuration.
type Drain struct {
	parts    Parts
	log      *slog.Logger
	metrics  *metrics
	stateDir string
	wake     chan struct{} // holds one: there is something for work

	cloudMu sync.Mutex // guards cloud
	cloud   *Cloud

	hookFind sync.Mutex // held while the hook is found out

	mu       sync.Mutex // guards what follows
	cfg      Config
	changed  chan struct{} // closed and replaced with each change of what stands or is configured
	causes   causes
	added    int // causes, ever: whoever works on them sees that one came
	note     note
	noteErr  string
	instance string // empty: not known yet
	phase    Phase
	status   Status
	result   *Result // of the last round; nil: none has ended
	said     map[string]bool
	viewers  map[*Viewer]struct{}
	hook     hook
}

// New makes a Drain. It reads its note from stateDir, and asks nothing yet.
func New(cfg Config, stateDir string, parts Parts, log *slog.Logger, reg prometheus.Registerer) *Drain {
	d := &Drain{parts: parts, log: log.With("component", "drain"), stateDir: stateDir, cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{}),
		phase: Serving, said: map[string]bool{}, viewers: map[*Viewer]struct{}{}}
	d.metrics = newMetrics(reg, d.Status)
	return d
}

// Configure gives the configuration that holds from now on.
func (d *Drain) Configure(cfg Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cfg != cfg {
		if d.cfg.Hook != cfg.Hook {
			d.hook = hook{}
		}
		d.cfg = cfg
		d.change()
	}
}

func (d *Drain) config() Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// Run hears notices and acts on them until the context ends.
func (d *Drain) Run(ctx context.Context) {
	d.mu.Lock()
	d.recall()
	if d.note.Instance == "" { // it was never known: nothing more is to be waited for
		d.resume()
	}
	d.mu.Unlock()
	var g sync.WaitGroup
	g.Go(func() { d.watch(ctx) })
	g.Go(func() { d.work(ctx) })
	g.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for v := range d.viewers {
		v.end(Result{Failure: "the daemon stops; the notice stands, and the next one goes on"})
	}
	clear(d.viewers)
}

// change wakes whoever waits for changes. d.mu is held.
func (d *Drain) change() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// changes is closed with the next change.
func (d *Drain) changes() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *Drain) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// identified says which instance this is. A note of another came with an AMI.
func (d *Drain) identified(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.instance = id
	if d.note.Instance == id {
		d.resume()
		return
	}
	if d.note.Instance != "" {
		d.log.Info("what was noted of draining is of another instance: the AMI brought it along", "of", d.note.Instance)
		d.note = note{Instance: id}
		d.keep()
		return
	}
	d.note.Instance = id
	if d.note.Out || d.note.InService {
		d.keep()
	}
}

// resume goes on with what an earlier process began by hand, and takes back what it did not come to take back. What it did because of a
// notice waits for the notice to be seen, or seen to be gone. d.mu is held.
func (d *Drain) resume() {
	if hand := d.note.Causes.of(Hand); hand != nil && d.causes.of(Hand) == nil {
		again := *hand // what is waited for is waited for anew
		again.Began, again.End = time.Now(), time.Now().Add(hand.End.Sub(hand.Began))
		d.causes = append(d.causes, again)
		d.added++
		d.change()
	}
	d.poke()
}

// standing are the causes that stand.
func (d *Drain) standing() causes {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.causes)
}

// Leaving says that this host is about to end.
func (d *Drain) Leaving() bool { return d.standing().any(Cause.leaving) }

// add notes a cause, or what became of one that stands.
func (d *Drain) add(c Cause) {
	d.mu.Lock()
	if c.Kind == Rebalance && c.Detail == d.note.Ignored {
		d.mu.Unlock()
		return
	}
	old := d.causes.of(c.Kind)
	anew := old != nil && c.Kind == Lifecycle && old.Detail != c.Detail // out of the warm pool to its end: a transition and a hook of its own
	if old != nil && !anew {
		same := old.Detail == c.Detail && (c.Kind != Spot || old.End.Equal(c.End))
		if !same {
			old.Detail = c.Detail
			if c.Kind == Spot {
				old.End = c.End
			}
			d.noteCauses()
			d.change()
		}
		d.mu.Unlock()
		return
	}
	if noted := d.note.Causes.of(c.Kind); old == nil && noted != nil && noted.Detail == c.Detail && c.Kind != Spot && d.note.Out {
		// It stood before this process did, which takes a moment to come to what it has to do.
		floor := c.Began.Add(min(atLeast, c.End.Sub(c.Began)))
		c.Began, c.End = noted.Began, later(noted.End, floor)
	}
	if c.Kind == Lifecycle {
		d.hook = hook{} // what was completed is of another transition
	}
	if anew {
		*old = c
	} else {
		d.causes = append(d.causes, c)
	}
	d.added++
	d.result = nil
	d.noteCauses()
	d.change()
	d.mu.Unlock()
	d.metrics.notices.WithLabelValues(string(c.Kind)).Inc()
	d.tell(slog.LevelWarn, c.String(), "kind", c.Kind, "until", c.End.UTC().Format(time.RFC3339))
	if c.leaving() {
		d.parts.Logs.Leave(true)
	}
	d.poke()
}

// atLeast is waited for logs by a process that finds a notice from before its time, however long that stands.
const atLeast = time.Minute

// shorten brings the end of what Auto Scaling began nearer: its hook does not wait longer, whatever we do.
func (d *Drain) shorten(by time.Time, why string) {
	d.mu.Lock()
	c := d.causes.of(Lifecycle)
	if c == nil || !by.Before(c.End) {
		d.mu.Unlock()
		return
	}
	c.End = by
	d.noteCauses()
	d.change()
	d.mu.Unlock()
	d.tell(slog.LevelWarn, why, "until", by.UTC().Format(time.RFC3339))
}

// withdraw notes that a cause does not stand any more.
func (d *Drain) withdraw(k Kind) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note.Causes = slices.DeleteFunc(slices.Clone(d.note.Causes), func(c Cause) bool { return c.Kind == k })
	if d.causes.of(k) == nil {
		if d.note.Out && len(d.note.Causes) == 0 && len(d.causes) == 0 {
			d.poke() // an earlier process took it out
		}
		return
	}
	d.causes = slices.DeleteFunc(d.causes, func(c Cause) bool { return c.Kind == k })
	d.noteCauses()
	d.change()
	d.poke()
}

// noteCauses keeps what stands. d.mu is held.
func (d *Drain) noteCauses() {
	if len(d.causes) > 0 {
		d.note.Out = true
	}
	d.note.Causes = slices.Clone(d.causes)
	d.keep()
}

// target hears the target state that Auto Scaling has for this instance.
func (d *Drain) target(state string, wait time.Duration) {
	d.mu.Lock()
	served := d.note.InService
	if state == "InService" && !served {
		d.note.InService = true
		d.keep()
	}
	d.mu.Unlock()
	switch {
	case state == "InService":
		d.withdraw(Lifecycle)
	case ends(state), strings.HasPrefix(state, warmed) && served: // a new instance of a warm pool was never in service
		d.add(Cause{Kind: Lifecycle, Detail: state, Began: time.Now(), End: time.Now().Add(wait)})
	}
}

// work takes the instance out and back until the context ends.
func (d *Drain) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		for ctx.Err() == nil {
			d.mu.Lock()
			out, back := len(d.causes) > 0, d.note.Out && len(d.note.Causes) == 0 && d.note.Instance == d.instance
			d.mu.Unlock()
			if out {
				d.takeOut(ctx)
			} else if back {
				d.takeBack(ctx)
			} else {
				break
			}
		}
	}
}

// takeOut goes through the phases, again for each cause that is added, until none stands.
func (d *Drain) takeOut(ctx context.Context) {
	ctx, cancel := d.while(ctx)
	defer cancel()
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { d.keepHook(ctx) })
	spilled := false
	for done := -1; ctx.Err() == nil; {
		if added := d.addedCauses(); added != done {
			done = added
			spilled = d.round(ctx, added)
			continue
		}
		// Until a Spot instance ends, something may yet be left undelivered.
		changed := d.changes()
		cfg, cs := d.config(), d.standing()
		last := time.Hour
		if spot := cs.of(Spot); spot != nil && spot.final() && cfg.Spill != "" && !spilled {
			last = time.Until(cs.spillBy(true))
		}
		t := time.NewTimer(max(0, last))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-t.C:
			if last < time.Hour {
				spilled = true
				d.spillRest(ctx)
				d.enter(Out)
			}
		}
		t.Stop()
	}
}

// addedCauses is how many causes there ever were: with another number, what is begun is to be begun anew.
func (d *Drain) addedCauses() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.added
}

// while is a context that ends when no cause stands any more.
func (d *Drain) while(ctx context.Context) (context.Context, context.CancelFunc) {
	return d.watching(ctx, func() (time.Time, bool) { return time.Time{}, len(d.standing()) == 0 })
}

// within is a context that ends at the time that by answers for what stands, which may come nearer meanwhile.
func (d *Drain) within(ctx context.Context, by func(causes) time.Time) (context.Context, context.CancelFunc) {
	return d.watching(ctx, func() (time.Time, bool) {
		t := by(d.standing())
		return t, t.IsZero()
	})
}

// watching is a context that ends when limit says so, or at the time it answers; it is asked anew with each change.
func (d *Drain) watching(ctx context.Context, limit func() (by time.Time, over bool)) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			changed := d.changes()
			by, over := limit()
			if over {
				cancel(context.Canceled)
				return
			}
			if by.IsZero() {
				by = time.Now().Add(maxWait)
			}
			t := time.NewTimer(time.Until(by))
			select {
			case <-ctx.Done():
			case <-changed:
			case <-t.C:
				cancel(errTime)
			}
			t.Stop()
			if ctx.Err() != nil {
				return
			}
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-ended
	}
}

// errTime is the cause of a context whose time was up.
var errTime = errors.New("the time is up")

// timeUp says whether a context ended because its time was up.
func timeUp(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errTime) }

func (d *Drain) enter(p Phase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phase = p
}

// pass enters the phase behind another, if it has come no further meanwhile.
func (d *Drain) pass(from, to Phase) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.phase == from {
		d.phase = to
	}
}
