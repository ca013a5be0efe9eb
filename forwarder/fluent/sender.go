package fluent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/internal/handshake"
)

// Sender carries the frames of a queue to one receiver at a time.
type Sender struct {
	cfg  Config
	q    Queue
	log  *slog.Logger
	m    *Metrics
	tune tune

	// What follows belongs to the goroutine of Run, and while a session runs the flights, limit and usual to that.
	peers       []*peer
	client      handshake.Client // its key is empty: no handshake
	credentials credentials
	unpacker    unpacker
	frames      []Frame
	flights     flights
	limit       int
	usual       time.Duration
	attempts    int    // failures in a row, for the backoff
	sentSeq     uint64 // the highest sequence number written
	known       bool   // a connection has been logged

	connections, resent, sent, acked atomic.Int64 // for Status
	timer                            *time.Timer

	mu      sync.Mutex // guards all below
	status  Status
	session *session
	faults  outage // of delivery
	reading outage // of the queue's Next and Wait
	acking  outage // of the queue's Ack
}

// tune are the times that are not for users to set. Tests make them short.
type tune struct {
	trust       time.Duration // idle for longer, a connection proves itself before it gets data
	replace     time.Duration // idle for longer, one that cannot prove itself is replaced
	pingWait    time.Duration // for the ack of a ping, at least
	oneWait     time.Duration // for the close of a receiver that closes after each message
	drain       time.Duration // for acks that are still to be read after a write failed
	lazyAck     time.Duration // for an ack to be noticed, when nothing waits for it
	queueRetry  time.Duration
	backoff     time.Duration // the first; it doubles
	maxBackoff  time.Duration // 5 s: so soon a receiver that is back is noticed
	slowBackoff time.Duration // at most, and at least half of it, while only another configuration can help
}

var defaultTune = tune{trust: time.Second, replace: 5 * time.Second, pingWait: time.Second, oneWait: 100 * time.Millisecond,
	drain: 500 * time.Millisecond, lazyAck: 50 * time.Millisecond, queueRetry: time.Second, backoff: 100 * time.Millisecond, maxBackoff: 5 * time.Second,
	slowBackoff: time.Minute}

// NewSender takes a Config that is valid. With no destination in it, Run only waits. Of the senders that share m, one
// runs at a time.
func NewSender(cfg Config, q Queue, log *slog.Logger, m *Metrics) *Sender {
	s := &Sender{cfg: cfg, q: q, log: log, m: m, tune: defaultTune, limit: maxBatchFrames,
		faults:  outage{begun: "cannot deliver to fluentd", over: "delivering to fluentd again"},
		reading: outage{begun: "cannot read frames to send", over: "reading frames to send again"},
		acking:  outage{begun: "cannot save what fluentd acked", over: "saving what fluentd acked again"},
		client: handshake.Client{Hostname: hostname(), SharedKey: string(cfg.SharedKey),
			User: handshake.User{Name: string(cfg.Username), Password: string(cfg.Password)}},
		credentials: credentials{TLS: cfg.TLS,
			reading: outage{begun: "cannot use the new TLS files, the former stay in use", over: "TLS files are right again"}},
	}
	m.addressUp.Reset()
	for _, to := range cfg.To {
		s.peers = append(s.peers, newPeer(to))
		m.addressUp.WithLabelValues(to.Address).Set(0)
	}
	return s
}

// hostname is the name that we go by in a handshake; the receiver logs it.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}

