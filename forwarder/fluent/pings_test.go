package fluent

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// A receiver that answers pings is not taken for one that does not, whatever fault coincides with the first ones.
func TestPingsAreNotMisread(t *testing.T) {
	withhold := func(first int, late time.Duration) mangle { // the ack of the ping of so many connections is lost, or late
		return func(n int, acks <-chan []byte, to *net.TCPConn) {
			i := 0
			for a := range acks {
				if i++; i == 1 && n <= first {
					if late == 0 {
						continue
					}
					time.Sleep(late)
				}
				_, _ = to.Write(a)
			}
		}
	}
	for _, c := range []struct {
		name string
		how  mangle
	}{
		{"cut at the first ping", func(n int, acks <-chan []byte, to *net.TCPConn) {
			if n == 1 {
				<-acks
				return
			}
			each(func(a []byte) []byte { return a })(n, acks, to)
		}},
		{"ack lost", withhold(1, 0)},
		{"ack late", withhold(1, 3*time.Second)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			m := newMangler(t, r.recv.Addr(), c.how)
			r.start(func(s *Sender) { s.tune.pingWait = time.Second }, m.ln.Addr().String())
			r.add(20, 1, 50)
			r.check(maxBatchFrames)
			before := r.recv.Stats().Pings
			r.until("pings, heartbeat after heartbeat", func() bool { return r.recv.Stats().Pings >= before+4 })
			r.add(20, 1, 50)
			r.check(maxBatchFrames)
			r.stop()
			if p := r.s.peers[0]; p.pings != yes || p.doubts != 0 {
				t.Errorf("pings %v with %d doubts, want that it answers", p.pings, p.doubts)
			}
			m.close()
		})
	}
}

// A receiver that is put out and comes back under another manner is learned anew, both ways.
func TestPingsAreRelearned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(func(s *Sender) { s.tune.pingWait = 100 * time.Millisecond })
	use := func(what string, ok func() bool) {
		r.until(what, func() bool {
			r.add(1, 1, 50)
			time.Sleep(testTune.replace + 20*time.Millisecond)
			return ok()
		})
	}
	r.recv.Set(receiver.Behaviour{IgnorePings: true})
	use("idle connections are replaced", func() bool { return r.disconnects(idle) >= 2 })
	n := r.disconnects(pingTimeout)
	r.add(1, 1, 50)
	r.check(maxBatchFrames)
	if got := r.disconnects(pingTimeout); got != n {
		t.Errorf("%d connections given up for a ping unanswered once it was known", got-n)
	}
	r.stop()
}

// At the default configuration, what comes after a balancer has dropped the connection in whatever way is there within 2 s.
func TestIdleDropAtDefaults(t *testing.T) {
	for _, c := range []struct {
		name string
		mode balancer.Mode
	}{{"FIN", balancer.FIN}, {"RST", balancer.RST}, {"silent, then RST", balancer.SilentReset}, {"silent", balancer.Silent}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			b, err := balancer.Listen("127.0.0.1:0", balancer.Options{Mode: c.mode}, r.recv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			r.start(func(s *Sender) {
				to := s.cfg.To
				s.tune, s.cfg = defaultTune, DefaultConfig()
				s.cfg.To = to
			}, b.Addr())
			took := time.Hour
			for try := 0; try < 5 && took > 2*time.Second; try++ { // a machine that halts for a second does not do so each time
				r.add(1, 1, 50)
				r.check(0)
				time.Sleep(defaultTune.trust + 50*time.Millisecond)
				b.Drop()
				r.add(1, 1, 50)
				begin := time.Now()
				r.check(0)
				took = min(took, time.Since(begin))
			}
			if took > 2*time.Second {
				t.Errorf("there after %v at the soonest", took)
			}
			r.stop()
		})
	}
}

// The kernel is told to look after idle connections and dead peers.
func TestSocketOptions(t *testing.T) {
	r := newRig(t)
	s := NewSender(DefaultConfig(), r.q, nil, r.m)
	conn, err := s.dial(t.Context(), netip.MustParseAddrPort(r.recv.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                string
		level, option, want int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(s.cfg.AckTimeout.Milliseconds())},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		_ = raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), c.level, c.option); err != nil || got != c.want {
				t.Errorf("%s is %d, %v; want %d", c.name, got, err, c.want)
			}
		})
	}
}
