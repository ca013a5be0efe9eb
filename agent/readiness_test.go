package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/forwarder/fluent"
)

func TestReadiness(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	cfg := forwarder.DefaultConfig()
	patience := patience(&cfg)
	works := func() *life {
		n := &life{forwarder: new(forwarder.Forwarder)}
		n.loaded.Config.Forwarder = cfg
		return n
	}
	mute := works()
	mute.ready = closed()
	stops := works()
	stops.stopping.Store(true)
	for _, c := range []struct {
		name string
		life *life
		st   *forwarder.Status
		code Code
		want string // in the reasons; empty: ready
	}{
		{"before the first life", nil, nil, Starting, "starting"},
		{"no destination", &life{}, nil, NoDestination, "forward.to is not set"},
		{"stopping", stops, nil, Stopping, "stopping"},
		{"opening", works(), nil, Starting, "being opened"},
		{"no answer", mute, nil, NoAnswer, "does not answer"},
		{"nothing to do", works(), &forwarder.Status{}, "", ""},
		{"connected", works(), &forwarder.Status{Forward: fluent.Status{Address: "a:1", LastAck: ago(time.Hour)}}, "", ""},
		{"a short outage", works(), &forwarder.Status{Forward: fluent.Status{Failures: 3, Since: ago(patience)}}, "", ""},
		{"a long outage", works(), &forwarder.Status{Forward: fluent.Status{Failures: 3, Since: ago(patience + 1), LastError: "refused"}}, Unreachable, "3 attempts: refused"},
		{"unanswered, though pings are", works(), &forwarder.Status{
			Forward: fluent.Status{Address: "a:1", LastAck: ago(time.Second)},
			Spool:   forwarder.SpoolStatus{PendingFrames: 1, UnackedSeconds: patience.Seconds() + 1},
		}, NotAcked, "1 frames wait in the spool, and for 46 s none"},
		{"unanswered for a moment", works(), &forwarder.Status{
			Forward: fluent.Status{Address: "a:1"}, Spool: forwarder.SpoolStatus{PendingFrames: 1, UnackedSeconds: patience.Seconds()},
		}, "", ""},
		{"a backlog that shrinks", works(), &forwarder.Status{
			Forward: fluent.Status{Address: "a:1", LastAck: ago(time.Second)}, Spool: forwarder.SpoolStatus{PendingFrames: 1000, OldestSeconds: 3600, UnackedSeconds: 1},
		}, "", ""},
		{"full", works(), &forwarder.Status{Spool: forwarder.SpoolStatus{Full: "1GiB are spooled"}}, SpoolFull, "takes no more: 1GiB are spooled"},
		{"failing", works(), &forwarder.Status{Spool: forwarder.SpoolStatus{Failing: "sync: EIO"}}, SpoolFailing, "disk fails: sync: EIO"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.life.readiness(c.st, nil, now)
			if c.want == "" {
				if !got.OK || len(got.Reasons) != 0 {
					t.Errorf("got %+v, want no complaint", got)
				}
				return
			}
			if got.OK || len(got.Reasons) != 1 || got.Reasons[0].Code != c.code || !strings.Contains(got.Reasons[0].Text, c.want) {
				t.Errorf("got %+v, want %s: %q", got, c.code, c.want)
			}
		})
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
