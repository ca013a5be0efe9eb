package fluent

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchReceiver) != "" {
		serveBench()
		return
	}
	goleak.VerifyTestMain(m)
}

// arrivals is what a receiver got: the numbers of lines, the first time and again.
type arrivals struct {
	mu       sync.Mutex
	seen     map[int]int
	last     int // the highest number
	disorder []string
	repeats  int
}

func (a *arrivals) handle(e *receiver.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := strconv.Atoi(strings.Fields(string(e.Field("log")))[0])
	if err != nil {
		a.disorder = append(a.disorder, err.Error())
		return
	}
	if a.seen[n]++; a.seen[n] > 1 {
		a.repeats++
	} else if n < a.last {
		a.disorder = append(a.disorder, fmt.Sprintf("%d first came after %d", n, a.last))
	} else {
		a.last = n
	}
}

// rig is a sender between a queue and a receiver, with times so short that faults take milliseconds.
type rig struct {
	*testing.T
	q      *fileQueue
	s      *Sender
	m      *Metrics
	recv   *receiver.Receiver
	got    *arrivals
	lines  int // added so far
	logs   *logText
	cancel context.CancelFunc
	ended  chan struct{}
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, q: newFileQueue(t), got: &arrivals{seen: map[int]int{}}, logs: &logText{}, m: NewMetrics(prometheus.NewRegistry())}
	var err error
	if r.recv, err = receiver.Listen("127.0.0.1:0", r.got.handle); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.recv.Close() })
	return r
}

var testTune = tune{trust: 60 * time.Millisecond, replace: 150 * time.Millisecond, pingWait: 100 * time.Millisecond,
	oneWait: 40 * time.Millisecond, drain: 50 * time.Millisecond, lazyAck: 20 * time.Millisecond, queueRetry: 10 * time.Millisecond,
	backoff: 2 * time.Millisecond, maxBackoff: 50 * time.Millisecond}

// start runs a sender to the addresses, or to the receiver itself.
func (r *rig) start(change func(*Sender), to ...string) {
	r.Helper()
	if len(to) == 0 {
		to = []string{r.recv.Addr()}
	}
	cfg := DefaultConfig()
	cfg.To, cfg.AckTimeout, cfg.Heartbeat, cfg.ConnectTimeout = to, 400*time.Millisecond, 150*time.Millisecond, time.Second
	log := slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.s = NewSender(cfg, r.q, log, r.m)
	r.s.tune = testTune
	if change != nil {
		change(r.s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.ended = cancel, make(chan struct{})
	go func() {
		defer close(r.ended)
		if err := r.s.Run(ctx); err != nil {
			r.Error(err)
		}
	}()
	r.Cleanup(r.stop)
}

// logText is what was logged so far.
type logText struct {
	mu   sync.Mutex
	text []byte
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func (r *rig) stop() {
	r.cancel()
	select {
	case <-r.ended:
	case <-time.After(5 * time.Second):
		r.Error("the sender does not stop")
	}
}

// add appends frames of so many lines of so many bytes each.
func (r *rig) add(frames, lines, bytes int) {
	var b Builder
	for range frames {
		b.Reset("test", 0)
		for range lines {
			r.lines++
			text := strconv.Itoa(r.lines) + " "
			b.Add(int64(r.lines), [][]byte{[]byte(text + strings.Repeat("x", max(bytes-len(text), 0)))}, nil, Extra{})
		}
		r.q.add(&b)
	}
}

// check waits until all is acked and holds what came against what was sent.
func (r *rig) check(repeats int) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.q.drained(ctx); err != nil {
		r.Fatalf("%v; status %+v\n%s", err, r.s.Status(), tail(r.logs.String()))
	}
	r.got.mu.Lock()
	defer r.got.mu.Unlock()
	for n := 1; n <= r.lines; n++ {
		if r.got.seen[n] == 0 {
			r.Errorf("line %d of %d was acked and never arrived", n, r.lines)
			break
		}
	}
	if len(r.got.disorder) > 0 {
		r.Errorf("%d first arrivals out of order: %v", len(r.got.disorder), r.got.disorder[0])
	}
	if r.got.repeats > repeats {
		r.Errorf("%d repeats, want at most %d", r.got.repeats, repeats)
	}
	if got := testutil.ToFloat64(r.m.ackedEvents); int(got) != r.lines {
		r.Errorf("acked_events_total %v, want %d", got, r.lines)
	}
	if r.Failed() {
		r.Log(tail(r.logs.String()))
	}
}

func tail(s string) string { return s[max(len(s)-4000, 0):] }

// until waits for something to become true.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("never: %s; status %+v\n%s", what, r.s.Status(), tail(r.logs.String()))
		}
	}
}

