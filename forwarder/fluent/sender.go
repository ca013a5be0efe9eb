package fluent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/internal/handshake"
	"github.com/fairlead/fairlead/internal/pulse"
)

// Sender carries the frames of a queue to one receiver at a time.
type Sender struct {
	cfg  Config
	q    Queue
	log  *slog.Logger
	m    *Metrics
	tune tune

	resolver resolver
	dial     func(context.Context, netip.AddrPort) (Conn, error)

	pulse  pulse.Pulse
	stages stages // set by Run

	// What follows belongs to the goroutine of Run, and while a session runs the flights, limit and usual to that.
	peers       []*peer
	client      handshake.Client // its key is empty: no handshake
	credentials credentials
	unpacker    unpacker
	frames      []Frame
	flights     flights
	limit       int
	usual       time.Duration
	comeback    comeback
	sentSeq     uint64 // the highest sequence number written
	known       bool   // a connection has been logged
	contrast    contrast

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
	goneLook    time.Duration // how often it is asked whether the peer's host still answers
	queueRetry  time.Duration
	stagger     time.Duration // a connect may take so long before the next address is tried beside it
	downFor     time.Duration // so long after a failure to connect a standby is not left for the address
	maxPenalty  time.Duration // the same after several connections in a row that served nothing
	backoff     time.Duration // the first; it doubles
	maxBackoff  time.Duration // so soon a receiver that is back is noticed, 5 s for it to be at full speed
	slowBackoff time.Duration // at most, and at least half of it, while only another configuration can help
	refusals    int           // of a frame, at least, before it is set aside...
	refusedFor  time.Duration // ...and over this time, at least
}

var defaultTune = tune{trust: time.Second, replace: 5 * time.Second, pingWait: time.Second, oneWait: 100 * time.Millisecond,
	drain: 500 * time.Millisecond, lazyAck: 50 * time.Millisecond, goneLook: time.Second, queueRetry: time.Second, stagger: 500 * time.Millisecond,
	downFor: 15 * time.Second, maxPenalty: 10 * time.Minute, backoff: time.Second, maxBackoff: 4 * time.Second, slowBackoff: time.Minute,
	refusals: 10, refusedFor: 15 * time.Minute}

// NewSender takes a Config that is valid. With no destination in it, Run only waits. Of the senders that share m, one
// runs at a time.
func NewSender(cfg Config, q Queue, log *slog.Logger, m *Metrics) *Sender {
	s := &Sender{cfg: cfg, q: q, log: log, m: m, tune: defaultTune, limit: maxBatchFrames, resolver: net.DefaultResolver,
		faults:  outage{begun: "cannot deliver to fluentd", over: "delivering to fluentd again"},
		reading: outage{begun: "cannot read frames to send", over: "reading frames to send again"},
		acking:  outage{begun: "cannot save what fluentd acked", over: "saving what fluentd acked again"},
		client: handshake.Client{Hostname: hostname(), SharedKey: string(cfg.SharedKey),
			User: handshake.User{Name: string(cfg.Username), Password: string(cfg.Password)}},
		credentials: credentials{TLS: cfg.TLS,
			reading: outage{begun: "cannot use the new TLS files, the former stay in use", over: "TLS files are right again"}},
	}
	s.dial = s.dialTCP
	s.contrast.q, _ = q.(Asider)
	s.contrast.failing = outage{begun: "cannot deal with a frame that is refused", over: "dealt with the frame that was refused"}
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
	s.stages = newStages(&s.cfg, &s.tune)
	defer s.pulse.End()
	s.run(ctx, restart{})
	return nil
}

// run goes on from when it may connect.
func (s *Sender) run(ctx context.Context, next restart) {
	for s.wait(ctx, next) {
		next = restart{}
		begun := time.Now()
		l, err := s.connect(ctx)
		if err != nil {
			if ctx.Err() == nil {
				next = s.failed(err, time.Since(begun))
			}
			continue
		}
		c := newSession(ctx, s, l)
		s.began(c)
		next = s.ended(c, c.run(ctx))
	}
}

