package fluent

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/internal/receiver"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchReceiver) != "" {
		serveBench()
		return
	}
	// Tests wait most of the time, so more of them than there are processors can do so beside each other.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
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

// rig is a sender between a queue and a receiver, with times so short that faults take milliseconds. But what it takes for a fault that nobody
// answers in time (hasty) is long: on a busy machine a good receiver is late too.
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
	driver func() // begins to call Turn, once there is a sender
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

var testTune = tune{trust: 60 * time.Millisecond, replace: 150 * time.Millisecond, pingWait: patience,
	oneWait: 40 * time.Millisecond, drain: 50 * time.Millisecond, lazyAck: 20 * time.Millisecond, goneLook: 100 * time.Millisecond, queueRetry: 10 * time.Millisecond,
	stagger: 100 * time.Millisecond, downFor: 50 * time.Millisecond, maxPenalty: time.Second, backoff: 2 * time.Millisecond, maxBackoff: 50 * time.Millisecond}

const patience = 20 * time.Second

// hasty is for receivers that do not answer at all: it takes little for an ack of data or a ping to be overdue.
func hasty(s *Sender) {
	s.cfg.AckTimeout, s.cfg.ConnectTimeout, s.tune.pingWait = 400*time.Millisecond, time.Second, 100*time.Millisecond
}

// within is hasty with an ack timeout such that a receiver which does answer keeps within it.
func within(ackTimeout time.Duration) func(*Sender) {
	return func(s *Sender) { hasty(s); s.cfg.AckTimeout = ackTimeout }
}

// start runs a sender to the addresses, or to the receiver itself.
func (r *rig) start(change func(*Sender), to ...string) {
	r.Helper()
	if len(to) == 0 {
		to = []string{r.recv.Addr()}
	}
	cfg := DefaultConfig()
	for _, address := range to {
		cfg.To = append(cfg.To, Endpoint{Address: address})
	}
	cfg.AckTimeout, cfg.Heartbeat, cfg.ConnectTimeout = patience, 150*time.Millisecond, patience
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
	if r.driver != nil {
		r.driver()
	}
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
	case <-time.After(30 * time.Second):
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
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
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
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.Fatalf("never: %s; status %+v\n%s", what, r.s.Status(), tail(r.logs.String()))
		}
	}
}

// flow adds frames all the time until something is so.
func (r *rig) flow(what string, ok func() bool) {
	r.Helper()
	r.until(what, func() bool {
		r.add(3, 1, 200)
		time.Sleep(3 * time.Millisecond)
		return ok()
	})
}

func (r *rig) disconnects(why reason) int {
	return int(testutil.ToFloat64(r.m.disconnects.WithLabelValues(string(why))))
}
