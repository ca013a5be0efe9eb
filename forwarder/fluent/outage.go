package fluent

import (
	"context"
	"log/slog"
	"time"
)

// outage logs a failure that repeats: when it starts, once per interval while it lasts, and when it ends.
type outage struct {
	begun, over string // the messages
	count       int
	since, last time.Time
}

const outageEvery = time.Minute

func (o *outage) failed(log *slog.Logger, now time.Time, attrs ...slog.Attr) {
	if o.count++; o.count == 1 {
		o.since = now
	} else if now.Sub(o.last) < outageEvery {
		return
	}
	o.last = now
	attrs = append(attrs, slog.Int("failures", o.count), slog.Duration("for", now.Sub(o.since).Round(time.Millisecond)))
	log.LogAttrs(context.Background(), slog.LevelWarn, o.begun, attrs...)
}

func (o *outage) ended(log *slog.Logger, now time.Time, attrs ...slog.Attr) {
	if o.count == 0 {
		return
	}
	attrs = append(attrs, slog.Int("failures", o.count), slog.Duration("after", now.Sub(o.since).Round(time.Millisecond)))
	log.LogAttrs(context.Background(), slog.LevelInfo, o.over, attrs...)
	o.count = 0
}
