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
	works := func() *life { return &life{forwarder: new(forwarder.Forwarder)} }
	stops := works()
	stops.stopping.Store(true)
	for _, c := range []struct {
		name string
		life *life
		st   *forwarder.Status
		want string // in the reasons; empty: ready
	}{
		{"before the first life", nil, nil, "starting"},
		{"no destination", &life{}, nil, "forward.to is not set"},
		{"stopping", stops, nil, "stopping"},
		{"opening", works(), nil, "being opened"},
		{"nothing to do", works(), &forwarder.Status{}, ""},
		{"connected", works(), &forwarder.Status{Forward: fluent.Status{Address: "a:1", LastAck: ago(time.Hour)}}, ""},
		{"a short outage", works(), &forwarder.Status{Forward: fluent.Status{Failures: 3, Since: ago(patience)}}, ""},
		{"a long outage", works(), &forwarder.Status{Forward: fluent.Status{Failures: 3, Since: ago(patience + 1), LastError: "refused"}}, "3 attempts: refused"},
		{"unanswered", works(), &forwarder.Status{
			Forward: fluent.Status{Address: "a:1", LastAck: ago(time.Minute)}, Spool: forwarder.SpoolStatus{PendingFrames: 1, OldestSeconds: 60},
		}, "wait in the spool for 60 s"},
		{"a backlog that shrinks", works(), &forwarder.Status{
			Forward: fluent.Status{Address: "a:1", LastAck: ago(time.Second)}, Spool: forwarder.SpoolStatus{PendingFrames: 1000, OldestSeconds: 3600},
		}, ""},
		{"full", works(), &forwarder.Status{Spool: forwarder.SpoolStatus{Full: "1GiB are spooled"}}, "takes no more: 1GiB are spooled"},
		{"failing", works(), &forwarder.Status{Spool: forwarder.SpoolStatus{Failing: "sync: EIO"}}, "disk fails: sync: EIO"},
		{"stalled", works(), &forwarder.Status{Stalled: true}, "does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.life.readiness(c.st, now)
			if reasons := strings.Join(got.Reasons, "; "); got.OK != (c.want == "") || !strings.Contains(reasons, c.want) {
				t.Errorf("got %v, reasons %q, want %q", got.OK, reasons, c.want)
			}
		})
	}
}
