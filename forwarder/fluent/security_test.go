package fluent

import (
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/handshake"
	"github.com/fairlead/fairlead/internal/receiver"
)

// secureRig is a rig with a CA and its files.
type secureRig struct {
	*rig
	ca            *receiver.Authority
	dir           string
	caFile        string
	cert, keyFile string
}

func newSecureRig(t *testing.T) *secureRig {
	t.Helper()
	r := &secureRig{rig: newRig(t), ca: receiver.NewAuthority("fairlead test"), dir: t.TempDir()}
	r.caFile, r.cert, r.keyFile = filepath.Join(r.dir, "ca.pem"), filepath.Join(r.dir, "cert.pem"), filepath.Join(r.dir, "key.pem")
	r.put(r.caFile, r.ca.PEM())
	r.recv.Secure(receiver.Security{TLS: r.ca.Server("127.0.0.1", "logs.internal")})
	return r
}

// put replaces a file at once, as whoever renews a certificate does.
func (r *secureRig) put(path string, text []byte) {
	r.Helper()
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		r.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		r.Fatal(err)
	}
}

func (r *secureRig) tls() string { return "tls://" + r.recv.Addr() }

// trusting has the sender believe the rig's CA.
func (r *secureRig) trusting(s *Sender) { s.credentials.CA = r.caFile }

func withKey(s *Sender) { s.client.SharedKey = "the key" }

func all(change ...func(*Sender)) func(*Sender) {
	return func(s *Sender) {
		for _, c := range change {
			c(s)
		}
	}
}

func TestTLSDelivers(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint16
	}{{"TLS 1.3", tls.VersionTLS13}, {"TLS 1.2", tls.VersionTLS12}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newSecureRig(t)
			config := r.ca.Server("127.0.0.1")
			config.MaxVersion = c.version
			r.recv.Secure(receiver.Security{TLS: config, Handshake: &handshake.Server{Hostname: "s", SharedKey: "the key"}})
			rnd := rand.New(rand.NewPCG(3, 4))
			for range 150 {
				r.add(1, 1, []int{60, 5000, 40000, 300000}[rnd.IntN(4)])
			}
			r.add(1, 1, 2<<20)
			r.start(all(r.trusting, withKey), r.tls())
			r.check(0)
			for range 20 { // acks are read by either goroutine
				r.add(30, 1, 100)
				r.check(0)
			}
			if got := r.recv.Stats(); got.Connections != 1 || got.Denied != 0 || got.Pings < 1 {
				t.Errorf("%+v, want one connection that began with a ping", got)
			}
			r.stop()
		})
	}
}