// Run sends until ctx ends, and then returns nil at once; what is then written and not acked will be sent again by the
// next Run. Whoever wants a grace period ends ctx after it.
func (s *Sender) Run(ctx context.Context) error {
	if len(s.peers) == 0 {
		<-ctx.Done()
		return nil
	}
	s.timer = time.NewTimer(time.Hour)
	defer s.timer.Stop()
	var pause time.Duration
	var quiet *peer // the last connection, to this peer, ended with nothing undone
	for s.wait(ctx, pause, quiet) {
		pause, quiet = 0, nil
		w, p, err := s.connect(ctx)
		if err != nil {
			if ctx.Err() == nil {
				pause = s.failed(err)
			}
			continue
		}
		c := newSession(ctx, s, w, p)
		s.began(c)
		end := c.run(ctx)
		failed, wait := s.ended(c, end)
		if failed {
			pause = wait
		} else if end.reason != pingTimeout {
			quiet = p
		}
	}
	return nil
}

// wait pauses after a failure. After a quiet end it waits for data, or for the time of a heartbeat, which also proves that
// the receiver is up while there is nothing to send. It reports false when ctx ends.
func (s *Sender) wait(ctx context.Context, pause time.Duration, quiet *peer) bool {
	switch {
	case pause > 0:
		s.timer.Reset(pause)
		select {
		case <-ctx.Done():
		case <-s.timer.C:
		}
	case quiet != nil:
		limit, cancel := context.WithCancel(ctx)
		if quiet.pings != no && !quiet.oneAtOnce {
			limit, cancel = context.WithTimeout(ctx, s.cfg.Heartbeat)
		}
		err := s.q.Wait(limit)
		cancel()
		if err != nil && limit.Err() == nil {
			s.queueFailed(err)
			return s.wait(ctx, s.tune.queueRetry, nil)
		}
	}
	return ctx.Err() == nil
}

func (s *Sender) began(c *session) {
	s.m.connections.Inc()
	s.connections.Add(1)
	level := slog.LevelDebug
	if !s.known {
		s.known, level = true, slog.LevelInfo
	}
	s.log.Log(context.Background(), level, "connected to fluentd", "address", c.p.Address, "remote", c.remote)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = c
	s.status.Address, s.status.Connected = c.p.Address, c.born
	s.status.Remote = net.JoinHostPort(c.remote.String(), fmt.Sprint(c.p.port))
}

// ended draws the conclusions from a session that is over: where to go on in the queue, whether it was a failure and how
// long then to wait, and what it taught about the peer.
func (s *Sender) ended(c *session, end *ended) (failed bool, pause time.Duration) {
	now := time.Now()
	s.m.disconnects.WithLabelValues(string(end.reason)).Inc()
	s.limit, s.usual = c.limit, c.usual
	inFlight := c.fl.len()
	if c.acks == 0 && isAlert(end.err) {
		end = &ended{end.reason, s.explainAlert(end.err, c.p)}
	}
	s.q.Rewind()
	c.learn()
	c.learnPacking()

	peerLeft := end.reason == peerClosed || end.reason == peerReset
	if peerLeft && c.acks == 1 && now.Sub(c.lastAck) < 2*s.tune.oneWait {
		if c.p.single++; c.p.single >= 2 {
			c.p.oneAtOnce = true
		}
	} else if c.acks > 1 {
		c.p.single = 0
	}

	s.mu.Lock()
	s.session = nil
	s.status.Address, s.status.Remote, s.status.Connected = "", "", time.Time{}
	if c.acks > 0 {
		s.status.LastAck = c.lastAck
	}
	s.mu.Unlock()

	if end.reason == pingTimeout { // most likely a balancer that forgot the connection; if not, another address may answer
		c.p.fail(c.remote, now)
		c.p.failing = now
		s.m.addressUp.WithLabelValues(c.p.Address).Set(0)
	}
	idle := inFlight == 0 && (c.acks > 0 || now.Sub(c.born) > s.tune.trust)
	if end.planned() || idle {
		s.log.Debug("connection to fluentd ended", "address", c.p.Address, "reason", end.reason, "err", end.err)
		return false, 0
	}
	if c.frames > 0 {
		s.attempts = 0
	}
	s.limit = 1
	c.p.fail(c.remote, now)
	c.p.failing = now
	s.m.addressUp.WithLabelValues(c.p.Address).Set(0)
	refused := peerLeft && inFlight > 0 && c.frames == 0
	if refused {
		s.m.refusals.Inc()
		if inFlight == 1 {
			c.p.packing.refuse(c.fl.oldest().packed)
		}
	}
	return true, s.fault(end, refused, slog.String("address", c.p.Address), slog.Any("remote", c.remote),
		slog.String("reason", string(end.reason)), slog.Int("in_flight", inFlight), slog.String("err", end.Error()))
}

