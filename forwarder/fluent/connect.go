package fluent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// link is a connection that was made.
type link struct {
	w  *wire
	p  *peer
	to found
}

func (l link) drop() { l.w.close() }

// connect tries everything in `to` once, until something accepts.
func (s *Sender) connect(ctx context.Context) (link, error) {
	var last error
	now := time.Now()
	s.pulse.Enter(&s.stages.connect)
	for _, group := range ranked(s.peers, now) {
		l, ok := race(ctx, len(group), s.tune.stagger,
			func(ctx context.Context, i int) (link, error) { return s.reach(ctx, group[i]) },
			func(i int, err error) {
				last = err
				group[i].health.unreachable(time.Now(), &s.tune)
				s.m.addressUp.WithLabelValues(group[i].Address).Set(0)
			}, link.drop)
		if ok {
			return l, nil
		}
		if ctx.Err() != nil {
			return link{}, ctx.Err()
		}
	}
	return link{}, last
}

// reach resolves the name again at every connect, because weighted and failover records answer differently each time,
// and connects to one of the answers.
func (s *Sender) reach(ctx context.Context, p *peer) (link, error) {
	list, whole, err := s.lookup(ctx, p, "ip")
	if err != nil {
		s.m.connectErrors.Inc()
		return link{}, err
	}
	if whole {
		p.seen.note(list, time.Now())
	}
	return s.reachOne(ctx, p, list, s.pulse.Beat)
}

// reachOne connects to one of the addresses. next is called before each group of them, of which SRV records can make many.
func (s *Sender) reachOne(ctx context.Context, p *peer, list []found, next func()) (link, error) {
	var last error
	for _, group := range p.groups(list, time.Now()) {
		next()
		conn, ok := race(ctx, len(group), s.tune.stagger,
			func(ctx context.Context, i int) (link, error) {
				conn, err := s.dial(ctx, group[i].addr)
				if err != nil {
					return link{}, fmt.Errorf("connect to %s: %w", p.Address, err)
				}
				w, err := s.secure(ctx, conn, p)
				return link{w, p, group[i]}, err
			},
			func(i int, err error) {
				now := time.Now()
				p.at(group[i].addr, now).unreachable(now, &s.tune)
				s.m.connectErrors.Inc()
				last = err
			}, link.drop)
		if ok {
			return conn, nil
		}
		if ctx.Err() != nil {
			return link{}, ctx.Err()
		}
	}
	return link{}, last
}

// dialTCP is what dial is but in tests.
func (s *Sender) dialTCP(ctx context.Context, addr netip.AddrPort) (Conn, error) {
	dialer := net.Dialer{
		Timeout:         s.cfg.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4},
		Control:         func(_, _ string, c syscall.RawConn) error { return setUserTimeout(c, s.cfg.AckTimeout) },
	}
	conn, err := dialer.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
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
