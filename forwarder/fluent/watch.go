package fluent

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"
)

// watch looks, while a connection is in use, whether another is to be had instead: because its address is no longer what
// the name is answered with, or because it is a standby, or an SRV target of second choice, and what comes first works
// again. It makes sure of the other before it gives up the one that works, so a name that is answered wrongly, or not at
// all, costs nothing.
func (c *session) watch(ctx context.Context) {
	s, p := c.s, c.p
	every := s.cfg.ResolveEvery / lookups
	resolves := every > 0 && !p.fixed()
	if !resolves && !p.Standby {
		return
	}
	if every == 0 {
		every = s.tune.downFor
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	list := []found{c.to}
	for {
		timer.Reset(every - rand.N(every/8+1)) // apart from the rest of the fleet
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if resolves {
			if l, whole, err := s.lookup(ctx, p, family(c.to.addr)); err == nil {
				list = l
				now := time.Now()
				if whole {
					p.seen.note(list, now)
				}
				if whole && p.seen.gone(c.to.addr, now) && s.works(ctx, p, list) {
					c.leaveFor(addressGone)
					return
				}
			}
		}
		if s.betterWorks(ctx, c, list) {
			c.leaveFor(preferred)
			return
		}
	}
}

// family is the network of lookups for the likes of addr. Asking for the other family too would gain nothing, and an error
// of one query alone would be hidden by the answer to the other.
func family(addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return "ip4"
	}
	return "ip6"
}

// betterWorks tells whether what should be taken before this connection works. Only what is not down is tried: that
// bounds how often.
func (s *Sender) betterWorks(ctx context.Context, c *session, list []found) bool {
	now := time.Now()
	if c.p.Standby {
		for _, group := range ranked(s.peers, now)[:1] {
			for _, p := range group {
				list, _, err := s.lookup(ctx, p, "ip")
				if err == nil && s.works(ctx, p, list) {
					p.health.served(0, &s.tune)
					return true
				}
				if ctx.Err() != nil {
					return false
				}
				p.health.unreachable(time.Now(), &s.tune)
			}
		}
		return false
	}
	first := slices.DeleteFunc(slices.Clone(list), func(f found) bool { return f.priority >= c.to.priority || c.p.addrDown(f.addr, now) })
	return len(first) > 0 && s.works(ctx, c.p, first)
}

// works connects to one of the addresses and has it answer a ping, if it is one that does.
func (s *Sender) works(ctx context.Context, p *peer, list []found) bool {
	l, err := s.reachOne(ctx, p, list, func() {})
	if err != nil {
		return false
	}
	defer l.drop()
	if p.pongs.Load() {
		err = pingOnce(ctx, l, s.cfg.ConnectTimeout)
	}
	if err != nil {
		if ctx.Err() == nil {
			now := time.Now()
			p.at(l.to.addr, now).unreachable(now, &s.tune)
			s.log.Debug("an address to change to does not answer a ping", "address", p.Address, "remote", l.to.addr, "err", err)
		}
		return false
	}
	return true
}

// pingOnce asks for the ack of a ping on a connection that is used for nothing else.
func pingOnce(ctx context.Context, l link, wait time.Duration) error {
	conn := net.Conn(l.w.conn)
	if l.w.tls != nil {
		l.w.socket.live, conn = false, l.w.tls
	}
	stop := context.AfterFunc(ctx, func() { _ = l.w.conn.SetDeadline(time.Now()) })
	defer stop()
	_ = l.w.conn.SetDeadline(time.Now().Add(wait))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, err := conn.Write(appendPing(nil, []byte("ping-once"))); err != nil {
		return err
	}
	buf, n := make([]byte, maxAnswerBytes), 0
	for n < len(buf) {
		m, err := conn.Read(buf[n:])
		if n += m; n == 0 && err != nil {
			return err
		}
		id, _, ackErr := nextAck(buf[:n])
		switch {
		case ackErr == nil && len(id) > 0:
			return nil
		case ackErr != nil && !errors.Is(ackErr, errPartial):
			return ackErr
		case err != nil:
			return err
		}
	}
	return errNoAck
}

// leaveFor has the writer settle what is in flight and end the session.
func (c *session) leaveFor(why reason) {
	c.mu.Lock()
	c.leave = why
	c.mu.Unlock()
	c.ring()
}

// over says whether the connection is to make way for another, once everything in flight is acked.
func (c *session) over() (why reason, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.leave != "":
		return c.leave, true
	case c.aged():
		return maxAge, true
	}
	return "", false
}
