package receiver

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/tinylib/msgp/msgp"
)

// conn is one connection. The goroutine of serve reads and acks; a second one, started when it is first needed, sends
// acks that are late or shuffled.
type conn struct {
	r    *Receiver
	nc   Conn
	rw   net.Conn // nc at the pace set, or TLS over it
	once sync.Once
	done chan struct{} // closed with the connection
	late chan lateAck
	ackb []byte // owned by serve
}

type lateAck struct {
	due   time.Time
	chunk string
	b     *Behaviour
}

func (c *conn) close(reset bool) {
	c.once.Do(func() {
		close(c.done)
		if reset {
			_ = c.nc.SetLinger(0)
		}
		_ = c.nc.Close()
	})
}

// greet does what has to be done before the first message, and answers what came of that already.
func (c *conn) greet() (early []byte, err error) {
	s := c.r.security.Load()
	c.rw = &slowConn{Conn: c.nc, c: c}
	_ = c.nc.SetDeadline(time.Now().Add(10 * time.Second))
	if s.TLS != nil {
		t := tls.Server(c.rw, s.TLS)
		if err := t.Handshake(); err != nil {
			return nil, err
		}
		c.rw = t
	}
	if s.Handshake != nil {
		if _, early, err = s.Handshake.Do(c.rw); err != nil {
			return nil, err
		}
	}
	return early, c.nc.SetDeadline(time.Time{})
}

func (c *conn) serve() {
	var acker sync.WaitGroup
	defer acker.Wait()
	defer func() { c.close(c.r.behaviour.Load().ResetOnClose) }()
	early, err := c.greet()
	if err != nil {
		c.r.denied.Add(1)
		return
	}
	m := message{r: msgp.NewReaderSize(io.MultiReader(bytes.NewReader(early), c.rw), 64<<10)}
	m.limit()
	for m.read() == nil {
		b := c.r.behaviour.Load()
		switch {
		case m.empty() && b.HangUpOnPings:
			return
		case m.empty():
			c.r.pings.Add(1)
		case b.LacksZstd && m.compressed == "zstd":
			c.r.refused.Add(1)
			c.close(true)
			return
		case b.Refuse || b.RefuseTag != "" && b.RefuseTag == m.tag || m.contains(b.RefuseContaining):
			c.r.refused.Add(1)
			c.close(true)
			return
		case m.contains(b.SwallowContaining):
			c.r.refused.Add(1)
			continue
		case b.DropMessages > 0 && rand.Float64() < b.DropMessages:
			continue
		case c.r.take(&m) != nil:
			return
		}
		if m.chunk != "" && !b.NoAcks && (!m.empty() || !b.IgnorePings) {
			if (b.AckDelay > 0 || b.AckShuffled) && c.late == nil {
				c.late = make(chan lateAck, 4096)
				acker.Go(c.sendLate)
			}
			if c.late != nil {
				select {
				case c.late <- lateAck{time.Now().Add(b.AckDelay), m.chunk, b}:
				case <-c.done:
					return
				}
			} else if c.ackb = appendAck(c.ackb[:0], m.chunk, b); !c.send(c.ackb) {
				return
			}
		}
		if b.CloseAfterMessage {
			if c.late != nil {
				time.Sleep(b.AckDelay + 20*time.Millisecond)
			}
			return
		}
	}
}

// sendLate sends acks when they are due, until the connection ends.
func (c *conn) sendLate() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wait := func(d time.Duration) bool {
		timer.Reset(d)
		select {
		case <-c.done:
			return false
		case <-timer.C:
			return true
		}
	}
	var buf []byte
	for {
		var batch []lateAck
		select {
		case <-c.done:
			return
		case a := <-c.late:
			if !wait(time.Until(a.due)) {
				return
			}
			batch = append(batch, a)
		}
		if batch[0].b.AckShuffled {
			if !wait(2 * time.Millisecond) {
				return
			}
			for more := true; more; {
				select {
				case a := <-c.late:
					batch = append(batch, a)
				default:
					more = false
				}
			}
			rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		}
		for _, a := range batch {
			if buf = appendAck(buf[:0], a.chunk, a.b); !c.send(buf) {
				return
			}
		}
	}
}

func (c *conn) send(ack []byte) bool {
	if len(ack) == 0 {
		return true
	}
	c.r.acks.Add(1)
	_, err := c.rw.Write(ack)
	return err == nil
}

// appendAck appends what the behaviour makes of an ack, which may be nothing.
func appendAck(dst []byte, chunk string, b *Behaviour) []byte {
	if b.DropAcks > 0 && rand.Float64() < b.DropAcks {
		return dst
	}
	if b.AckUnknown {
		chunk = "unknown-" + chunk
	}
	n := 1
	if b.AckTwice {
		n = 2
	}
	for range n {
		dst = msgp.AppendMapHeader(dst, 1)
		dst = msgp.AppendString(dst, "ack")
		dst = msgp.AppendString(dst, chunk)
	}
	return dst
}

// slowConn reads at the pace the behaviour sets, in twenty steps a second.
type slowConn struct {
	Conn
	c    *conn
	slow bool
}

func (s *slowConn) Read(p []byte) (int, error) {
	rate := s.c.r.behaviour.Load().BytesPerSecond
	if slow := rate > 0; slow != s.slow {
		s.slow = slow
		_ = s.SetReadBuffer(map[bool]int{true: 16 << 10, false: 1 << 20}[slow]) // or the kernel would take megabytes for us
	}
	if rate > 0 {
		select {
		case <-s.c.done:
			return 0, net.ErrClosed
		case <-time.After(50 * time.Millisecond):
		}
		p = p[:min(len(p), max(rate/20, 1))]
	}
	return s.Conn.Read(p)
}
