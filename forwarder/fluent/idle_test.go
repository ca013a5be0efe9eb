package fluent

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/internal/balancer"
)

// What a balancer drops while it is idle costs a new connection and no event, in whatever way it does it.
func TestBalancerDropsIdle(t *testing.T) {
	for _, c := range []struct {
		name string
		mode balancer.Mode
	}{
		{"FIN", balancer.FIN},
		{"RST", balancer.RST},
		{"silent, then RST", balancer.SilentReset},
		{"silent", balancer.Silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			b, err := balancer.Listen("127.0.0.1:0", balancer.Options{Mode: c.mode}, r.recv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			r.start(func(s *Sender) { s.cfg.Heartbeat, s.tune.pingWait = time.Minute, 500*time.Millisecond }, b.Addr())
			for range 6 {
				r.add(20, 1, 100)
				r.check(0)
				time.Sleep(2 * testTune.trust)
				b.Drop()
			}
			r.stop() // or it would be used while the balancer closes
			if n := b.Stats().Dropped; n < 3 {
				t.Errorf("%d connections dropped, this test is for at least 3", n)
			}
			if n := r.disconnects(ackTimeout); n > 0 {
				t.Errorf("%d ack timeouts: data was given to a dead connection", n)
			}
			if got := testutil.ToFloat64(r.m.resent); got > 0 {
				t.Errorf("%v frames sent twice", got)
			}
		})
	}
}

// A connection that ends while there is nothing to send is known to be over before the next frame.
func TestEndNoticedWhileIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(func(s *Sender) { s.cfg.Heartbeat = time.Minute })
	r.add(1, 1, 50)
	r.check(0)
	r.recv.DropConnections()
	r.until("the end is noticed", func() bool { return r.s.Status().Address == "" })
	r.add(1, 1, 50)
	r.check(0)
	if st := r.s.Status(); st.Resent != 0 || st.Connections != 2 || st.Failures != 0 {
		t.Errorf("status %+v", st)
	}
}

// An outage that begins and ends while there is nothing to send is over when the receiver answers a ping.
func TestOutageWhileIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start(nil)
	r.until("a connection", func() bool { return r.s.Status().Address != "" })
	r.recv.Kill()
	r.until("the outage is noticed", func() bool { return r.s.Status().Failures > 2 })
	if err := r.recv.Restart(); err != nil {
		t.Fatal(err)
	}
	r.until("it is over", func() bool { return r.s.Status().Failures == 0 })
	if n := strings.Count(r.logs.String(), "delivering to fluentd again"); n != 1 {
		t.Errorf("%d words of its end, want one", n)
	}
}

// What is no ack ends the connection with a word that helps.
func TestNoForwardReceiver(t *testing.T) {
	for _, c := range []struct{ name, says, want string }{
		{"handshake", "\x92\xa4HELO\x83\xa5nonce\xc4\x02ab\xa4auth\xa0\xa9keepalive\xc3", "set forward.shared_key"},
		{"TLS", "\x15\x03\x01\x00\x02\x02\x46", "with tls:// before it"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", "is this a Fluentd forward port"},
		{"map without ack", "\x81\xa3nak\xa1x", "is this a Fluentd forward port"},
		{"endless", "\x81\xa3ack\xdb\x7f\xff\xff\xff" + strings.Repeat("x", 10000), "longer than 4096 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(c.says))
					_, _ = io.Copy(io.Discard, conn)
					_ = conn.Close()
				}
			}()
			r.start(nil, ln.Addr().String())
			r.until("it is said, and counted", func() bool {
				return strings.Contains(r.s.Status().LastError, c.want) && r.disconnects(badAnswer) > 0
			})
			r.stop()
			_ = ln.Close()
			<-done
		})
	}
}

// Heartbeats keep a connection alive that a balancer would drop.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b, err := balancer.Listen("127.0.0.1:0", balancer.Options{Idle: 3 * time.Second}, r.recv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	r.start(nil, b.Addr())
	r.add(1, 1, 50)
	r.check(0)
	before := r.recv.Stats().Pings
	time.Sleep(5 * time.Second)
	if n := b.Stats().Dropped; n != 0 {
		t.Errorf("%d connections dropped", n)
	}
	if n := r.recv.Stats().Pings - before; n < 2 || n > 50 {
		t.Errorf("%d pings in 5 s of 150 ms heartbeats", n)
	}
	r.stop()
}
