package fluent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// readAcks reads until the connection ends or is in doubt, and says why. Its read deadline is also the session's only
// clock: when it passes, check looks at what is due. So an ack costs a read, and no timer of its own.
func (c *session) readAcks() *ended {
	for {
		if end := c.check(); end != nil {
			return end
		}
		for {
			err := c.w.raw.Read(c.receive)
			if end := c.received(); end != nil {
				return end
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return endedBy(err)
			}
		}
	}
}

// receive reads what the socket holds and applies it. It reports false when there was nothing. Both goroutines call it.
// With TLS it reads until there is nothing left: what TLS holds already, the kernel wakes nobody for.
func (c *session) receive(fd uintptr) bool {
	c.reading.Lock()
	defer c.reading.Unlock()
	for some := false; c.broke == nil; {
		m, err := c.w.read(int(fd), c.answers[c.held:])
		switch {
		case errors.Is(err, unix.EAGAIN):
			return some
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			c.broke = endedBy(os.NewSyscallError("read", err))
			return true
		}
		c.held += m
		rest, err := c.take(c.answers[:c.held])
		if c.held = copy(c.answers, rest); c.held == len(c.answers) {
			err = fmt.Errorf("an answer of the receiver is longer than %d bytes", len(c.answers))
		}
		if err != nil {
			_ = c.w.conn.SetLinger(0) // what the kernel still holds must not be taken twice
			c.broke = &ended{badAnswer, err}
		}
		if some = true; c.w.tls == nil {
			return true
		}
	}
	return true
}

// look reads the acks that lie in the socket, if the kernel has woken nobody for them: what they ack need not be sent again.
func (c *session) look() {
	_ = c.w.raw.Control(func(fd uintptr) { c.receive(fd) })
}

func (c *session) received() *ended {
	c.reading.Lock()
	defer c.reading.Unlock()
	return c.broke
}

// wakeFor says how many bytes of acks must lie in the socket before the kernel wakes the ack reader. (A close always does.)
// Waking up costs more than all the rest of sending a small frame, so a writer that will soon come by again reads acks then.
func (c *session) wakeFor(n int) {
	if c.lowWater != n {
		c.lowWater = n
		_ = c.w.raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
		})
	}
}

// take applies all whole acks in p and returns the rest. The queue's cursor moves also when a bad answer follows.
func (c *session) take(p []byte) (rest []byte, err error) {
	wall, now := time.Now(), mono()
	c.mu.Lock()
	before, first := c.frames, c.acks == 0
	for rest = p; len(rest) > 0 && err == nil; {
		var id, after []byte
		if id, after, err = nextAck(rest); err == nil {
			rest = after
			if len(id) > 0 {
				err = c.acked(id, now)
			}
		}
	}
	if errors.Is(err, errPartial) {
		err = nil
	}
	if c.acks > 0 {
		c.lastAck = wall
	}
	c.active = now
	seq, frames, events := c.fl.pop()
	if frames > 0 { // an ack of a later frame does not help the oldest: nothing may come for that one any more
		c.progress = now
	}
	c.limit = min(c.limit+frames, maxBatchFrames)
	room := c.below >= 0 && c.fl.len() <= c.below && c.fl.bytes <= maxBatchBytes/2
	if room {
		c.below = -1
	}
	delivering, up := before == 0 && c.frames > 0, first && c.acks > 0
	c.mu.Unlock()

	if up {
		c.s.m.addressUp.WithLabelValues(c.p.Address).Set(1)
	}
	if delivering {
		c.s.delivering(c)
	}
	if frames > 0 { // after these: who sees all acked finds no outage any more
		c.s.ack(seq, events)
	}
	if room {
		select {
		case c.room <- struct{}{}:
		default:
		}
	}
	return rest, err
}

// acked notes the ack of one id. c.mu is held.
func (c *session) acked(id []byte, now int64) error {
	if x := c.fl.find(id); x != nil {
		if !x.acked {
			x.acked = true
			c.acks++
			c.frames++
			c.packed = c.packed || x.packed
			d := time.Duration(now - x.sent)
			c.s.m.ackSeconds.Observe(d.Seconds())
			c.average(d)
		}
		return nil
	}
	if bytes.HasPrefix(id, c.pingName) {
		if bytes.Equal(id, c.pingID) {
			c.pingID = nil
			c.acks++
			select {
			case c.pong <- struct{}{}:
			default:
			}
		}
		return nil
	}
	if c.fl.recent(id) {
		return nil // said twice
	}
	if len(id) > 64 {
		id = id[:64]
	}
	return fmt.Errorf("the receiver acked %q, which was not sent on this connection", id)
}

func (c *session) average(d time.Duration) {
	if c.usual == 0 {
		c.usual = d
	} else {
		c.usual += (d - c.usual) / 8
	}
}

// check is the clock of the session: it finds an ack overdue, wakes the writer when a heartbeat is due or the connection
// old, and sets the read deadline to when there is next something to look at.
func (c *session) check() *ended {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return &ended{reason: drained}
	}
	cfg, now := &c.s.cfg, mono()
	next := now + int64(cfg.AckTimeout/4)
	if c.fl.len() > 0 {
		if !c.driven(now) {
			next = min(next, now+int64(c.s.tune.lazyAck))
		}
		next = min(next, now+int64(cfg.Heartbeat)) // the acks may be read in a Turn, and the next heartbeat be due
		if c.noteDelivery(now) {
			_ = c.w.conn.SetLinger(0)
			return &ended{network, fmt.Errorf("the receiver's host, or a balancer before it, has been silent to everything sent for over %d s, with %d frames in flight",
				goneAfter/1000, c.fl.len())}
		}
		next = min(next, now+int64(c.s.tune.goneLook))
		due := c.progress + int64(cfg.AckTimeout)
		if now < due {
			c.late = false
			c.s.pulse.Beat() // for the writer, which leaves the waiting to us
		} else if !c.late {
			// Were we stopped for a while, the acks lie in the socket: a read whose deadline has passed does not look there.
			c.late = true
			due = now + int64(c.s.tune.drain)
		} else {
			_ = c.w.conn.SetLinger(0)
			return &ended{ackTimeout, fmt.Errorf("no ack and nothing taken by the receiver for %v, with %d frames in flight",
				time.Duration(now-c.progress).Round(time.Millisecond), c.fl.len())}
		}
		next = min(next, due)
	} else {
		due := c.active + int64(cfg.Heartbeat)
		if now >= due || c.aged() {
			c.bell()
			due = now + int64(cfg.Heartbeat)
		}
		next = min(next, due)
	}
	c.wakeAt(next, now)
	return nil
}

// wakeAt sets when the ack reader looks at the clock. c.mu is held.
func (c *session) wakeAt(at, now int64) {
	c.alarm = at
	_ = c.w.conn.SetReadDeadline(time.Now().Add(time.Duration(at - now)))
}

// noteDelivery counts as progress what helps the oldest frame on its way: bytes of its batch that our kernel took, bytes
// up to its end that the peer's kernel took. A slow receiver may need longer for one large frame than ack_timeout;
// later frames that pile up behind a stuck one prove nothing. It reports whether nobody is there any more: the kernel goes on sending
// ever more rarely, so that a receiver which is back would be noticed late. c.mu is held.
func (c *session) noteDelivery(now int64) (gone bool) {
	if c.writing && c.fl.head >= c.batch {
		c.progress = max(c.progress, c.w.accepted.Load())
	}
	t := c.w.transport()
	if d := t.delivered; d > c.delivered {
		if c.delivered > 0 && d <= c.fl.oldest().end {
			c.progress = now
		}
		c.delivered = d
	}
	return t.gone
}
