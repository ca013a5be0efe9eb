package fluent

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/internal/receiver"
)

// mangler stands between sender and receiver and passes acks on as a test wants it.
type mangler struct {
	ln      net.Listener
	running sync.WaitGroup
}

// mangle is given the number of the connection, from 1, whole acks in the order of the receiver, and the way to the
// sender. When it returns, the connection is cut.
type mangle func(n int, acks <-chan []byte, to *net.TCPConn)

func newMangler(t *testing.T, backend string, how mangle) *mangler {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mangler{ln: ln}
	m.running.Go(func() {
		for n := 1; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			m.running.Go(func() { m.pass(t, n, conn.(*net.TCPConn), backend, how) })
		}
	})
	return m
}

func (m *mangler) close() {
	_ = m.ln.Close()
	m.running.Wait()
}

func (m *mangler) pass(t *testing.T, n int, client *net.TCPConn, backend string, how mangle) {
	conn, err := net.Dial("tcp", backend)
	if err != nil {
		_ = client.Close()
		return
	}
	acks := make(chan []byte, 10000)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(conn, client)
		_ = conn.Close()
	})
	both.Go(func() {
		defer close(acks)
		r := msgp.NewReader(conn)
		for {
			var one bytes.Buffer
			if _, err := r.CopyNext(&one); err != nil {
				return
			}
			acks <- one.Bytes()
		}
	})
	how(n, acks, client)
	_ = client.SetLinger(0)
	_ = client.Close()
	_ = conn.Close()
	both.Wait()
}

// each passes all acks on, changed.
func each(change func([]byte) []byte) mangle {
	return func(_ int, acks <-chan []byte, to *net.TCPConn) {
		for a := range acks {
			_, _ = to.Write(change(a))
		}
	}
}

func ackID(t *testing.T, ack []byte) []byte {
	id, _, err := nextAck(ack)
	if err != nil {
		t.Errorf("ack of the receiver: %v", err)
	}
	return id
}

