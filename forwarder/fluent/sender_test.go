package fluent

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/internal/receiver"
)

func TestDelivers(t *testing.T) {
	for _, c := range []struct {
		name                 string
		frames, lines, bytes int
	}{
		{"one", 1, 1, 50},
		{"small", 3000, 2, 100},
		{"large", 100, 40, 5000},
		{"larger than a batch", 1, 1, 9 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.start(nil)
			r.add(c.frames, c.lines, c.bytes)
			r.check(0)
			r.add(c.frames, c.lines, c.bytes)
			r.check(0)
			if got := r.recv.Stats(); got.Connections != 1 || got.Pings < 1 {
				t.Errorf("%d connections and %d pings, want one connection that began with a ping", got.Connections, got.Pings)
			}
			if got, want := testutil.ToFloat64(r.m.sentBytes), float64(r.q.size); got != want {
				t.Errorf("sent_bytes_total %v, want %v", got, want)
			}
			st := r.s.Status()
			if st.Address != r.recv.Addr() || st.Remote != st.Address || st.InFlight != 0 || st.LastAck.IsZero() || st.Connected.IsZero() || st.Failures != 0 {
				t.Errorf("status %+v", st)
			}
			if got := testutil.ToFloat64(r.m.addressUp.WithLabelValues(r.recv.Addr())); got != 1 {
				t.Errorf("address_up %v, want 1", got)
			}
		})
	}
}

// Frames of both kinds in one batch keep their order.
func TestMixedSizes(t *testing.T) {
	r := newRig(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		r.add(1, 1, []int{60, 5000, 40000, 300000}[rnd.IntN(4)])
	}
	r.start(nil)
	r.check(0)
}

// What a receiver does short of losing events: all arrives, and in order.
func TestReceiverManners(t *testing.T) {
	for _, c := range []struct {
		name    string
		b       receiver.Behaviour
		frames  int
		repeats int
		check   func(r *rig)
	}{
		{"acks late", receiver.Behaviour{AckDelay: 100 * time.Millisecond}, 600, 0, nil},
		{"acks out of order", receiver.Behaviour{AckShuffled: true}, 600, 0, nil},
		{"acks twice", receiver.Behaviour{AckTwice: true}, 600, 0, nil},
		{"acks late, twice and out of order", receiver.Behaviour{AckTwice: true, AckShuffled: true, AckDelay: 30 * time.Millisecond}, 600, 0, nil},
		{"ignores pings", receiver.Behaviour{IgnorePings: true}, 600, 0, func(r *rig) {
			r.until("an idle connection is replaced", func() bool {
				time.Sleep(testTune.replace)
				r.add(1, 1, 50)
				return r.disconnects(idle) > 0
			})
			r.check(0)
			if n := r.recv.Stats().Pings; n > 2 {
				r.Errorf("%d pings, want two at most", n)
			}
		}},
		{"hangs up on pings", receiver.Behaviour{HangUpOnPings: true}, 600, 0, func(r *rig) {
			r.until("an idle connection is replaced", func() bool {
				time.Sleep(testTune.replace)
				r.add(1, 1, 50)
				return r.disconnects(idle) > 0
			})
			r.check(0)
		}},
		{"closes after each message", receiver.Behaviour{CloseAfterMessage: true}, 100, 0, func(r *rig) {
			if n := r.recv.Stats().Connections; n > 120 || r.disconnects(oneMessage) < 90 {
				r.Errorf("%d connections for 100 frames, %d of them for one message by intent", n, r.disconnects(oneMessage))
			}
			r.recv.Set(receiver.Behaviour{})
			before := r.recv.Stats().Connections
			r.add(100, 1, 50)
			r.check(0)
			if n := r.recv.Stats().Connections - before; n > 3 {
				r.Errorf("%d connections for 100 frames after it had stopped closing", n)
			}
		}},
		{"closes after each message with RST", receiver.Behaviour{CloseAfterMessage: true, ResetOnClose: true}, 100, 10, nil},
		{"reads slowly", receiver.Behaviour{BytesPerSecond: 200000}, 300, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.recv.Set(c.b)
			r.add(c.frames/2, 1, 50)
			r.start(func(s *Sender) {
				if c.b.IgnorePings {
					s.tune.pingWait = 100 * time.Millisecond
				}
				if c.b.CloseAfterMessage {
					s.tune.oneWait = time.Second
				}
			})
			r.add(c.frames/2, 2, 100)
			r.check(c.repeats)
			if c.check != nil {
				c.check(r)
			}
		})
	}
}

// A frame may take longer than ack_timeout to get through, as long as it moves.
func TestSlowReceiverOfOneLargeFrame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{BytesPerSecond: 1 << 20})
	r.start(within(2 * time.Second))
	r.add(1, 1, 5<<20)
	r.check(0)
	if n := r.disconnects(ackTimeout); n > 0 {
		t.Errorf("%d ack timeouts", n)
	}
}

