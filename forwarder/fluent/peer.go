package fluent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// peer is an entry of `to` and what was learned about the receivers behind it. The sender's goroutine owns it; the
// fields that the ack reader also touches are in session.
type peer struct {
	Endpoint
	target
	failed  map[netip.Addr]time.Time // when its addresses last failed, for the last few minutes only
	failing time.Time                // when the entry as a whole last did

	pings     answer    // does it ack pings
	learned   time.Time // when that became `no`
	hungUp    bool      // a connection ended on the first ping: the next one goes without, to see whether data fares better
	silences  int       // pings unanswered in a row
	single    int       // connections in a row that ended right after one acked message
	oneAtOnce bool      // it closes after each message
	packing   packing
}

type answer byte

const (
	unknown answer = iota
	yes
	no
)

const (
	failureCounts = time.Minute      // for so long after a failure others are tried first
	relearnPings  = 10 * time.Minute // then a receiver that did not answer pings is asked again
)

func newPeer(e Endpoint) *peer {
	p := &peer{Endpoint: e, failed: map[netip.Addr]time.Time{}}
	p.target, _ = parseAddress(e.Address) // Validate has refused one that is wrong; dialling will say so again
	return p
}

// fail remembers that addr did not serve, so that others are tried before it.
func (p *peer) fail(addr netip.Addr, now time.Time) {
	for a, t := range p.failed {
		if now.Sub(t) > failureCounts {
			delete(p.failed, a)
		}
	}
	p.failed[addr] = now
}

// leastFailed puts those that have not failed for longest first, and the ones that did not fail at all in random order,
// which spreads a fleet of senders over its receivers.
func leastFailed[T any](list []T, failed func(T) time.Time, now time.Time) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	when := func(x T) time.Time {
		if t := failed(x); now.Sub(t) < failureCounts {
			return t
		}
		return time.Time{}
	}
	slices.SortStableFunc(list, func(a, b T) int { return when(a).Compare(when(b)) })
}

// connect resolves and tries everything in `to` once, until something accepts.
func (s *Sender) connect(ctx context.Context) (*wire, *peer, error) {
	now := time.Now()
	leastFailed(s.peers, func(p *peer) time.Time { return p.failing }, now)
	var last error
	for _, p := range s.peers {
		w, err := s.dial(ctx, p, now)
		if err == nil {
			return w, p, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		last = err
		p.failing = now
		s.m.connectErrors.Inc()
		s.m.addressUp.WithLabelValues(p.Address).Set(0)
	}
	return nil, nil, last
}

// dial resolves the name again at every connect, because weighted and failover records answer differently each time.
func (s *Sender) dial(ctx context.Context, p *peer, now time.Time) (*wire, error) {
	resolving, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	addrs, err := net.DefaultResolver.LookupNetIP(resolving, "ip", p.host)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", p.Address, err)
	}
	for i := range addrs { // the resolver gives IPv4 addresses as IPv6; failures are remembered by what is connected to
		addrs[i] = addrs[i].Unmap()
	}
	leastFailed(addrs, func(a netip.Addr) time.Time { return p.failed[a] }, now)
	for _, a := range addrs {
		var conn net.Conn
		dialer := net.Dialer{
			Timeout:         s.cfg.ConnectTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4},
			Control:         func(_, _ string, c syscall.RawConn) error { return setUserTimeout(c, s.cfg.AckTimeout) },
		}
		conn, err = dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(a, p.port).String())
		if err != nil {
			err = fmt.Errorf("connect to %s: %w", p.Address, err)
		} else if w, serr := s.secure(ctx, conn.(*net.TCPConn), p); serr == nil {
			return w, nil
		} else {
			err = serr
		}
		p.fail(a, now)
	}
	return nil, err
}

// setUserTimeout bounds how long written bytes may stay without the peer's TCP taking them: without it the kernel goes on
// for a quarter of an hour.
func setUserTimeout(c syscall.RawConn, d time.Duration) error {
	var err error
	if cerr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	}); cerr != nil {
		return cerr
	}
	return err
}
