package drain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/fairlead/fairlead/internal/instance"
)

// How the metadata service is asked. AWS advises every 5 s for Spot notices; a group's instance that is not one of a Spot fleet costs
// one request each time.
const (
	lookEvery    = 4 * time.Second
	lookWithin   = 2 * time.Second  // one look; requests over the service's rate are dropped in silence
	outsideEvery = 30 * time.Second // while the instance is in no group: it may be attached to one
	outsideAfter = 5 * time.Minute  // a new instance is not in its group at once
	offEvery     = 10 * time.Minute // the service is switched off; that can be undone
	failMax      = 30 * time.Second // between looks that fail
	neverMax     = 5 * time.Minute  // the same where it never answered: most likely this is no EC2 instance
	withdrawn    = 3                // looks in a row that do not find a notice any more
	spotMost     = 2*time.Minute + 15*time.Second
)

// watcher asks for notices. It belongs to one goroutine.
type watcher struct {
	d        *Drain
	id       string // of the instance; empty: not known yet
	spot     bool   // it is a Spot instance
	answered bool   // the service did once
	failing  bool   // said so
	fails    int
	missing  map[Kind]int // looks in a row that did not find what stands
	grouped  time.Time    // when it was last seen in a group
	nextASG  time.Time
	spotSaid time.Time // what the notice says,
	spotIs   time.Time // and what that is by our clock
}

// watch looks until the context ends.
func (d *Drain) watch(ctx context.Context) {
	w := watcher{d: d, missing: map[Kind]int{}, grouped: time.Now()}
	for {
		changed := d.changes()
		cfg := d.config()
		wait := outsideEvery
		if cfg.Enabled {
			wait = w.look(ctx, cfg)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-changed: // a configuration, perhaps
			if cfg.Enabled {
				select { // no more often than usual all the same
				case <-t.C:
				case <-ctx.Done():
				}
			}
			t.Stop()
		case <-t.C:
		}
	}
}

// look asks once for what there may be, acts on it, and answers when to look again.
func (w *watcher) look(ctx context.Context, cfg Config) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	err := w.ask(ctx, cfg)
	if err == nil {
		w.answered, w.fails = true, 0
		if w.failing {
			w.failing = false
			w.d.log.Info("the metadata service answers again; notices are heard")
		}
		if !w.spot && time.Since(w.grouped) > outsideAfter {
			return outsideEvery
		}
		return lookEvery
	}
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return lookEvery // we are stopping
	}
	w.fails++
	w.d.metrics.failed("imds")
	if !w.failing && (w.fails > 1 || !w.answered) { // one silence is a dropped packet
		w.failing = true
		level := slog.LevelWarn
		if !w.answered { // most likely no EC2 instance
			level = slog.LevelInfo
		}
		w.d.log.Log(ctx, level, "no notices of Spot and Auto Scaling are heard (where that is meant so: drain.enabled: false)", "err", err)
	}
	if errors.Is(err, instance.ErrOff) {
		return offEvery
	}
	limit := failMax
	if !w.answered {
		limit = neverMax
	}
	wait := min(lookEvery<<min(w.fails-1, 10), limit)
	return wait - rand.N(wait/10+1)
}

func (w *watcher) ask(ctx context.Context, cfg Config) error {
	get := w.d.parts.Metadata
	if w.id == "" {
		id, err := get(ctx, "instance-id")
		if err != nil {
			return err
		}
		life, err := get(ctx, "instance-life-cycle")
		if err != nil {
			return err
		}
		w.id, w.spot = id, life == "spot"
		w.d.identified(id)
	}
	var errs []error
	if w.spot {
		errs = append(errs, w.askSpot(ctx))
		if cfg.Rebalance {
			errs = append(errs, w.askRebalance(ctx, cfg))
		}
	}
	if !cfg.Rebalance {
		w.d.withdraw(Rebalance)
	}
	if now := time.Now(); !now.Before(w.nextASG) {
		if now.Sub(w.grouped) > outsideAfter {
			w.nextASG = now.Add(outsideEvery)
		}
		errs = append(errs, w.askLifecycle(ctx, cfg))
	}
	return errors.Join(errs...)
}

// spotAction is the item spot/instance-action.
type spotAction struct {
	Action string    `json:"action"`
	Time   time.Time `json:"time"`
}

func (w *watcher) askSpot(ctx context.Context) error {
	text, err := w.d.parts.Metadata(ctx, "spot/instance-action")
	if err != nil || w.absent(Spot, text) {
		return err
	}
	var a spotAction
	if err := json.Unmarshal([]byte(text), &a); err != nil || a.Time.IsZero() {
		// That there is one is what matters; the time is two minutes at the most.
		w.d.log.Error("the Spot notice is not of the form that is known; two minutes are reckoned with", "notice", fmt.Sprintf("%.200q", text))
		a = spotAction{Action: "terminate", Time: time.Now().Add(2 * time.Minute)}
		if old := w.d.standing().of(Spot); old != nil {
			a.Time = old.End
		}
	}
	w.d.add(Cause{Kind: Spot, Detail: a.Action, Began: time.Now(), End: w.spotEnd(a.Time)})
	return nil
}

// spotEnd is the time of a notice, as far as a clock that may be wrong can be believed: it is given two minutes before at the most, and who
// hears it still lives.
func (w *watcher) spotEnd(t time.Time) time.Time {
	now := time.Now()
	if t.Equal(w.spotSaid) {
		return w.spotIs
	}
	w.spotSaid, w.spotIs = t, t
	switch {
	case t.After(now.Add(spotMost)):
		w.spotIs = now.Add(spotMost)
	case t.Before(now):
		w.spotIs = now.Add(spillReserve)
	}
	if w.spotIs != t {
		w.d.log.Warn("the time of the Spot notice does not fit this host's clock", "notice", t, "reckoned_with", w.spotIs)
	}
	return w.spotIs
}

func (w *watcher) askRebalance(ctx context.Context, cfg Config) error {
	text, err := w.d.parts.Metadata(ctx, "events/recommendations/rebalance")
	if err != nil || w.absent(Rebalance, text) {
		return err
	}
	w.d.add(Cause{Kind: Rebalance, Detail: text, Began: time.Now(), End: time.Now().Add(cfg.Wait)})
	return nil
}

// absent notes whether a notice is there. One that stood is withdrawn when it was missing for a while: a single answer proves nothing.
func (w *watcher) absent(k Kind, text string) bool {
	if text != "" {
		w.missing[k] = 0
		return false
	}
	if w.missing[k]++; w.missing[k] >= withdrawn {
		w.d.withdraw(k)
	}
	return true
}

func (w *watcher) askLifecycle(ctx context.Context, cfg Config) error {
	state, err := w.d.parts.Metadata(ctx, "autoscaling/target-lifecycle-state")
	if err != nil || state == "" { // in no group, or not yet: that says nothing of what stands
		return err
	}
	w.grouped = time.Now()
	w.d.target(state, cfg.Wait)
	return nil
}
