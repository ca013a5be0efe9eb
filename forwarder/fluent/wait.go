package fluent

import (
	"context"
	"time"
)

// waitRoom waits until something may be written, and says how much. When the batch is full it sleeps until half of it is
// acked, so that a stream of small frames does not wake it for each.
func (c *session) waitRoom() (frames int, bytes int64, end *ended) {
	for {
		c.mu.Lock()
		frames, bytes = c.limit-c.fl.len(), maxBatchBytes-c.fl.bytes
		if frames > 0 && bytes > 0 {
			c.mu.Unlock()
			return frames, bytes, nil
		}
		c.below = c.limit / 2
		half := max(c.fl.len()-c.below, c.fl.len()/2, 1)
		c.mu.Unlock()
		c.wakeFor(min(half*ackBytes, maxAnswerBytes/2))
		c.s.pulse.Enter(&c.s.stages.acks)
		select {
		case <-c.room:
		case <-c.gone:
			return 0, 0, c.end
		}
	}
}

// settle waits until nothing is in flight and ends the session for the reason given.
func (c *session) settle(r reason) *ended {
	for {
		c.mu.Lock()
		empty := c.fl.len() == 0
		c.below = 0
		c.mu.Unlock()
		if empty {
			return &ended{reason: r}
		}
		c.wakeFor(1)
		c.s.pulse.Enter(&c.s.stages.acks)
		select {
		case <-c.room:
		case <-c.gone:
			return c.end
		}
	}
}

// afterOne waits for the ack of a single frame and for the close that should follow it.
func (c *session) afterOne() *ended {
	end := c.settle(oneMessage)
	if end.reason != oneMessage {
		return end
	}
	c.s.pulse.Enter(&c.s.stages.pause)
	c.s.timer.Reset(c.s.tune.oneWait)
	select {
	case <-c.gone:
		return end
	case <-c.s.timer.C:
		c.p.oneAtOnce, c.p.single = false, 0 // it does not close after all
		return nil
	}
}

// waitData waits until the queue may have something, or the ack reader rings.
func (c *session) waitData(ctx context.Context) *ended {
	c.wakeFor(maxAnswerBytes / 2)
	c.mu.Lock()
	flying := c.fl.len() > 0
	if flying && !c.driven(mono()) { // when no data comes for so long, the ack reader looks
		now, lazy := mono(), int64(c.s.tune.lazyAck)
		if at := c.fl.oldest().sent + lazy; at > now {
			c.wakeAt(at, now)
		} else if c.alarm > now+lazy {
			c.wakeAt(now+lazy, now)
		}
	}
	answered := c.acks > 0
	c.mu.Unlock()
	if !flying && answered && !c.caughtUp {
		c.caughtUp = true
		c.s.delivering(c) // an outage may also end with nothing to deliver
	}
	waiting := c.waiting
	c.s.pulse.Enter(&c.s.stages.idle)
	c.own.Unlock() // who calls Turn may write now
	err := c.s.q.Wait(waiting)
	c.own.Lock()
	if c.w.unfinished() {
		if end := c.finish(); end != nil {
			return end
		}
	}
	c.look()
	if c.received() != nil {
		_ = c.w.conn.SetReadDeadline(time.Now()) // the ack reader is to see it too
		<-c.gone
	}
	select {
	case <-c.gone:
		return c.end
	default:
	}
	if ctx.Err() != nil {
		return &ended{reason: stopped}
	}
	if c.waiting.Err() != nil {
		c.mu.Lock()
		c.bell()
		c.waiting, c.bell = context.WithCancel(ctx)
		c.mu.Unlock()
		select { // it may have rung for the last time before there was the new bell
		case <-c.gone:
			return c.end
		default:
			return nil
		}
	}
	if err != nil {
		c.s.queueFailed(err)
		return c.sleep(c.s.tune.queueRetry)
	}
	return nil
}

func (c *session) sleep(d time.Duration) *ended {
	c.s.pulse.Enter(&c.s.stages.pause)
	c.s.timer.Reset(d)
	select {
	case <-c.gone:
		return c.end
	case <-c.s.timer.C:
		return nil
	}
}

// ring wakes the writer if it waits for data.
func (c *session) ring() {
	c.mu.Lock()
	c.bell()
	c.mu.Unlock()
}
