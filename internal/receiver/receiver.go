// Package receiver is a Fluentd Forward receiver to try a sender on: it speaks all four modes, acks, and misbehaves to
// order the way real receivers and networks do. It is written against the protocol and decodes with a library, so that
// it agrees with our encoder only where both are right.
package receiver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/internal/handshake"
)

// Behaviour is what a receiver does other than take everything and ack it at once. The zero value is a good receiver.
// Changes hold from the next message on, also on connections that stand.
type Behaviour struct {
	AckDelay          time.Duration // acks go out so much later; reading goes on
	AckShuffled       bool          // acks that come close together go out in random order
	AckTwice          bool          // each ack is sent twice
	AckUnknown        bool          // acks name ids that nobody sent
	NoAcks            bool          // nothing is acked, all is taken
	DropAcks          float64       // this share of acks is never sent
	DropMessages      float64       // this share of messages with data is thrown away and not acked, as Fluentd does with what is too large
	Refuse            bool          // data makes it close with RST, pings are acked: Fluentd with a full buffer
	RefuseTag         string        // the same for data of this tag only
	RefuseContaining  string        // the same for messages whose entries contain this
	SwallowContaining string        // messages whose entries contain this are read and never answered: Fluentd over chunk_size_limit
	IgnorePings       bool          // empty messages are not acked
	HangUpOnPings     bool          // empty messages make it close
	CloseAfterMessage bool          // it closes after the ack of each message: Fluentd's deny_keepalive
	BytesPerSecond    int           // it reads so slowly; 0: as fast as it can
	ResetOnClose      bool          // it closes with RST instead of FIN
	LacksZstd         bool          // frames compressed with zstd make it close: Fluentd before 1.19
}

// Security is what a receiver asks of who connects. The zero value asks nothing.
type Security struct {
	TLS       *tls.Config       // not nil: the connection is TLS
	Handshake *handshake.Server // not nil: it begins with HELO, as with a <security> section
}

// Event is one event received. It is valid until the handler returns.
type Event struct {
	Tag    string
	Chunk  string // of the message it came in; the same for all its events
	Time   int64  // Unix nanoseconds; 0 if the sender left it to us
	Record []byte // the record, a MessagePack map
}

// Handler is given each event before its message is acked, one event at a time over all connections.
type Handler func(*Event)

// Stats are counts since Listen.
type Stats struct {
	Connections int64 // accepted
	Messages    int64 // with data, taken
	Pings       int64 // empty messages
	Events      int64
	Bytes       int64 // of entries, uncompressed
	Acks        int64 // sent
	Refused     int64 // messages with data answered by closing
	Denied      int64 // connections that did not get through TLS or the handshake
	Compressed  int64 // messages with data taken that were compressed
}

// Receiver listens on one address. All its methods may be called at any time.
type Receiver struct {
	handle    Handler
	behaviour atomic.Pointer[Behaviour]
	security  atomic.Pointer[Security]
	handling  sync.Mutex  // held while handle runs
	listened  atomic.Bool // the port is its own

	connections, messages, pings, events, bytes, acks, refused, denied, compressed atomic.Int64

	mu      sync.Mutex // guards all below
	addr    string
	ln      net.Listener // nil while killed
	conns   map[*conn]struct{}
	closed  bool
	serving sync.WaitGroup
}

// Listen starts a receiver at addr, such as 127.0.0.1:0. Without a handler events are only counted.
func Listen(addr string, h Handler) (*Receiver, error) {
	r := New(h)
	r.addr = addr
	if err := r.Restart(); err != nil {
		return nil, err
	}
	return r, nil
}

// Addr is the address it listens on, with the port it was given; a restart keeps it.
func (r *Receiver) Addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addr
}

// Set changes how it behaves.
func (r *Receiver) Set(b Behaviour) { r.behaviour.Store(&b) }

// Secure changes what it asks of the connections to come.
func (r *Receiver) Secure(s Security) { r.security.Store(&s) }

// Stats may be read at any time.
func (r *Receiver) Stats() Stats {
	return Stats{Connections: r.connections.Load(), Messages: r.messages.Load(), Pings: r.pings.Load(), Events: r.events.Load(),
		Bytes: r.bytes.Load(), Acks: r.acks.Load(), Refused: r.refused.Load(),
		Denied: r.denied.Load(), Compressed: r.compressed.Load()}
}

// Conn is a connection as a receiver uses it: a *net.TCPConn, or one of a simulated network.
type Conn interface {
	net.Conn
	SetLinger(sec int) error
	SetReadBuffer(bytes int) error
}

// New makes a receiver that listens nowhere: what it is to serve is given to Serve.
func New(h Handler) *Receiver {
	r := &Receiver{handle: h, conns: map[*conn]struct{}{}}
	r.behaviour.Store(&Behaviour{})
	r.security.Store(&Security{})
	return r
}

// Serve takes a connection, as if it had been accepted, and returns at once.
func (r *Receiver) Serve(nc Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &conn{r: r, nc: nc, done: make(chan struct{})}
	if r.closed {
		c.close(true)
		return
	}
	r.start(c)
}

// Restart listens again after Kill. For a moment the end of another connection may have its port: that is waited out.
func (r *Receiver) Restart() error {
	err := r.listen()
	for try := 0; errors.Is(err, syscall.EADDRINUSE) && r.listened.Load() && try < 500; try++ {
		time.Sleep(10 * time.Millisecond)
		err = r.listen()
	}
	return err
}

func (r *Receiver) listen() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return net.ErrClosed
	}
	if r.ln != nil {
		return nil
	}
	ln, err := net.Listen("tcp", r.addr)
	if err != nil {
		return fmt.Errorf("listen for Forward messages: %w", err)
	}
	r.ln, r.addr = ln, ln.Addr().String()
	r.listened.Store(true)
	r.serving.Add(1)
	go r.accept(ln)
	return nil
}

// Kill ends it as kill -9 would: the port is closed, and all connections are cut with RST. Messages that were read and
// not yet acked may or may not have been handled.
func (r *Receiver) Kill() {
	r.stop(true)
	r.serving.Wait()
}

// DropConnections cuts all connections with RST and goes on listening.
func (r *Receiver) DropConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.close(true)
	}
}

// Close ends it for good and waits until its goroutines are gone.
func (r *Receiver) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop(false)
	r.serving.Wait()
	return nil
}

func (r *Receiver) stop(reset bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ln != nil {
		_ = r.ln.Close()
		r.ln = nil
	}
	for c := range r.conns {
		c.close(reset)
	}
}

func (r *Receiver) accept(ln net.Listener) {
	defer r.serving.Done()
	for {
		nc, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: others end
			continue
		}
		c := &conn{r: r, nc: nc.(*net.TCPConn), done: make(chan struct{})}
		r.mu.Lock()
		if r.ln != ln { // killed in between
			r.mu.Unlock()
			c.close(true)
			continue
		}
		r.start(c)
		r.mu.Unlock()
	}
}

// start serves a connection until it ends. r.mu is held.
func (r *Receiver) start(c *conn) {
	r.conns[c] = struct{}{}
	r.connections.Add(1)
	r.serving.Add(1)
	go func() {
		defer r.serving.Done()
		c.serve()
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}()
}
