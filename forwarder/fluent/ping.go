package fluent

import (
	"errors"
	"strconv"
	"time"
)

var errSilent = errors.New("no answer to a ping on a connection that was idle")

// A ping is an empty message in Forward mode, ["fairlead.ping", [], {"chunk": id}]. It carries data both ways, which the
// idle timer of a Classic Load Balancer needs and a TCP keepalive does not give, proves the receiver's event loop, and
// costs nothing downstream. (An empty PackedForward message makes Fluent Bit hang up.)

// relearnPings is how long a receiver that does not answer pings is not asked again.
const relearnPings = 10 * time.Minute

func appendPing(dst, id []byte) []byte {
	dst = append(dst, 0x93)
	dst = appendStr(dst, "fairlead.ping")
	dst = append(dst, 0x90, 0x81)
	dst = appendStr(dst, "chunk")
	return append(appendStrHeader(dst, len(id)), id...)
}

// greet finds out on a fresh connection whether the receiver answers pings, once for each address.
func (c *session) greet() *ended {
	p := c.p
	if p.pings == no && time.Since(p.learned) > relearnPings {
		p.pings, p.doubts = unknown, 1
	}
	if p.pings != unknown || p.oneAtOnce {
		return nil
	}
	if p.hungUp {
		p.hungUp = false
		return nil
	}
	_, end := c.ping()
	if end != nil {
		p.hungUp = true
	}
	return end
}

// trusted proves an idle connection, or has it replaced, before it is given data: what a balancer dropped while it was
// idle looks alive until something is written.
func (c *session) trusted() *ended {
	c.mu.Lock()
	quiet, flying := time.Duration(mono()-c.active), c.fl.len()
	c.mu.Unlock()
	tune := &c.s.tune
	if flying > 0 || quiet <= tune.trust {
		return nil
	}
	c.learn()
	if c.p.pings == no || c.p.doubts > 0 {
		if quiet > tune.replace {
			return &ended{reason: idle}
		}
		return nil
	}
	answered, end := c.ping()
	if end != nil || answered {
		return end
	}
	if c.p.silences++; c.p.silences >= 3 {
		c.p.pings = unknown // another receiver may have taken its place: ask again on a fresh connection
		c.p.pongs.Store(false)
	}
	return &ended{reason: pingTimeout, err: errSilent}
}

// ping writes a ping and waits for its ack. No answer in time is not yet an end.
func (c *session) ping() (answered bool, end *ended) {
	c.mu.Lock()
	c.pings++
	c.pingID = strconv.AppendUint(append(make([]byte, 0, 48), c.pingName...), c.pings, 10)
	msg := appendPing(make([]byte, 0, 96), c.pingID)
	c.written += c.w.onWire(int64(len(msg)))
	c.framesAtPing = c.frames
	wait := min(max(c.s.tune.pingWait, 8*c.usual), max(c.s.cfg.AckTimeout, c.s.tune.pingWait))
	c.mu.Unlock()
	c.wakeFor(1)
	select {
	case <-c.pong: // late, of the one before
	default:
	}
	c.s.pulse.Enter(&c.s.stages.ping)
	if err := c.w.send(msg); err != nil {
		return false, c.broken(err)
	}
	c.s.timer.Reset(wait)
	select {
	case <-c.pong:
		answered = true
	case <-c.gone:
		return false, c.end
	case <-c.s.timer.C:
		select { // both, when the process was stopped for a while
		case <-c.pong:
			answered = true
		default:
		}
	}
	if answered {
		c.p.pings, c.p.silences, c.p.hungUp, c.p.doubts = yes, 0, false, 0
		c.p.pongs.Store(true)
	}
	return answered, nil
}

// learn draws what this connection has shown about pings: data acked that was sent after a ping, and the ping not, or
// data acked where the ping before had led to a hang-up, speaks for a receiver that does not answer them. A connection on
// which nothing was acked shows nothing, and one that died idle does not either. One alone is a doubt, because an ack may
// be lost and a receiver may be restarted just when it was pinged; the next connection asks once more.
func (c *session) learn() {
	c.mu.Lock()
	silent := c.frames > c.framesAtPing && (c.pingID != nil || c.pings == 0)
	c.mu.Unlock()
	if c.p.pings != unknown || !silent || c.learned {
		return
	}
	c.learned = true
	if c.p.doubts++; c.p.doubts >= 2 {
		c.p.pings, c.p.learned = no, time.Now()
		c.p.pongs.Store(false)
	}
}