func TestNeverAcks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{NoAcks: true})
	r.start(within(time.Second))
	r.add(1000, 1, 50)
	r.until("three ack timeouts", func() bool { return r.disconnects(ackTimeout) >= 3 })
	if got := r.q.acked; got != 0 {
		t.Errorf("%d frames count as acked", got)
	}
	st := r.s.Status()
	if st.Failures < 3 || st.Since.IsZero() || !strings.Contains(st.LastError, "no ack") {
		t.Errorf("status %+v", st)
	}
	faults := st.Failures
	r.recv.Set(receiver.Behaviour{})
	r.check(maxBatchFrames + 2*faults) // the first batch, then one frame at a time
	if st := r.s.Status(); st.Failures != 0 {
		t.Errorf("status after it is over: %+v", st)
	}
	if n := strings.Count(r.logs.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one for the whole outage", n)
	}
	if n := strings.Count(r.logs.String(), "delivering to fluentd again"); n != 1 {
		t.Errorf("%d words of its end, want one", n)
	}
}

func TestUnknownAck(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{AckUnknown: true})
	r.start(nil)
	r.add(10, 1, 50)
	r.until("a doubt", func() bool { return r.disconnects(badAnswer) >= 2 })
	if !strings.Contains(r.s.Status().LastError, "not sent on this connection") {
		t.Errorf("status %+v", r.s.Status())
	}
	r.recv.Set(receiver.Behaviour{})
	r.check(1000)
}

// Fluentd with a full buffer closes on data and goes on acking pings: an outage in which little is sent, and no silence.
func TestFullFluentd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{Refuse: true})
	r.start(nil)
	r.add(500, 1, 1000)
	r.until("refusals", func() bool { return testutil.ToFloat64(r.m.refusals) >= 5 })
	if st := r.s.Status(); st.Refusals < 5 {
		t.Errorf("status %+v", st)
	}
	sent := testutil.ToFloat64(r.m.sentBytes)
	r.until("more refusals", func() bool { return testutil.ToFloat64(r.m.refusals) >= 10 })
	if n := testutil.ToFloat64(r.m.sentBytes) - sent; n > 8*1200 {
		t.Errorf("%v bytes sent in about five attempts, want one frame each", n)
	}
	if got := testutil.ToFloat64(r.m.addressUp.WithLabelValues(r.recv.Addr())); got != 0 {
		t.Errorf("address_up %v while it refuses, want 0", got)
	}
	r.recv.Set(receiver.Behaviour{})
	r.check(0)
	if got := testutil.ToFloat64(r.m.resent); got < 10 {
		t.Errorf("resent_frames_total %v, want at least 10", got)
	}
}

func TestReceiverRestarts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(nil)
	for range 5 {
		r.add(500, 1, 200)
		r.recv.Kill()
		r.add(500, 1, 200)
		time.Sleep(20 * time.Millisecond)
		if err := r.recv.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	r.check(5 * maxBatchFrames)
}

func TestMaxConnectionAge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(func(s *Sender) { s.cfg.MaxConnectionAge = 100 * time.Millisecond })
	r.flow("connections are replaced for their age", func() bool { return r.disconnects(maxAge) >= 3 })
	r.check(0)
	if got := testutil.ToFloat64(r.m.resent); got > 0 {
		t.Errorf("%v frames sent twice", got)
	}
}

// All addresses are tried, and one that fails makes way for another.
func TestAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dead, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	addr := dead.Addr()
	_ = dead.Close()
	full, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	full.Set(receiver.Behaviour{Refuse: true})
	r.start(nil, addr, full.Addr(), r.recv.Addr())
	for range 10 {
		r.add(20, 1, 100)
		r.check(0)
		r.recv.DropConnections()
	}
	if n := full.Stats().Events; n > 0 {
		t.Errorf("the full receiver took %d events", n)
	}
}

func TestNoDestination(t *testing.T) {
	r := newRig(t)
	r.start(func(s *Sender) { s.peers, s.cfg.To = nil, nil })
	r.add(1, 1, 50)
	time.Sleep(20 * time.Millisecond)
	r.stop()
}

// Run ends at once in whatever state the sender is.
func TestStops(t *testing.T) {
	for _, c := range []struct {
		name string
		b    receiver.Behaviour
		kill bool
	}{
		{"idle", receiver.Behaviour{}, false},
		{"waits for acks", receiver.Behaviour{NoAcks: true}, false},
		{"waits for a pong", receiver.Behaviour{IgnorePings: true}, false},
		{"writes", receiver.Behaviour{BytesPerSecond: 1000}, false},
		{"backs off", receiver.Behaviour{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.recv.Set(c.b)
			if c.kill {
				r.recv.Kill()
			}
			r.start(func(s *Sender) {
				s.cfg.AckTimeout = time.Minute
				s.tune.pingWait, s.tune.backoff, s.tune.maxBackoff = time.Minute, time.Minute, time.Minute
				if c.b.IgnorePings {
					return
				}
				s.peers[0].pings = yes
			})
			r.add(100, 1, 100000)
			time.Sleep(50 * time.Millisecond)
			begin := time.Now()
			r.stop()
			if d := time.Since(begin); d > 10*time.Second { // what it waits for takes a minute
				t.Errorf("took %v to stop", d)
			}
		})
	}
}

// The queue's errors are waited out, and said.
func TestQueueFails(t *testing.T) {
	r := newRig(t)
	r.q.fail = fmt.Errorf("cannot read segment 7")
	r.start(nil)
	r.until("a word of it", func() bool { return strings.Contains(r.s.Status().LastError+r.logs.String(), "segment 7") })
	r.q.mu.Lock()
	r.q.fail = nil
	r.q.mu.Unlock()
	r.add(10, 1, 50)
	r.check(0)
	if !strings.Contains(r.logs.String(), "reading frames to send again") {
		t.Error("the end of it was not logged")
	}
}
