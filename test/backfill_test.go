package test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// TestBackfill kills fairlead under Docker's own driver, without systemd to keep the connections: what the driver had written into a socket
// that nobody read any more, and what it dropped while nobody listened, is in the engine's cache. Everything arrives, once, and
// what came that way says so.
func TestBackfill(t *testing.T) {
	r, tcp, unix := listeningRig(t, newOurReceiver)
	r.daemon.start()
	r.listens(tcp)
	all := []*container{
		// One stream: the driver's two writers may make a connection each when they come back, and the order between those is lost.
		r.launch("tcp", writerOptions{out: script.TagsOneCall, rate: 40_000, driver: "fluentd",
			log: driver(tcp, "fluentd-sub-second-precision", "true")}),
		r.launch("unix", writerOptions{out: script.TagsOneCall, rate: 40_000, long: true, driver: "fluentd",
			log: driver(unix, "fluentd-sub-second-precision", "true", "env", "STAGE"), fields: map[string]string{"STAGE": "test"}}),
		r.launch("async", writerOptions{out: script.TagsOneCall, rate: 20_000, driver: "fluentd",
			log: driver(tcp, "fluentd-async", "true", "fluentd-sub-second-precision", "true")}),
	}
	for range 3 {
		r.pause(r.between(2*time.Second, 3*time.Second))
		r.killDaemon(r.between(500*time.Millisecond, 2*time.Second))
		r.listens(tcp)
	}
	r.pause(4 * time.Second)
	for _, c := range all {
		c.stop()
	}
	if err := r.delivered(); err != nil {
		t.Errorf("not everything arrived: %v\nstatus: %s", err, r.daemon.status())
	}
	r.balanced()
	m, err := r.daemon.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v lines back-filled, %v dropped because they came again", m["fairlead_listen_backfilled_total"], m["fairlead_listen_repeated_total"])
	if m["fairlead_listen_backfilled_total"] == 0 {
		t.Error("nothing was back-filled in the last life")
	}
	r.daemon.stop()
	r.receiver.drain()
	for _, p := range r.oracle.Problems() {
		t.Error(p)
	}
	if got := r.oracle.Totals(); got.Repeats > r.faults*batchFrames {
		t.Errorf("%d events came twice", got.Repeats)
	} else {
		t.Logf("events %d, traces %d, repeated %d", got.Events, got.Traces, got.Repeats)
	}
}