// wait returns when it is time to connect, or false when ctx ends.
func (s *Sender) wait(ctx context.Context, next restart) bool {
	if next.pause > 0 {
		s.pulse.Enter(&s.stages.pause)
		s.timer.Reset(next.pause)
		select {
		case <-ctx.Done():
		case <-s.timer.C:
		}
	}
	for again := next.quiet; again && ctx.Err() == nil; {
		s.pulse.Enter(&s.stages.idle)
		limit, cancel := context.WithTimeout(ctx, cmp.Or(next.limit, s.cfg.Heartbeat))
		err := s.q.Wait(limit)
		over := limit.Err() != nil
		cancel()
		if err != nil && !over {
			s.queueFailed(err)
			return s.wait(ctx, restart{pause: s.tune.queueRetry})
		}
		again = err != nil && next.limit == 0
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
	s.log.Log(context.Background(), level, "connected to fluentd", "address", c.p.Address, "remote", c.to.addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = c
	s.status.Address, s.status.Connected = c.p.Address, c.born
	s.status.Remote = c.to.addr.String()
}

// ended draws the conclusions from a session that is over: where to go on in the queue, when to connect next, and what it
// taught about the peer.
func (s *Sender) ended(c *session, end *ended) restart {
	now := time.Now()
	defer s.m.disconnects.WithLabelValues(string(end.reason)).Inc() // last: who sees it counted finds the status in line with it
	s.limit, s.usual = c.limit, c.usual
	inFlight := c.fl.len()
	if c.acks == 0 && isAlert(end.err) {
		end = &ended{end.reason, s.explainAlert(end.err, c.p)}
	}
	s.q.Rewind()
	s.weigh(c, end)
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

	heartbeat := s.cfg.Heartbeat
	if c.p.pings == no || c.p.oneAtOnce {
		heartbeat = 0 // the connection would be replaced before it gets data
	}
	idle := inFlight == 0 && (c.acks > 0 || now.Sub(c.born) > s.tune.trust)
	if end.planned() || idle {
		s.log.Debug("connection to fluentd ended", "address", c.p.Address, "reason", end.reason, "err", end.err)
		switch {
		case end.reason == pingTimeout: // most likely a balancer that forgot the connection; if not, another address may answer
			s.unwell(c, now)
			return restart{}
		case c.frames > 0:
			c.p.health.served(now.Sub(c.born), &s.tune)
			c.p.at(c.to.addr, now).served(now.Sub(c.born), &s.tune)
		}
		return s.comeback.ended(&s.tune, !end.planned() && c.p.single == 0, heartbeat)
	}
	if c.frames > 0 {
		s.comeback.attempts = 0
	}
	s.limit = 1
	s.unwell(c, now)
	refused := peerLeft && inFlight > 0 && c.frames == 0
	if refused {
		defer s.m.refusals.Inc()
		if inFlight == 1 {
			c.p.packing.refuse(c.fl.oldest().packed)
		}
	}
	return s.fault(end, 0, refused, slog.String("address", c.p.Address), slog.Any("remote", c.to.addr),
		slog.String("reason", string(end.reason)), slog.Int("in_flight", inFlight), slog.String("err", end.Error()))
}

// unwell notes that the peer and its address failed on a connection. Acks of pings alone do not count for it where there
// was data to ack.
func (s *Sender) unwell(c *session, now time.Time) {
	served := c.frames > 0 || c.acks > 0 && c.fl.len() == 0
	for _, h := range []*health{&c.p.health, c.p.at(c.to.addr, now)} {
		if served {
			h.broke(now)
		} else {
			h.useless(now, &s.tune)
		}
	}
	s.m.addressUp.WithLabelValues(c.p.Address).Set(0)
}

// failed notes that no connection came about, which took so long.
func (s *Sender) failed(err error, took time.Duration) restart {
	return s.fault(err, took, false, slog.String("err", err.Error()))
}

func (s *Sender) fault(err error, took time.Duration, refused bool, attrs ...slog.Attr) restart {
	s.pulse.Enter(&s.stages.end)
	now := time.Now()
	s.mu.Lock()
	s.faults.failed(s.log, now, attrs...)
	if refused {
		s.status.Refusals++
	}
	s.status.LastError, s.status.ErrorAt = err.Error(), now
	s.mu.Unlock()
	var setup *setupError
	return s.comeback.failed(&s.tune, took, errors.As(err, &setup))
}

// delivering notes that a connection has got a frame through, or that it answers and none is left.
func (s *Sender) delivering(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.ended(s.log, time.Now(), slog.String("address", c.p.Address))
	s.status.Refusals, s.status.Suspect = 0, nil
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
		switch seq := batch[i].Seq; {
		case seq <= s.sentSeq:
			again++
		case seq != s.contrast.sent.Load(): // those between are still to be sent for the first time
			s.sentSeq = seq
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
	err := s.ackQueue(seq)
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
