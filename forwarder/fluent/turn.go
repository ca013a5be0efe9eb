package fluent

import "time"

const (
	turnFrames = 64
	turnBytes  = 64 << 10 // more is worth the sender's own goroutine
	drivenFor  = int64(500 * time.Millisecond)
)

// Turn does the sender's work on the goroutine of its caller, as far as that needs no waiting: it reads the acks that have come and
// writes what the queue has. It reports false where something in the queue is left to the sender's goroutine, which the queue's
// Wait must then return to. At light load, to wake that goroutine and the ack reader for each frame costs several times what
// the frame does.
//
// Who calls Turn does so again within half a second, or says with TurnsOver that it was the last: meanwhile nobody else looks for
// acks soon.
func (s *Sender) Turn() bool {
	s.mu.Lock()
	c := s.session
	s.mu.Unlock()
	if c == nil || !c.own.TryLock() {
		return !s.q.Ready()
	}
	defer c.own.Unlock()
	return c.turn() || !s.q.Ready()
}

// turn is Turn, with c.own held. It reports whether all was written.
func (c *session) turn() bool {
	if c.w.unfinished() { // the last turn left it to the sender's goroutine, which has not come to it yet
		c.ring()
		return false
	}
	select {
	case <-c.gone:
		return false
	default:
	}
	now := mono()
	c.mu.Lock()
	c.turned = now
	flying := c.fl.len() > 0
	c.mu.Unlock()
	if flying {
		c.look()
	}
	if c.received() != nil {
		_ = c.w.conn.SetReadDeadline(time.Now()) // the ack reader is to see it too
		return false
	}
	defer func() {
		if len(c.rest) > 0 { // nobody but the sender's goroutine knows of it
			c.ring()
		}
	}()
	for {
		c.mu.Lock()
		frames, bytes := min(c.limit-c.fl.len(), turnFrames), min(turnBytes, maxBatchBytes-c.fl.bytes)
		trusted := c.fl.len() > 0 || now-c.active <= int64(c.s.tune.trust)
		c.mu.Unlock()
		if _, over := c.over(); over || frames <= 0 || bytes <= 0 || !trusted || c.p.oneAtOnce {
			return false
		}
		c.learnPacking()
		batch, err := c.next(frames, bytes)
		if err != nil {
			return false
		}
		if len(batch) == 0 {
			c.s.pulse.Beat() // for the sender's goroutine, which has nothing to do
			return true
		}
		if end := c.launch(batch); end != nil {
			c.w.err = &queueError{end.err}
		}
		if !c.w.try() {
			c.ring() // the sender's goroutine finishes it
			return false
		}
		c.wrote()
	}
}

// TurnsOver has the ack reader look for acks itself again.
func (s *Sender) TurnsOver() {
	s.mu.Lock()
	c := s.session
	s.mu.Unlock()
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.turned = 0
		c.wakeAt(mono(), mono())
	}
}

// driven reports whether Turn is being called. c.mu is held.
func (c *session) driven(now int64) bool { return c.turned > 0 && now-c.turned < drivenFor }
