package fluent

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"
)

// A receiver whose buffer is full refuses every frame, while it acks pings: an outage, and the queue waits. A receiver that
// refuses one frame for what is in it would hold up all others for ever. The two are told apart by contrast: when the first
// un-acked frame, sent alone, was refused ten times over a quarter of an hour, a later frame of the same tag is sent alone.
// Only if that one is acked, and the first one, sent right after it, refused once more, is the first one set aside.
//
// The price is order: the events of the later frame arrive before those of the ones between. Should the process be killed
// before these are acked, the later frame is sent again, one frame more than the batch that a kill may repeat.

// Asider is what a Queue is, too, if single frames can be set aside. Its methods but AckAlone are called by the goroutine
// that calls Next.
type Asider interface {
	// Later returns a frame with the tag of the frame head that comes after it and is not acked, another one at each call. It
	// reports false if there is none, or head is not the first un-acked frame.
	Later(head uint64) (Frame, bool, error)
	// AckAlone says that the frame Later returned last was acknowledged. It is not to be sent again.
	AckAlone(seq uint64) error
	// SetAside moves the first un-acked frame out of the queue, to where it can be sent again from by hand.
	SetAside(seq uint64) error
}

// suspicion is what speaks against the first un-acked frame. It is pure: time is an argument.
type suspicion struct {
	seq         uint64
	times       int // it was sent alone and refused
	first, last time.Time
	passed      netip.AddrPort // who has acked a later frame since; the zero Addr: nobody
}

// refuse notes that the frame, sent alone, was refused by an address. It reports whether that proves it guilty.
func (x *suspicion) refuse(seq uint64, by netip.AddrPort, now time.Time, t *tune) (guilty bool) {
	if x.seq != seq {
		*x = suspicion{seq: seq, first: now}
	}
	x.times++
	x.last = now
	guilty = x.passed.IsValid() && x.passed == by && x.proven(t)
	x.passed = netip.AddrPort{}
	return guilty
}

// proven reports whether the refusals themselves suffice.
func (x *suspicion) proven(t *tune) bool {
	return x.times >= t.refusals && x.last.Sub(x.first) >= t.refusedFor
}

// wantsContrast reports whether the next frame to send is a later one.
func (x *suspicion) wantsContrast(now time.Time, t *tune) bool {
	return x.times+1 >= t.refusals && now.Sub(x.first) >= t.refusedFor && !x.passed.IsValid()
}

// contrast is the sender's part in it. It belongs to the goroutine of Run.
type contrast struct {
	q       Asider // nil: frames cannot be set aside
	suspect suspicion
	tried   bool          // since the suspect was last sent
	sent    atomic.Uint64 // the later frame that is in flight, for the ack reader; 0: none
	failing outage        // of Later and SetAside; under Sender.mu
}

// fromQueue takes frames from the queue, or in their place a later one by itself, as the first of a session.
func (c *session) fromQueue(frames int, bytes int64) ([]Frame, error) {
	s := c.s
	x := &s.contrast
	if x.q == nil || x.tried || c.fl.tail > 0 || !x.suspect.wantsContrast(time.Now(), &s.tune) {
		return s.next(frames, bytes)
	}
	x.tried = true
	f, ok, err := x.q.Later(x.suspect.seq)
	if err != nil {
		s.asideFailed(err, "look for a later frame")
	}
	if !ok {
		return s.next(frames, bytes)
	}
	s.log.Debug("trying a later frame of the same tag alone", "refused", x.suspect.seq, "later", f.Seq)
	x.sent.Store(f.Seq)
	s.frames = append(s.frames[:0], f)
	return s.frames, nil
}

// afterContrast waits for the ack of a later frame that was sent alone, so that the suspect comes next, and alone.
func (c *session) afterContrast() *ended {
	x := &c.s.contrast
	if x.sent.Load() == 0 {
		return nil
	}
	if end := c.settle(oneMessage); end.reason != oneMessage {
		return end
	}
	// The flight is gone before the queue is told, and it must be told of this one frame alone: its ack taken for one of all before it
	// would lose them. Acks are read and told under this lock.
	c.reading.Lock()
	c.mu.Lock()
	c.limit = 1
	c.mu.Unlock()
	c.reading.Unlock()
	x.sent.Store(0)
	x.suspect.passed = c.to.addr
	return nil
}

// ackQueue takes an ack to the queue. The ack reader calls it.
func (s *Sender) ackQueue(seq uint64) error {
	if x := &s.contrast; x.sent.Load() == seq {
		return x.q.AckAlone(seq)
	}
	return s.q.Ack(seq)
}

// weigh draws from the end of a session what it says of the first un-acked frame. A receiver refuses a frame by closing, or by
// reading it whole and never answering: that is what Fluentd does with one over its chunk_size_limit.
func (s *Sender) weigh(c *session, end *ended) {
	x := &s.contrast
	if x.q == nil {
		return
	}
	tried := x.sent.Swap(0) > 0
	alone := c.alone && c.fl.len() == 1
	closed := end.reason == peerClosed || end.reason == peerReset
	silent := end.reason == ackTimeout && alone && c.delivered >= c.fl.oldest().end
	switch {
	case tried: // it fared no better, or nobody knows
		x.suspect.passed = netip.AddrPort{}
	case alone && (closed || silent):
		x.tried = false
		if x.suspect.refuse(c.fl.oldest().seq, c.to.addr, time.Now(), &s.tune) {
			s.setAside(c, end)
		}
		s.tellSuspect()
	case !end.planned():
		x.suspect.passed = netip.AddrPort{}
	}
}

func (s *Sender) tellSuspect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Suspect = nil
	if x := &s.contrast.suspect; x.times > 1 {
		s.status.Suspect = &Suspect{x.seq, x.times, x.first}
	}
}

func (s *Sender) setAside(c *session, end *ended) {
	x := &s.contrast
	if err := x.q.SetAside(x.suspect.seq); err != nil {
		s.asideFailed(err, "set it aside")
		return
	}
	s.mu.Lock()
	x.failing.ended(s.log, time.Now())
	s.mu.Unlock()
	s.log.Error("a frame was set aside: the receiver refuses it and takes later ones of its tag; see what is wrong with it or the "+
		"receiver, then run fairlead replay --set-aside",
		"seq", x.suspect.seq, "events", c.fl.oldest().events, "address", c.p.Address, "refused", x.suspect.times,
		"over", x.suspect.last.Sub(x.suspect.first).Round(time.Second), "last", end.Error())
	x.suspect = suspicion{}
	s.m.setAside.Inc() // last: who sees it counted finds it said
}

func (s *Sender) asideFailed(err error, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.contrast
	x.failing.failed(s.log, time.Now(), slog.String("tried", what), slog.Uint64("seq", x.suspect.seq), slog.String("err", err.Error()))
}

// Suspect is a first un-acked frame that the receiver keeps refusing.
type Suspect struct {
	Seq     uint64    `json:"seq"`
	Refused int       `json:"refused"` // times, sent alone
	Since   time.Time `json:"since"`
}