// What may happen to acks on their way. No event is lost whatever it is; repeats are those of the batches that a
// connection ended with.
func TestAcks(t *testing.T) {
	const overdue = 1500 * time.Millisecond
	former := make(chan []byte, 1) // an ack of the first connection
	for _, c := range []struct {
		name    string
		how     mangle
		repeats int    // events; each frame has one; where there may be some, acks are overdue after overdue
		end     reason // that some connection must have; empty: none may end
	}{
		{"several in one read", func(_ int, acks <-chan []byte, to *net.TCPConn) {
			for a := range acks {
				time.Sleep(20 * time.Millisecond)
				for more := true; more; {
					select {
					case next, ok := <-acks:
						a, more = append(a, next...), ok
					default:
						more = false
					}
				}
				_, _ = to.Write(a)
			}
		}, 0, ""},
		{"split over reads", func(_ int, acks <-chan []byte, to *net.TCPConn) {
			for a := range acks {
				for i := range a {
					_, _ = to.Write(a[i : i+1])
					if i%9 == 0 {
						time.Sleep(200 * time.Microsecond)
					}
				}
			}
		}, 0, ""},
		{"one and a half in each read", func(_ int, acks <-chan []byte, to *net.TCPConn) {
			var rest []byte
			for a := range acks {
				a = append(rest, a...)
				cut := len(a) - 20
				_, _ = to.Write(a[:cut])
				rest = bytes.Clone(a[cut:])
				if len(acks) == 0 { // or the last one would wait for the next frame
					time.Sleep(5 * time.Millisecond)
					_, _ = to.Write(rest)
					rest = nil
				}
			}
		}, 0, ""},
		{"twice", each(func(a []byte) []byte { return append(a, a...) }), 0, ""},
		{"all of them again and again", func(_ int, acks <-chan []byte, to *net.TCPConn) {
			var last [][]byte
			for a := range acks {
				if last = append(last, a); len(last) > 20 {
					last = last[1:]
				}
				_, _ = to.Write(bytes.Join(last, nil))
			}
		}, 0, ""},
		{"in bin instead of str", each(func(a []byte) []byte {
			return msgp.AppendBytes(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "ack"), ackID(t, a))
		}), 0, ""},
		{"beside other keys", each(func(a []byte) []byte {
			b := msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 3), "n"), 5)
			b = msgp.AppendStringFromBytes(msgp.AppendString(b, "ack"), ackID(t, a))
			return msgp.AppendNil(msgp.AppendString(b, "more"))
		}), 0, ""},
		{"with nil between", each(func(a []byte) []byte { return append([]byte{0xc0}, a...) }), 0, ""},
		{"lost: one in ten, for three connections", func(n int, acks <-chan []byte, to *net.TCPConn) {
			i := 0
			for a := range acks {
				if i++; i%10 != 5 || n > 3 {
					_, _ = to.Write(a)
				}
			}
		}, 3 * maxBatchFrames, ackTimeout},
		{"lost: all, for two connections", func(n int, acks <-chan []byte, to *net.TCPConn) {
			for a := range acks {
				if n > 2 {
					_, _ = to.Write(a)
				}
			}
		}, maxBatchFrames + 2, ackTimeout},
		{"late: after the timeout, for two connections", func(n int, acks <-chan []byte, to *net.TCPConn) {
			for a := range acks {
				if n <= 2 {
					time.Sleep(overdue * 3 / 2)
				}
				if _, err := to.Write(a); err != nil {
					return
				}
			}
		}, maxBatchFrames + 2, ""},
		{"unknown: those of a former connection", func(n int, acks <-chan []byte, to *net.TCPConn) {
			switch n {
			case 1: // takes 20 frames and keeps the acks for itself
				i := 0
				for a := range acks {
					if i++; i == 1 {
						_, _ = to.Write(a) // of the ping
					} else if i == 20 {
						former <- a
						return
					}
				}
			case 2:
				_, _ = to.Write(<-former)
			}
			for a := range acks {
				_, _ = to.Write(a)
			}
		}, maxBatchFrames + 1, badAnswer},
		{"cut in the middle of one", func(n int, acks <-chan []byte, to *net.TCPConn) {
			i := 0
			for a := range acks {
				if i++; n == 1 && i == 30 {
					_, _ = to.Write(a[:len(a)/2])
					time.Sleep(30 * time.Millisecond) // it is to be read before the cut
					return
				}
				_, _ = to.Write(a)
			}
		}, maxBatchFrames, peerReset},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			m := newMangler(t, r.recv.Addr(), c.how)
			r.add(150, 1, 50)
			r.start(func(s *Sender) {
				s.cfg.Heartbeat = time.Minute
				if c.repeats > 0 {
					s.cfg.AckTimeout, s.tune.pingWait = overdue, 500*time.Millisecond
				}
			}, m.ln.Addr().String())
			for range 50 {
				r.add(3, 1, 50)
				time.Sleep(time.Millisecond)
			}
			r.check(c.repeats)
			if c.end != "" && r.disconnects(c.end) == 0 {
				t.Errorf("no connection ended by %s", c.end)
			}
			if st := r.s.Status(); c.end == "" && c.repeats == 0 && st.Connections != 1 {
				t.Errorf("%d connections, want 1", st.Connections)
			}
			r.stop()
			m.close()
		})
	}
}

// One that accepts and never reads nor answers is doubted after ack_timeout, and what was for it goes to another.
func TestAcceptsAndNeverAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	r.add(300, 1, 1000)
	r.start(hasty, ln.Addr().String())
	r.until("two doubts", func() bool { return r.disconnects(ackTimeout) >= 2 })
	if st := r.s.Status(); st.AckedEvents != 0 || st.Failures < 2 {
		t.Errorf("status %+v", st)
	}
	r.stop()
	r.start(within(2*time.Second), ln.Addr().String(), r.recv.Addr())
	r.check(0)
	r.stop()
}

// deny_keepalive: learned from the closes, one frame a connection from then on, nothing sent twice once it is known.
func TestDenyKeepalive(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(map[bool]string{false: "FIN", true: "RST"}[reset], func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.recv.Set(receiver.Behaviour{CloseAfterMessage: true, ResetOnClose: reset})
			r.start(func(s *Sender) { s.tune.oneWait = patience })
			r.add(20, 1, 50)
			r.check(20)
			before := r.s.Status()
			r.add(40, 1, 50)
			r.check(20)
			after := r.s.Status()
			if n := after.Connections - before.Connections; n < 38 || n > 45 {
				t.Errorf("%d connections for 40 frames", n)
			}
			if n := after.Resent - before.Resent; n > 2 {
				t.Errorf("%d frames sent twice once it was known", n)
			}
			r.stop()
		})
	}
}
