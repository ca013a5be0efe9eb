package drain

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/objects"
)

const (
	lookAgain   = 3 * time.Second // for acks that are on their way, before anything is spilled
	spillWithin = 5 * time.Minute // where a hook waits for it
	spillLate   = 15 * time.Second
)

// stretch is what an object holds: records by their numbers.
type stretch struct{ first, last uint64 }

// Spilled is what went to S3.
type Spilled struct {
	To      string `json:"to,omitempty"`
	Objects int    `json:"objects"`
	Events  int64  `json:"events"`
	Bytes   int64  `json:"bytes"`
	Failure string `json:"failure,omitempty"`
}

// spillRest brings to S3 what is not acknowledged now.
func (d *Drain) spillRest(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, lookAgain)
	err := d.parts.Logs.Settle(short)
	cancel()
	if err != nil || d.parts.Logs.Rest().Aside > 0 {
		d.spill(ctx)
	}
}

// spill brings to S3 what is not acknowledged, and tries again as long as there is time. The spool keeps it too and goes on being sent: what
// arrives after all comes twice when the objects are replayed, and nothing is missing if it does not.
func (d *Drain) spill(ctx context.Context) {
	d.enter(Spilling)
	place, err := objects.Parse(d.config().Spill)
	if err != nil {
		return // Validate has seen to that
	}
	d.mu.Lock()
	name := d.instance
	d.mu.Unlock()
	if name == "" {
		name, _ = os.Hostname()
	}
	place = place.Under(name)
	done := Spilled{To: place.String() + "/"}
	d.tell(slog.LevelWarn, "what is not delivered is spilled", "to", done.To)
	began := time.Now()
	ctx, cancel := d.within(ctx, func(cs causes) time.Time {
		if spot := cs.of(Spot); spot != nil { // EC2 waits for nobody; but as long as it has not ended us, it has not
			return later(spot.End, began.Add(spillLate))
		}
		return later(cs.end(), began).Add(spillWithin)
	})
	defer cancel()
	var there []stretch
	wait := firstRetry
	for {
		if err = d.spillOnce(ctx, place, began, &done, &there); err == nil || !objects.Passes(err) || !pause(ctx, wait/2+rand.N(wait)) {
			break
		}
		wait = min(2*wait, maxRetry)
	}
	level, text := slog.LevelWarn, ""
	if done.Objects > 0 {
		text = fmt.Sprintf("%d events that were not acknowledged are in %s (to send them: fairlead replay %s)", done.Events, done.To, done.To)
	}
	if err != nil {
		done.Failure = strings.ReplaceAll(err.Error(), "\n", " ")
		level, text = slog.LevelError, strings.TrimSuffix(fmt.Sprintf("not all could be spilled: %s; %s", done.Failure, text), "; ")
	}
	if text == "" {
		return // it was acknowledged at last
	}
	d.mu.Lock()
	d.status.Spilled = &done
	d.mu.Unlock()
	d.tell(level, text)
	d.event("spilled", text, map[string]any{"spilled_events": done.Events, "spilled_bytes": done.Bytes, "spilled_to": done.To})
}

// spillOnce puts what is not there yet. A part that cannot be put keeps none of the others back.
func (d *Drain) spillOnce(ctx context.Context, place objects.Place, began time.Time, done *Spilled, there *[]stretch) error {
	c, err := d.aws(ctx)
	if err != nil {
		return err
	}
	var failed error
	err = d.parts.Logs.Spill(ctx, func(p Part) error {
		if slices.ContainsFunc(*there, func(s stretch) bool { return s.first <= p.First && p.Last <= s.last }) {
			return nil
		}
		to := place.Under(fmt.Sprintf("%s-%016x.seg", began.UTC().Format("20060102T150405Z"), p.First))
		if err := c.objects.Put(ctx, to, p.Bytes, p.Open); err != nil {
			d.metrics.failed("s3:PutObject")
			if failed == nil {
				failed = err
			}
			if !objects.Passes(err) {
				return err // nor will the others be taken
			}
			return ctx.Err()
		}
		*there = append(*there, stretch{p.First, p.Last})
		done.Objects++
		done.Events += p.Events
		done.Bytes += p.Bytes
		d.metrics.spilledEvents.Add(float64(p.Events))
		d.metrics.spilledBytes.Add(float64(p.Bytes))
		d.log.Info("spilled", "object", to.String(), "events", p.Events, "bytes", p.Bytes)
		return nil
	})
	if failed != nil {
		return failed
	}
	return err
}