// Over TLS, the session notices and bears what it does without.
func TestTLSFaults(t *testing.T) {
	for _, c := range []struct {
		name    string
		b       receiver.Behaviour
		frames  int
		repeats int
	}{
		{"acks late, twice and out of order", receiver.Behaviour{AckTwice: true, AckShuffled: true, AckDelay: 30 * time.Millisecond}, 600, 0},
		{"ignores pings", receiver.Behaviour{IgnorePings: true}, 600, 0},
		{"closes after each message", receiver.Behaviour{CloseAfterMessage: true}, 60, 0},
		{"reads slowly", receiver.Behaviour{BytesPerSecond: 200000}, 300, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newSecureRig(t)
			r.recv.Set(c.b)
			r.add(c.frames/2, 1, 50)
			r.start(func(s *Sender) {
				r.trusting(s)
				if c.b.IgnorePings {
					s.tune.pingWait = 100 * time.Millisecond
				}
				if c.b.CloseAfterMessage {
					s.tune.oneWait = time.Second
				}
			}, r.tls())
			r.add(c.frames/2, 2, 100)
			r.check(c.repeats)
			r.stop()
		})
	}
	t.Run("restarts", func(t *testing.T) {
		t.Parallel()
		r := newSecureRig(t)
		r.start(r.trusting, r.tls())
		for range 5 {
			r.add(300, 1, 200)
			r.recv.Kill()
			r.add(300, 1, 200)
			time.Sleep(20 * time.Millisecond)
			if err := r.recv.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		r.check(5 * maxBatchFrames)
		r.stop()
	})
	t.Run("the end is noticed while idle", func(t *testing.T) {
		t.Parallel()
		r := newSecureRig(t)
		r.start(all(r.trusting, func(s *Sender) { s.cfg.Heartbeat = time.Minute }), r.tls())
		r.add(1, 1, 50)
		r.check(0)
		r.recv.DropConnections()
		r.until("the end is noticed", func() bool { return r.s.Status().Address == "" })
		r.add(1, 1, 50)
		r.check(0)
		if st := r.s.Status(); st.Resent != 0 || st.Connections != 2 || st.Failures != 0 {
			t.Errorf("status %+v", st)
		}
		r.stop()
	})
	t.Run("no ack", func(t *testing.T) {
		t.Parallel()
		r := newSecureRig(t)
		r.recv.Set(receiver.Behaviour{NoAcks: true})
		r.start(all(hasty, r.trusting), r.tls())
		r.add(1000, 1, 50)
		r.until("two ack timeouts", func() bool { return r.disconnects(ackTimeout) >= 2 })
		r.recv.Set(receiver.Behaviour{})
		r.check(1000)
		r.stop()
	})
	t.Run("one large frame to a slow receiver", func(t *testing.T) {
		t.Parallel()
		r := newSecureRig(t)
		r.recv.Set(receiver.Behaviour{BytesPerSecond: 1 << 20})
		r.start(all(within(2*time.Second), r.trusting), r.tls())
		r.add(1, 1, 1<<20) // some 6 s: TLS reads a record in two steps of the receiver's pace
		r.check(0)
		if n := r.disconnects(ackTimeout); n > 0 {
			t.Errorf("%d ack timeouts", n)
		}
		r.stop()
	})
	for _, mode := range []balancer.Mode{balancer.FIN, balancer.RST, balancer.SilentReset, balancer.Silent} {
		t.Run("balancer drops idle", func(t *testing.T) {
			t.Parallel()
			r := newSecureRig(t)
			b, err := balancer.Listen("127.0.0.1:0", balancer.Options{Mode: mode}, r.recv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			r.start(all(r.trusting, func(s *Sender) { s.cfg.Heartbeat, s.tune.pingWait = time.Minute, 500*time.Millisecond }), "tls://"+b.Addr())
			for range 5 {
				r.add(20, 1, 100)
				r.check(0)
				time.Sleep(2 * testTune.trust)
				b.Drop()
			}
			r.stop()
			if n := b.Stats().Dropped; n < 3 {
				t.Errorf("%d connections dropped, this test is for at least 3", n)
			}
			if n := r.disconnects(ackTimeout); n > 0 {
				t.Errorf("%d ack timeouts: data was given to a dead connection", n)
			}
		})
	}
}

// Each thing that can be wrong with TLS or the key is said once, with what to do, and tried again slowly. Nothing is lost.
func TestSecurityRefusals(t *testing.T) {
	type change = func(*Sender)
	for _, c := range []struct {
		name   string
		recv   func(*secureRig) receiver.Security
		plain  bool // the endpoint has no tls://
		change func(*secureRig) change
		want   string
		slow   bool // only another configuration can help
	}{
		{"CA unknown", func(r *secureRig) receiver.Security { return receiver.Security{TLS: r.ca.Server("127.0.0.1")} }, false,
			func(*secureRig) change { return func(*Sender) {} }, "set forward.tls.ca to", true},
		{"another CA", func(r *secureRig) receiver.Security {
			return receiver.Security{TLS: receiver.NewAuthority("other").Server("127.0.0.1")}
		}, false, func(r *secureRig) change { return func(s *Sender) { r.trusting(s); s.cfg.TLS.CA = r.caFile } }, "ca.pem did not sign it", true},
		{"another name", func(r *secureRig) receiver.Security { return receiver.Security{TLS: r.ca.Server("logs.internal")} }, false,
			func(r *secureRig) change { return r.trusting }, "forward.tls.server_name", true},
		{"expired", func(r *secureRig) receiver.Security {
			pair, err := tls.X509KeyPair(r.ca.Issue(-time.Hour, "127.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			return receiver.Security{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}}
		}, false, func(r *secureRig) change { return r.trusting }, "has expired", true},
		{"no client certificate", func(r *secureRig) receiver.Security {
			config := r.ca.Server("127.0.0.1")
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, r.ca.Pool()
			return receiver.Security{TLS: config}
		}, false, func(r *secureRig) change { return r.trusting }, "set forward.tls.cert and forward.tls.key", true},
		{"no client certificate, TLS 1.2", func(r *secureRig) receiver.Security {
			config := r.ca.Server("127.0.0.1")
			config.ClientAuth, config.ClientCAs, config.MaxVersion = tls.RequireAndVerifyClientCert, r.ca.Pool(), tls.VersionTLS12
			return receiver.Security{TLS: config}
		}, false, func(r *secureRig) change { return r.trusting }, "set forward.tls.cert and forward.tls.key", true},
		{"TLS 1.1", func(r *secureRig) receiver.Security {
			config := r.ca.Server("127.0.0.1")
			config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			return receiver.Security{TLS: config}
		}, false, func(r *secureRig) change { return r.trusting }, "TLS with tls://", true},
		{"no CA file", func(r *secureRig) receiver.Security { return receiver.Security{TLS: r.ca.Server("127.0.0.1")} }, false,
			func(r *secureRig) change { return func(s *Sender) { s.credentials.CA = r.dir + "/none.pem" } }, "forward.tls.ca: cannot read", true},
		{"no TLS, and we want it", func(*secureRig) receiver.Security { return receiver.Security{} }, false,
			func(r *secureRig) change {
				return func(s *Sender) { r.trusting(s); s.cfg.ConnectTimeout = 300 * time.Millisecond }
			}, "", false},
		{"HELO, and we want TLS", func(*secureRig) receiver.Security {
			return receiver.Security{Handshake: &handshake.Server{SharedKey: "the key"}}
		}, false, func(r *secureRig) change { return r.trusting }, "does not speak TLS", true},
		{"another key", func(*secureRig) receiver.Security {
			return receiver.Security{Handshake: &handshake.Server{Hostname: "s", SharedKey: "another key"}}
		}, true, func(*secureRig) change { return withKey }, `"shared_key mismatch": make forward.shared_key`, true},
		{"another user", func(*secureRig) receiver.Security {
			return receiver.Security{Handshake: &handshake.Server{Hostname: "s", SharedKey: "the key", Users: []handshake.User{{Name: "u", Password: "p"}}}}
		}, true, func(*secureRig) change { return withKey }, "username/password mismatch", true},
		{"ourselves", func(*secureRig) receiver.Security {
			return receiver.Security{Handshake: &handshake.Server{Hostname: "us", SharedKey: "the key"}}
		}, true, func(*secureRig) change { return all(withKey, func(s *Sender) { s.client.Hostname = "us" }) }, "self_hostname", true},
		{"no key here", func(*secureRig) receiver.Security {
			return receiver.Security{Handshake: &handshake.Server{Hostname: "s", SharedKey: "the key"}}
		}, true, func(*secureRig) change { return func(*Sender) {} }, "set forward.shared_key to its shared_key", true},
		{"no key there", func(*secureRig) receiver.Security { return receiver.Security{} }, true, func(*secureRig) change {
			return all(withKey, func(s *Sender) { s.cfg.ConnectTimeout = 300 * time.Millisecond })
		}, "remove forward.shared_key", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newSecureRig(t)
			r.recv.Secure(c.recv(r))
			to := r.tls()
			if c.plain {
				to = r.recv.Addr()
			}
			r.add(20, 1, 50)
			begun := time.Now()
			r.start(func(s *Sender) {
				c.change(r)(s)
				s.tune.backoff, s.tune.slowBackoff = 20*time.Millisecond, 200*time.Millisecond
			}, to)
			r.until("three failures", func() bool { return r.s.Status().Failures >= 3 })
			r.until("it goes on", func() bool { return time.Since(begun) > 400*time.Millisecond })
			r.until("it says "+c.want, func() bool { return strings.Contains(r.s.Status().LastError, c.want) })
			st := r.s.Status()
			took := time.Since(begun)
			if most := 5 + int(took/(100*time.Millisecond)); c.slow && st.Failures > most { // 20..40, 40..80, 80..160, then 100..200 ms
				t.Errorf("%d attempts in %v, want %d at most", st.Failures, took, most)
			}
			r.stop()
			if n := strings.Count(r.logs.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings, want one:\n%s", n, r.logs.String())
			}
			if r.q.acked != 0 || r.recv.Stats().Events != 0 {
				t.Errorf("%d frames count as acked, %d events came", r.q.acked, r.recv.Stats().Events)
			}
			for _, secret := range []string{"the key", "PRIVATE"} {
				if strings.Contains(r.logs.String()+st.LastError, secret) {
					t.Errorf("%q is told", secret)
				}
			}
		})
	}
}

// What was wrong with the receiver is put right: all arrives.
func TestSecurityRecovers(t *testing.T) {
	t.Parallel()
	r := newSecureRig(t)
	server := &handshake.Server{Hostname: "s", SharedKey: "another key"}
	r.recv.Secure(receiver.Security{TLS: r.ca.Server("127.0.0.1"), Handshake: server})
	r.add(50, 1, 50)
	r.start(all(r.trusting, withKey, func(s *Sender) { s.tune.slowBackoff = 50 * time.Millisecond }), r.tls())
	r.until("failures", func() bool { return r.s.Status().Failures >= 3 })
	r.recv.Secure(receiver.Security{TLS: r.ca.Server("127.0.0.1"), Handshake: &handshake.Server{Hostname: "s", SharedKey: "the key"}})
	r.check(0)
	if st := r.s.Status(); st.Failures != 0 {
		t.Errorf("status %+v", st)
	}
	r.stop()
}

// A name of the configuration is asked for instead of the endpoint's host.
func TestServerName(t *testing.T) {
	t.Parallel()
	r := newSecureRig(t)
	r.recv.Secure(receiver.Security{TLS: r.ca.Server("logs.internal")})
	r.start(func(s *Sender) { r.trusting(s); s.credentials.ServerName = "logs.internal" }, r.tls())
	r.add(1, 1, 50)
	r.check(0)
	r.stop()
}

// Renewed files are used from the next connection on; while they are wrong, the former ones are.
func TestFilesAreReloaded(t *testing.T) {
	t.Parallel()
	r := newSecureRig(t)
	config := r.ca.Server("127.0.0.1")
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, r.ca.Pool()
	r.recv.Secure(receiver.Security{TLS: config})
	cert, key := r.ca.Issue(time.Hour, "client")
	r.put(r.cert, cert)
	r.put(r.keyFile, key)
	r.start(func(s *Sender) { r.trusting(s); s.credentials.Cert, s.credentials.Key = r.cert, r.keyFile }, r.tls())
	next := func(want string) {
		t.Helper()
		r.recv.DropConnections()
		r.add(10, 1, 50)
		r.check(10)
		if logs := r.logs.String(); want != "" && !strings.Contains(logs, want) {
			t.Errorf("no %q in\n%s", want, logs)
		}
	}
	next("")
	r.put(r.cert, []byte("-----BEGIN CERTIFICATE-----\nhalf"))
	next("cannot use the new TLS files")
	other, otherKey := r.ca.Issue(time.Hour, "client")
	r.put(r.cert, other) // goes with the key to come
	next("")
	r.put(r.keyFile, otherKey)
	next("read again")
	if err := os.Remove(r.caFile); err != nil {
		t.Fatal(err)
	}
	next("")

	// A new CA is believed, and the former no more.
	ca := receiver.NewAuthority("next")
	r.put(r.caFile, ca.PEM())
	config = ca.Server("127.0.0.1")
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, r.ca.Pool()
	r.recv.Secure(receiver.Security{TLS: config})
	next("")
	r.stop()
	if n := strings.Count(r.logs.String(), "cannot use the new TLS files"); n != 1 {
		t.Errorf("%d warnings of broken files, want one in a minute", n)
	}
}

// A receiver that says it closes after each message is given one a connection, from the first on.
func TestNoKeepalive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Secure(receiver.Security{Handshake: &handshake.Server{Hostname: "s", SharedKey: "the key", Single: true}})
	r.recv.Set(receiver.Behaviour{CloseAfterMessage: true})
	r.add(30, 1, 50)
	r.start(all(withKey, func(s *Sender) { s.tune.oneWait = patience }))
	r.check(0)
	if got := r.recv.Stats(); got.Connections > 31 || got.Pings > 0 {
		t.Errorf("%+v for 30 frames", got)
	}
	if n := r.s.Status().Resent; n > 0 {
		t.Errorf("%d frames sent twice", n)
	}
	r.stop()
}

// The sender stops at once, also in the middle of a handshake.
func TestStopsInHandshake(t *testing.T) {
	for _, to := range []string{"tls://", ""} {
		r := newRig(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			close(accepted)
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
		r.start(func(s *Sender) { withKey(s); s.cfg.ConnectTimeout = time.Minute }, to+ln.Addr().String())
		<-accepted
		begin := time.Now()
		r.stop()
		if d := time.Since(begin); d > 10*time.Second { // what it waits for takes a minute
			t.Errorf("took %v to stop", d)
		}
		_ = ln.Close()
		<-done
	}
}

// The session knows how many bytes of the connection a frame ends at, whatever TLS and the handshake add: by that it tells
// whether a slow receiver is taking the oldest frame.
func TestBytesOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		secure func(*secureRig) receiver.Security
		change func(*secureRig) func(*Sender)
		to     func(*secureRig) string
		most   uint64 // that it may think too much
	}{
		{"plain", func(*secureRig) receiver.Security { return receiver.Security{} },
			func(*secureRig) func(*Sender) { return func(*Sender) {} }, func(r *secureRig) string { return r.recv.Addr() }, 0},
		{"handshake", func(*secureRig) receiver.Security {
			return receiver.Security{Handshake: &handshake.Server{Hostname: "s", SharedKey: "the key"}}
		}, func(*secureRig) func(*Sender) { return withKey }, func(r *secureRig) string { return r.recv.Addr() }, 0},
		{"TLS", func(r *secureRig) receiver.Security { return receiver.Security{TLS: r.ca.Server("127.0.0.1")} },
			func(r *secureRig) func(*Sender) { return r.trusting }, (*secureRig).tls, 20 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newSecureRig(t)
			r.recv.Secure(c.secure(r))
			r.start(all(c.change(r), func(s *Sender) { s.cfg.Heartbeat = time.Minute }), c.to(r))
			for range 5 {
				r.add(200, 1, 1000)
				r.add(20, 1, 200_000)
				r.check(0)
			}
			r.s.mu.Lock()
			s := r.s.session
			r.s.mu.Unlock()
			s.mu.Lock()
			written, delivered := s.written+1, s.w.transport().delivered // the kernel counts SYN
			s.mu.Unlock()
			if delivered > written || written-delivered > c.most+1 {
				t.Errorf("%d bytes written, the peer took %d", written, delivered)
			}
			r.stop()
		})
	}
}
