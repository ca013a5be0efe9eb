package forwarder

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fluentlogger "github.com/fluent/fluent-logger-golang/fluent"

	"github.com/fairlead/fairlead/forwarder/listen"
)

// listening starts the lab with a listener on a TCP port and a unix socket.
func listening(t *testing.T) *lab {
	l := newLab(t)
	l.cfg.Sources.Listen = listen.Config{TCP: "127.0.0.1:0", Unix: filepath.Join(l.dir, "fluent.sock")}
	l.cfg.Sources.Containers.Enabled = false
	l.start()
	return l
}

// tcp is the address that the listener has.
func (l *lab) tcp() (host string, port int) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, a := range l.f.Status().Listen.Listening {
			if tcp, err := net.ResolveTCPAddr("tcp", a); err == nil && tcp.Port > 0 {
				return tcp.IP.String(), tcp.Port
			}
		}
	}
	l.t.Fatal("no listener")
	return "", 0
}

// client is a Forward client as Docker's driver makes it.
func (l *lab) client(c fluentlogger.Config) *fluentlogger.Fluent {
	l.t.Helper()
	if c.FluentNetwork != "unix" {
		c.FluentHost, c.FluentPort = l.tcp()
	} else {
		l.tcp() // both are opened at the same time
		c.FluentSocketPath = filepath.Join(l.dir, "fluent.sock")
	}
	c.SubSecondPrecision = true
	f, err := fluentlogger.New(c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = f.Close() })
	return f
}

func docker(id, source, log string) map[string]string {
	return map[string]string{"container_id": id, "container_name": "/web", "source": source, "log": log, "com.example.label": "x"}
}

func (l *lab) post(f *fluentlogger.Fluent, at time.Time, record map[string]string) {
	l.t.Helper()
	if err := f.PostWithTime("app", at, record); err != nil {
		l.t.Fatal(err)
	}
}

const railsTrace = "E, [2026-11-21T09:00:00.000000 #1] ERROR -- : RuntimeError (boom):\n" +
	"app/models/a.rb:1:in `a'\napp/models/a.rb:2:in `b'\napp/models/a.rb:3:in `c'"

// A client that asks for acks sends the second line of a trace only when the first is acked: the ack must not wait for the fold,
// nor the fold end because the ack takes its time.
func TestInboundTraceWithAcks(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			l := listening(t)
			f := l.client(fluentlogger.Config{RequestAck: true, FluentNetwork: network})
			var b strings.Builder
			b.WriteString("E, [2026-11-21T09:00:00.000000 #1] ERROR -- : RuntimeError (boom):")
			for n := range 39 {
				fmt.Fprintf(&b, "\napp/models/a.rb:%d:in `m%d'", n, n)
			}
			want := b.String()
			began := time.Now()
			for _, line := range strings.Split(want, "\n") {
				l.post(f, time.Now(), docker("c1", "stdout", line))
			}
			took := time.Since(began)
			l.await("c1", want)
			l.balanced()
			t.Logf("%v for each line's ack", took/40)
		})
	}
}

// Lines of two containers and both their streams, with and without acks, interleaved over connections of their own and a shared one.
func TestInboundStreamsAreFoldedApart(t *testing.T) {
	l := listening(t)
	f := l.client(fluentlogger.Config{})
	g := l.client(fluentlogger.Config{RequestAck: true})
	lines := strings.Split(railsTrace, "\n")
	at := time.Now()
	for i, line := range lines {
		at := at.Add(time.Duration(i) * time.Millisecond)
		l.post(f, at, docker("c1", "stdout", line))
		l.post(g, at, docker("c2", "stderr", line))
		l.post(f, at, map[string]string{"container_id": fmt.Sprint("other", i), "message": "no line"})
	}
	l.await("c1", railsTrace)
	l.await("c2", railsTrace)
	for i := range lines {
		l.await(fmt.Sprint("other", i), "")
	}
	l.balanced()
}