func (r *rig) disconnects(why reason) int {
	return int(testutil.ToFloat64(r.m.disconnects.WithLabelValues(string(why))))
}

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
			if n := r.recv.Stats().Pings; n != 1 {
				r.Errorf("%d pings, want one", n)
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
			r.start(nil)
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
	r.start(nil)
	r.add(1, 1, 3<<19)
	r.check(0)
	if n := r.disconnects(ackTimeout); n > 0 {
		t.Errorf("%d ack timeouts", n)
	}
}

func TestNeverAcks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{NoAcks: true})
	r.start(nil)
	r.add(1000, 1, 50)
	r.until("three ack timeouts", func() bool { return r.disconnects(ackTimeout) >= 3 })
	if got := r.q.acked; got != 0 {
		t.Errorf("%d frames count as acked", got)
	}
	st := r.s.Status()
	if st.Failures < 3 || st.Since.IsZero() || !strings.Contains(st.LastError, "no ack") {
		t.Errorf("status %+v", st)
	}
	faults := int(st.Failures)
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

// What a balancer drops while it is idle costs a new connection and no event, in whatever way it does it.
func TestBalancerDropsIdle(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  balancer.Mode
		idle  time.Duration
		pause time.Duration
	}{
		{"FIN", balancer.FIN, 50 * time.Millisecond, 100 * time.Millisecond},
		{"RST", balancer.RST, 50 * time.Millisecond, 100 * time.Millisecond},
		{"silent, then RST", balancer.SilentReset, 80 * time.Millisecond, 130 * time.Millisecond},
		{"silent", balancer.Silent, 80 * time.Millisecond, 130 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			b, err := balancer.Listen("127.0.0.1:0", balancer.Options{Idle: c.idle, Mode: c.mode}, r.recv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			r.start(func(s *Sender) { s.cfg.Heartbeat = 10 * time.Second }, b.Addr())
			for range 6 {
				r.add(20, 1, 100)
				r.check(0)
				time.Sleep(c.pause)
			}
			r.stop() // or it would be used while the balancer closes
			if n := b.Stats().Dropped; n < 3 {
				t.Errorf("%d connections dropped, this test is for at least 3", n)
			}
			if n := r.disconnects(ackTimeout); n > 0 {
				t.Errorf("%d ack timeouts: data was given to a dead connection", n)
			}
			if got := testutil.ToFloat64(r.m.resent); got > 0 {
				t.Errorf("%v frames sent twice", got)
			}
		})
	}
}

// A connection that ends while there is nothing to send is known to be over before the next frame.
func TestEndNoticedWhileIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(func(s *Sender) { s.cfg.Heartbeat = time.Minute })
	r.add(1, 1, 50)
	r.check(0)
	r.recv.DropConnections()
	r.until("the end is noticed", func() bool { return r.s.Status().Address == "" })
	r.add(1, 1, 50)
	r.check(0)
	if st := r.s.Status(); st.Resent != 0 || st.Connections != 2 || st.Failures != 0 {
		t.Errorf("status %+v", st)
	}
}

// What is no ack ends the connection with a word that helps.
func TestNoForwardReceiver(t *testing.T) {
	for _, c := range []struct{ name, says, want string }{
		{"handshake", "\x92\xa4HELO\x83\xa5nonce\xc4\x02ab\xa4auth\xa0\xa9keepalive\xc3", "handshake"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "is this a Fluentd forward port"},
		{"map without ack", "\x81\xa3nak\xa1x", "is this a Fluentd forward port"},
		{"endless", "\x81\xa3ack\xdb\x7f\xff\xff\xff" + strings.Repeat("x", 10000), "longer than 4096 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(c.says))
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
			}()
			r.start(nil, ln.Addr().String())
			r.until("it is said", func() bool { return strings.Contains(r.s.Status().LastError, c.want) })
			if r.disconnects(badAnswer) == 0 {
				t.Error("not counted")
			}
			r.stop()
			_ = ln.Close()
			<-done
		})
	}
}

// Heartbeats keep a connection alive that a balancer would drop.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b, err := balancer.Listen("127.0.0.1:0", balancer.Options{Idle: 600 * time.Millisecond}, r.recv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	r.start(nil, b.Addr())
	r.add(1, 1, 50)
	r.check(0)
	time.Sleep(time.Second)
	if n := b.Stats().Dropped; n != 0 {
		t.Errorf("%d connections dropped", n)
	}
	if n := r.recv.Stats().Pings; n < 4 {
		t.Errorf("%d pings in a second of 150 ms heartbeats", n)
	}
	r.stop()
}