// failed notes that no connection came about.
func (s *Sender) failed(err error) (pause time.Duration) {
	return s.fault(err, false, slog.String("err", err.Error()))
}

// fault says how long to wait after a failure: at random, so that a fleet does not come back all at once.
func (s *Sender) fault(err error, refused bool, attrs ...slog.Attr) (pause time.Duration) {
	now := time.Now()
	s.mu.Lock()
	s.faults.failed(s.log, now, attrs...)
	if refused {
		s.status.Refusals++
	}
	s.status.LastError, s.status.ErrorAt = err.Error(), now
	s.mu.Unlock()
	var setup *setupError
	slow := errors.As(err, &setup)
	most := s.tune.maxBackoff
	if slow {
		most = s.tune.slowBackoff
	}
	limit := min(s.tune.backoff<<min(s.attempts, 20), most)
	s.attempts++
	if slow {
		return limit/2 + rand.N(limit/2+1)
	}
	return max(rand.N(limit), 1)
}

// delivering notes that a connection has got a frame through, or that it answers and none is left.
func (s *Sender) delivering(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.ended(s.log, time.Now(), slog.String("address", c.p.Address))
	s.status.Refusals = 0
}

// next takes frames from the queue.
func (s *Sender) next(frames int, bytes int64) ([]Frame, error) {
	var err error
	s.frames, err = s.q.Next(s.frames[:0], frames, bytes)
	if err != nil && len(s.frames) == 0 {
		s.queueFailed(err)
	} else if s.reading.count > 0 { // read without the lock: only this goroutine writes it
		s.mu.Lock()
		s.reading.ended(s.log, time.Now())
		s.mu.Unlock()
	}
	return s.frames, err
}

func (s *Sender) queueFailed(err error) {
	s.mu.Lock()
	s.reading.failed(s.log, time.Now(), slog.String("err", err.Error()))
	s.mu.Unlock()
}

// sending counts a batch that is about to be written.
func (s *Sender) sending(batch []Frame, bytes int64) {
	s.m.sentBytes.Add(float64(bytes))
	s.sent.Add(bytes)
	again := 0
	for i := range batch {
		if batch[i].Seq > s.sentSeq {
			s.sentSeq = batch[i].Seq
		} else {
			again++
		}
	}
	if again > 0 {
		s.m.resent.Add(float64(again))
		s.resent.Add(int64(again))
	}
}

// ack moves the queue's cursor. The ack reader calls it.
func (s *Sender) ack(seq uint64, events int) {
	s.m.ackedEvents.Add(float64(events))
	s.acked.Add(int64(events))
	err := s.q.Ack(seq)
	if err == nil && s.acking.count == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.acking.failed(s.log, time.Now(), slog.Uint64("seq", seq), slog.String("err", err.Error()))
	} else {
		s.acking.ended(s.log, time.Now())
	}
}

// Status may be called at any time.
func (s *Sender) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Connections, st.Resent, st.SentBytes, st.AckedEvents = s.connections.Load(), s.resent.Load(), s.sent.Load(), s.acked.Load()
	if s.faults.count > 0 {
		st.Failures, st.Since = s.faults.count, s.faults.since
	}
	if c := s.session; c != nil {
		c.mu.Lock()
		st.InFlight = c.fl.len()
		if c.acks > 0 {
			st.LastAck = c.lastAck
		}
		c.mu.Unlock()
	}
	return st
}