// Docker cuts lines at 16 KiB; the pieces bear an id and are one line again, whatever else the stream has. A line whose end was dropped
// does not swallow the next.
func TestInboundPartialMessages(t *testing.T) {
	l := listening(t)
	f := l.client(fluentlogger.Config{})
	at := time.Now()
	piece := func(id, log string, n int, last bool) {
		r := docker("c1", "stdout", log)
		r["partial_message"], r["partial_id"], r["partial_ordinal"], r["partial_last"] = "true", id, fmt.Sprint(n), fmt.Sprint(last)
		l.post(f, at, r)
	}
	long := strings.Repeat("0123456789abcdef", 1024) // 16 KiB
	var want strings.Builder
	for n := range 64 {
		want.WriteString(long)
		piece("a", long, n+1, n == 63)
	}
	l.post(f, at, docker("c1", "stdout", "next"))
	piece("b", long, 1, false)
	piece("b", long, 3, true) // the second one was dropped
	piece("c", long, 1, false)
	l.post(f, at, docker("c1", "stdout", "last"))
	l.await("c1", want.String(), "next", long, long, long, "last")
	l.balanced()
}

// A kill between the lines of a trace: what was acked is in input records, and the trace is folded from them.
func TestInboundTraceAcrossLives(t *testing.T) {
	l := listening(t)
	f := l.client(fluentlogger.Config{RequestAck: true, FluentNetwork: "unix", MaxRetry: 20, RetryWait: 50})
	lines := strings.Split(railsTrace, "\n")
	l.post(f, time.Now(), docker("c0", "stdout", "before"))
	l.await("c0", "before")
	for i, line := range lines {
		l.post(f, time.Now(), docker("c1", "stdout", line))
		if i == 1 || i == 2 {
			l.stop()
			if i == 2 { // as a kill leaves it
				l.sockets.Close()
				l.sockets = nil
			}
			l.start()
		}
	}
	l.await("c1", railsTrace)
	l.post(f, time.Now(), docker("c2", "stdout", "after"))
	l.await("c2", "after")
	l.balanced()
	l.stop()
	l.start() // nothing is left that would come again
	l.client(fluentlogger.Config{FluentNetwork: "unix"})
	l.balanced()
	l.await("c1", railsTrace)
	l.await("c2", "after")
}

// Times in whole seconds do not tell what belongs together, and must not part what does.
func TestInboundWholeSeconds(t *testing.T) {
	l := listening(t)
	host, port := l.tcp()
	f, err := fluentlogger.New(fluentlogger.Config{FluentHost: host, FluentPort: port})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := time.Unix(1_700_000_000, 0)
	for i, line := range strings.Split(railsTrace, "\n") {
		l.post(f, at.Add(time.Duration(i/2)*time.Second), docker("c1", "stdout", line))
	}
	l.await("c1", railsTrace)
	l.balanced()
}

// More containers than any host has, each with a tag of its own and a line that waits in its fold: what they cost is bounded, and no
// batch looks through all of them for each of its lines.
func TestInboundManyStreams(t *testing.T) {
	l := listening(t)
	f := l.client(fluentlogger.Config{})
	const n = 3 * inStreams
	var most int
	for i := range n {
		if err := f.PostWithTime(fmt.Sprint("app.", i), time.Now(), docker(fmt.Sprint("c", i), "stdout", "RuntimeError: boom")); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			l.f.in.mu.Lock()
			most = max(most, len(l.f.in.waiting))
			l.f.in.mu.Unlock()
		}
	}
	for _, i := range []int{0, n / 2, n - 1} {
		l.await(fmt.Sprint("c", i), "RuntimeError: boom")
	}
	l.balanced()
	if most > inStreams+1000 { // and a burst
		t.Errorf("lines of %d streams waited, want at most %d", most, inStreams)
	}
	l.until("streams are forgotten", func() bool {
		l.f.in.mu.Lock()
		defer l.f.in.mu.Unlock()
		l.f.in.sweep(l.f.in.now())
		return len(l.f.in.streams) <= inStreams
	})
}
