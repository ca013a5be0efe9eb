package fluent

import (
	"context"
	"log/slog"
	"time"
)

// outage logs a failure that repeats: when it starts, once per interval while it lasts, and when it ends. Outages that follow
// each other within the interval, as those of a receiver that takes a little after each refusal, are not logged each.
type outage struct {
	begun, over string // the messages
	count       int
	told        bool // the present one was logged
	since, last time.Time
}

const outageEvery = time.Minute

func (o *outage) failed(log *slog.Logger, now time.Time, attrs ...slog.Attr) {
	if o.count++; o.count == 1 {
		o.since, o.told = now, false
	}
	if !o.last.IsZero() && now.Sub(o.last) < outageEvery {
		return
	}
	o.last, o.told = now, true
	attrs = append(attrs, slog.Int("failures", o.count), slog.Duration("for", now.Sub(o.since).Round(time.Millisecond)))
	log.LogAttrs(context.Background(), slog.LevelWarn, o.begun, attrs...)
}

func (o *outage) ended(log *slog.Logger, now time.Time, attrs ...slog.Attr) {
	if o.count == 0 {
		return
	}
	if o.told {
		attrs = append(attrs, slog.Int("failures", o.count), slog.Duration("after", now.Sub(o.since).Round(time.Millisecond)))
		log.LogAttrs(context.Background(), slog.LevelInfo, o.over, attrs...)
	}
	o.count = 0
}