func TestMaxConnectionAge(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(func(s *Sender) { s.cfg.MaxConnectionAge = 100 * time.Millisecond })
	for range 100 {
		r.add(5, 1, 100)
		time.Sleep(5 * time.Millisecond)
	}
	r.check(0)
	if n := r.disconnects(maxAge); n < 3 {
		t.Errorf("%d connections replaced for their age in half a second", n)
	}
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
			if d := time.Since(begin); d > time.Second {
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

// Any mixture of faults, one after another: nothing is lost, first arrivals are in order, and no fault makes more than a
// batch come twice.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			rnd := rand.New(rand.NewPCG(seed, 7))
			b, err := balancer.Listen("127.0.0.1:0", balancer.Options{}, r.recv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			r.start(nil, b.Addr(), strings.Replace(r.recv.Addr(), "127.0.0.1", "localhost", 1))
			faults := 0
			for range 25 {
				r.add(rnd.IntN(40), 1+rnd.IntN(3), 20+rnd.IntN(1000))
				if rnd.IntN(4) == 0 {
					r.add(1+rnd.IntN(4), 1, 100000)
				}
				faults++
				switch rnd.IntN(14) {
				case 0:
					r.recv.Kill()
					time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
					if err := r.recv.Restart(); err != nil {
						t.Fatal(err)
					}
				case 1:
					r.recv.DropConnections()
				case 2:
					b.Drop()
				case 3:
					r.recv.Set(receiver.Behaviour{NoAcks: true})
				case 4:
					r.recv.Set(receiver.Behaviour{DropAcks: 0.05})
				case 5:
					r.recv.Set(receiver.Behaviour{Refuse: true})
				case 6:
					r.recv.Set(receiver.Behaviour{AckShuffled: true, AckTwice: true})
				case 7:
					r.recv.Set(receiver.Behaviour{AckUnknown: true})
				case 8:
					r.recv.Set(receiver.Behaviour{HangUpOnPings: true})
				case 9:
					r.recv.Set(receiver.Behaviour{CloseAfterMessage: true, ResetOnClose: rnd.IntN(2) == 0})
				case 10:
					b.Set(balancer.Options{Idle: time.Duration(10+rnd.IntN(50)) * time.Millisecond, Mode: balancer.Mode(rnd.IntN(4))})
				case 11:
					b.SetBackends()
				default:
					faults--
					r.recv.Set(receiver.Behaviour{})
					b.Set(balancer.Options{})
					b.SetBackends(r.recv.Addr())
				}
				time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond)
			}
			r.recv.Set(receiver.Behaviour{})
			b.Set(balancer.Options{})
			b.SetBackends(r.recv.Addr())
			r.check((faults + 1) * maxBatchFrames * 3)
			r.stop()
			var ends int
			for _, why := range reasons {
				ends += r.disconnects(why)
			}
			t.Logf("%d lines, %d faults, %d connections ended, %d repeats", r.lines, faults, ends, r.got.repeats)
		})
	}
}

// An ack is only what the protocol says it is, whatever else a peer may send.
func FuzzNextAck(f *testing.F) {
	f.Add([]byte("\x81\xa3ack\xd9\x200123456789abcdef0123456789abcdef\x81\xa3ack\xa1x"))
	f.Add([]byte("\x95\xa4HELO\xc0\xc0"))
	f.Add(binary.BigEndian.AppendUint32([]byte{0xdf}, 1<<31))
	f.Fuzz(func(t *testing.T, p []byte) {
		whole := collect(p)
		// The same acks come out however the bytes are cut.
		var parts []string
		var pending []byte
		for _, b := range p {
			pending = append(pending, b)
			for len(pending) > 0 {
				id, rest, err := nextAck(pending)
				if err == errPartial {
					break
				}
				if err != nil {
					if fmt.Sprint(parts) != fmt.Sprint(whole) {
						t.Fatalf("byte by byte %q, at once %q", parts, whole)
					}
					return
				}
				if len(id) > 0 {
					parts = append(parts, string(id))
				}
				pending = append([]byte(nil), rest...)
			}
		}
		if fmt.Sprint(parts) != fmt.Sprint(whole) {
			t.Fatalf("byte by byte %q, at once %q", parts, whole)
		}
	})
}

func collect(p []byte) (ids []string) {
	for len(p) > 0 {
		id, rest, err := nextAck(p)
		if err != nil {
			break
		}
		if len(id) > 0 {
			ids = append(ids, string(id))
		}
		p = rest
	}
	return ids
}
