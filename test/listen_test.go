package test

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/docker"
	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// listeningRig is a rig whose daemon takes Forward clients.
func listeningRig(t *testing.T, newReceiver func(*testing.T, *oracle.Oracle) receiver) (r *rig, tcp, unix string) {
	t.Helper()
	tcp = freeAddr(t)
	r = newRig(t, newReceiver, daemonConfig{listen: tcp})
	return r, tcp, "unix://" + filepath.Join(r.daemon.dir, "fluent.sock")
}

// listens waits for the listener: without it, a container with the fluentd driver does not start.
func (r *rig) listens(tcp string) {
	r.t.Helper()
	err := poll(r.t.Context(), time.Minute, func() bool {
		c, err := net.Dial("tcp", tcp)
		if err == nil {
			_ = c.Close() // a health check does no more
		}
		return err == nil
	})
	if err != nil {
		r.t.Fatal("no listener: ", err)
	}
}

// driver are the options of Docker's fluentd driver.
func driver(address string, more ...string) map[string]string {
	options := map[string]string{"fluentd-address": address, "tag": "docker.{{.Name}}"}
	for i := 0; i < len(more); i += 2 {
		options[more[i]] = more[i+1]
	}
	return options
}

// TestFluentdDriver runs Docker's own driver in all its modes against fairlead. Traces come whole, lines over 16 KiB are joined, and
// the fields that labels and environment add go through.
func TestFluentdDriver(t *testing.T) {
	r, tcp, unix := listeningRig(t, newOurReceiver)
	r.daemon.start()
	r.listens(tcp)
	labelled := map[string]string{docker.RunLabel: bed.run, "STAGE": "test"}
	all := []*container{
		r.launch("sync", writerOptions{out: script.TagsOneCall, err: script.Bare, groups: 3, rate: 40_000, driver: "fluentd", log: driver(tcp)}),
		r.launch("unix", writerOptions{out: script.TagsOneCall, err: script.Bare, groups: 3, rate: 40_000, driver: "fluentd",
			log: driver(unix, "fluentd-sub-second-precision", "true", "labels", docker.RunLabel, "env", "STAGE"), fields: labelled}),
		r.launch("async", writerOptions{out: script.TagsManyCalls, groups: 3, rate: 40_000, driver: "fluentd",
			log: driver(tcp, "fluentd-async", "true", "fluentd-sub-second-precision", "true")}),
		r.launch("ack", writerOptions{out: script.TagsOneCall, groups: 3, rate: 20_000, driver: "fluentd",
			log: driver(unix, "fluentd-request-ack", "true", "fluentd-sub-second-precision", "true")}),
		r.launch("long", writerOptions{out: script.TagsOneCall, groups: 3, rate: 60_000, long: true, driver: "fluentd",
			log: driver(unix, "fluentd-sub-second-precision", "true")}),
	}
	for _, c := range all {
		c.wait()
	}
	r.finish()
}

// TestFluentdDriverKills kills fairlead again and again under containers whose driver asks for acks: nothing is lost.
func TestFluentdDriverKills(t *testing.T) {
	r, tcp, unix := listeningRig(t, newOTelReceiver) // a line that was in a frame but not acked comes again in another
	r.daemon.start()
	r.listens(tcp)
	options := []string{"fluentd-request-ack", "true", "fluentd-sub-second-precision", "true", "fluentd-retry-wait", "100ms"}
	all := []*container{
		r.launch("tcp", writerOptions{out: script.TagsOneCall, rate: 20_000, driver: "fluentd", log: driver(tcp, options...)}),
		r.launch("unix", writerOptions{out: script.TagsOneCall, rate: 20_000, driver: "fluentd", log: driver(unix, options...)}),
	}
	for range 6 {
		r.pause(r.between(100*time.Millisecond, time.Second))
		r.killDaemon(r.between(0, 200*time.Millisecond))
	}
	r.listens(tcp)
	for _, c := range all {
		c.stop()
	}
	r.finish()
}
