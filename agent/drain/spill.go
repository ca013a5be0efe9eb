package drain

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/objects"
)

const (
	lookAgain   = 3 * time.Second // for acks that are on their way, before anything is spilled
	spillWithin = 5 * time.Minute // where a hook waits for it
)

// Spilled is what went to S3.
type Spilled struct {
	To      string `json:"to,omitempty"`
	Objects int    `json:"objects"`
	Events  int64  `json:"events"`
	Bytes   int64  `json:"bytes"`
	Failure string `json:"failure,omitempty"`
}

func (d *Drain) spilled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status.Spilled != nil
}

// spillRest brings to S3 what is not acknowledged now. The spool keeps it too and goes on being sent: what arrives after all comes twice when
// the objects are replayed, and nothing is missing if it does not.
func (d *Drain) spillRest(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, lookAgain)
	err := d.parts.Logs.Settle(short)
	cancel()
	if err == nil {
		return
	}
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
	ctx, cancel = d.within(ctx, func(cs causes) time.Time {
		if spot := cs.of(Spot); spot != nil {
			return spot.End // EC2 waits for nobody
		}
		return later(cs.end(), time.Now()).Add(spillWithin)
	})
	defer cancel()
	c, err := d.aws(ctx)
	if err == nil {
		at := time.Now().UTC().Format("20060102T150405Z")
		err = d.parts.Logs.Spill(ctx, func(p Part) error {
			to := place.Under(fmt.Sprintf("%s-%016x.seg", at, p.First))
			if err := c.objects.Put(ctx, to, p.Bytes, p.Open); err != nil {
				d.metrics.failed("s3:PutObject")
				return err
			}
			done.Objects++
			done.Events += p.Events
			done.Bytes += p.Bytes
			d.metrics.spilledEvents.Add(float64(p.Events))
			d.metrics.spilledBytes.Add(float64(p.Bytes))
			d.log.Info("spilled", "object", to.String(), "events", p.Events, "bytes", p.Bytes)
			return nil
		})
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
