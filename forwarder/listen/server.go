package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/handshake"
	"github.com/fairlead/fairlead/internal/unixsocket"
)

const (
	socketMode    = 0o660       // root's, as dockerd is; a socket unit can say otherwise
	retryEvery    = time.Second // to open an address that is taken
	roomEvery     = 5 * time.Millisecond
	stopWait      = 500 * time.Millisecond // at stop, to take what has already come
	handshakeWait = 10 * time.Second
)

// Sink takes events.
type Sink interface {
	// Take takes a burst. It waits while there is no room, and returns when all of it is where the end of this process does not take
	// it away. seq is what Sync must have returned for before an ack is sent. After an error the same entries come again, from this
	// process or the next.
	Take(ctx context.Context, c *Conn, entries []Entry) (seq uint64, err error)
	Sync(ctx context.Context, seq uint64) error
}

// Server is one listener. It can be run once.
type Server struct {
	cfg      Config
	sink     Sink
	now      func() int64 // a clock that is never set
	log      *slog.Logger
	metrics  *Metrics
	keeper   Keeper // nil: none
	memory   *memory
	unpacker unpacker
	grumble  complaints
	resent   *resent
	events   atomic.Int64
	opening  sync.WaitGroup // addresses that were not tried yet
	opened   chan struct{}  // closed when all were

	mu        sync.Mutex // guards what follows
	inherited *Sockets   // until they are taken over
	listeners map[string]net.Listener
	missing   map[string]string // addresses that are not open, and why
	conns     map[*Conn]struct{}
	fullSince time.Time // zero: there was room for the last who came
	left      *Sockets  // of a server that has ended
}

// Other in tests.
var (
	maxConns = 4096
	// After a stop, thousands may have connected that send a message and go: room comes soon, and until then they wait where they are, in the
	// kernel. A limit that stands longer is one of clients who stay; then who comes is told so.
	roomWait = 5 * time.Second
)

// New makes a server. It opens nothing. inherited and keeper may be nil.
func New(cfg Config, sink Sink, now func() int64, log *slog.Logger, m *Metrics, inherited *Sockets, keeper Keeper) *Server {
	if inherited == nil {
		inherited = &Sockets{}
	}
	return &Server{
		cfg: cfg, sink: sink, now: now, log: log, metrics: m, inherited: inherited, keeper: keeper, memory: newMemory(), resent: newResent(),
		listeners: map[string]net.Listener{}, missing: map[string]string{}, conns: map[*Conn]struct{}{},
		opened: make(chan struct{}),
	}
}

// Opened is closed when every address is open, or could not be opened at the first attempt.
func (s *Server) Opened() <-chan struct{} { return s.opened }

// Run serves until ctx ends, and then takes what clients have already sent. What is open after that is in Sockets.
func (s *Server) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopWait, cancel) })()
	g := new(errgroup.Group)
	for _, c := range s.inherit() {
		g.Go(func() error { s.serve(ctx, work, c); return nil })
	}
	for _, a := range []struct {
		name, address string
		open          func() (net.Listener, error)
	}{{nameTCP, s.cfg.TCP, s.openTCP}, {nameUnix, s.cfg.Unix, s.openUnix}} {
		if a.address != "" {
			s.opening.Add(1)
			g.Go(func() error { s.listen(ctx, work, g, a.name, a.address, a.open); return nil })
		}
	}
	g.Go(func() error { s.opening.Wait(); close(s.opened); return nil })
	stop := context.AfterFunc(ctx, s.wake)
	defer stop()
	err := g.Wait()
	s.leave()
	return err
}

// wake ends the waits of all connections and listeners.
func (s *Server) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.nc.SetReadDeadline(past)
	}
	for _, l := range s.listeners {
		_ = l.(interface{ SetDeadline(time.Time) error }).SetDeadline(past)
	}
}

// inherit takes over connections and listeners from the server before.
func (s *Server) inherit() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.inherited
	defer in.Close() // of what is not taken
	for name, address := range map[string]string{nameTCP: s.cfg.TCP, nameUnix: s.cfg.Unix} {
		l := in.listeners[name]
		if l == nil || address == "" || !answersAt(l, address) {
			continue
		}
		delete(in.listeners, name)
		_ = l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{})
		s.listeners[name] = l
	}
	var conns []*Conn
	if s.cfg.TCP == "" && s.cfg.Unix == "" || s.cfg.SharedKey != in.key {
		return nil // a client that has not proved that it knows the key must do so
	}
	for _, o := range in.conns {
		c, err := newConn(s, o.conn, o.id)
		if err != nil {
			_ = o.conn.Close()
			continue
		}
		c.kept, c.rest, c.proved = s.keeper != nil, o.rest, true
		if c.rest != nil && s.keeper != nil {
			s.keeper.Drop(nameRest + o.id) // or a later process would go on with it again
		}
		_ = o.conn.SetDeadline(time.Time{})
		s.conns[c] = struct{}{}
		conns = append(conns, c)
	}
	in.conns = nil
	if len(conns) > 0 {
		s.log.Info("connections taken over from before", "connections", len(conns))
	}
	return conns
}

// answersAt says whether an inherited listener is the one that is configured.
func answersAt(l net.Listener, address string) bool {
	if u, ok := l.(*net.UnixListener); ok {
		return unixsocket.At(u, address)
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	got, ok := l.Addr().(*net.TCPAddr)
	if err != nil || !ok || want.Port != got.Port {
		return false
	}
	return want.IP.Equal(got.IP) || (len(want.IP) == 0 || want.IP.IsUnspecified()) && got.IP.IsUnspecified()
}

func (s *Server) openTCP() (net.Listener, error) {
	return net.Listen("tcp", s.cfg.TCP) //nolint:noctx // it does not wait
}

func (s *Server) openUnix() (net.Listener, error) {
	l, err := unixsocket.Listen(s.cfg.Unix, socketMode)
	if err != nil {
		return nil, err // and not a nil *UnixListener, which is not nil
	}
	return l, nil
}

// listen opens an address, again and again where it is taken, and accepts. That the logs of files are not read because a port is taken
// would be worse than to go on without it.
func (s *Server) listen(ctx, work context.Context, g *errgroup.Group, name, address string, open func() (net.Listener, error)) {
	s.mu.Lock()
	l := s.listeners[name]
	s.mu.Unlock()
	tried := sync.OnceFunc(s.opening.Done)
	defer tried()
	for l == nil {
		var err error
		if l, err = open(); err == nil {
			break
		}
		s.mu.Lock()
		before := s.missing[address]
		s.missing[address] = err.Error()
		s.mu.Unlock()
		tried()
		if before != err.Error() {
			s.log.Error("cannot listen for Forward clients; trying again", "address", address, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryEvery):
		}
	}
	s.mu.Lock()
	delete(s.missing, address)
	s.listeners[name] = l
	s.mu.Unlock()
	s.keepSocket(name, l)
	s.log.Info("listening for Forward clients", "address", address)
	tried()
	if ctx.Err() != nil { // it ended before wake could know of l
		return
	}
	s.accept(ctx, work, g, l)
}

func (s *Server) accept(ctx, work context.Context, g *errgroup.Group, l net.Listener) {
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				s.admit(ctx, work, g, nc) // its client believes to be connected
			}
			return
		case err != nil:
			if ok, n := s.grumble.allow(time.Now()); ok {
				s.log.Error("cannot accept Forward clients", "err", err, "unlogged_before", n)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // as for EMFILE
			}
		default:
			s.admit(ctx, work, g, nc)
		}
	}
}

// admit takes a new connection in, unless there are too many.
func (s *Server) admit(ctx, work context.Context, g *errgroup.Group, nc net.Conn) {
	c, err := newConn(s, nc, newID())
	if err != nil {
		_ = nc.Close()
		return
	}
	if !s.takeIn(ctx, c) {
		s.metrics.refused.WithLabelValues(refusedTooMany).Inc()
		s.complain(c, fmt.Errorf("%d connections are open, that is the limit", maxConns))
		_ = nc.Close() // nothing was read of it
		return
	}
	if ctx.Err() != nil {
		_ = nc.SetReadDeadline(past)
	}
	g.Go(func() error { s.serve(ctx, work, c); return nil })
}

// takeIn notes a connection, as soon as there is room.
func (s *Server) takeIn(ctx context.Context, c *Conn) bool {
	for {
		now := time.Now()
		s.mu.Lock()
		room := len(s.conns) < maxConns
		switch {
		case room:
			s.conns[c] = struct{}{}
			s.fullSince = time.Time{}
		case s.fullSince.IsZero():
			s.fullSince = now
		}
		patient := now.Sub(s.fullSince) < roomWait
		s.mu.Unlock()
		if room || !patient {
			return room
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(roomEvery):
		}
	}
}

// serve is the goroutine of a connection.
func (s *Server) serve(ctx, work context.Context, c *Conn) {
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	err := s.greet(ctx, c)
	if err == nil {
		err = c.serve(ctx, work)
	}
	if err == nil {
		return // it stays open, for who comes next
	}
	s.end(c, err)
}

// greet asks a client to prove that it knows the shared key, if there is one. A connection that was taken over has done so.
func (s *Server) greet(ctx context.Context, c *Conn) error {
	if s.cfg.SharedKey == "" || c.proved {
		return nil
	}
	host, _ := os.Hostname() // any name serves; it must only not be the client's
	_ = c.nc.SetDeadline(time.Now().Add(handshakeWait))
	if ctx.Err() != nil {
		return errEnd
	}
	_, rest, err := handshake.Server{Hostname: host, SharedKey: string(s.cfg.SharedKey)}.Do(c.nc)
	_ = c.nc.SetDeadline(time.Time{}) // an error shows when it is read from
	switch {
	case errors.Is(err, io.EOF), ctx.Err() != nil:
		return errEnd
	case err != nil:
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	if len(rest) > 0 {
		c.rest = append([]byte(nil), rest...)
	}
	c.proved = true
	return nil
}

// end closes a connection and tells why.
func (s *Server) end(c *Conn, err error) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if why := reason(err); why != "" {
		s.metrics.refused.WithLabelValues(why).Inc()
		s.complain(c, err)
	} else if !errors.Is(err, errEnd) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		s.complain(c, err)
	}
	if c.kept {
		// The service manager's copy would keep it open.
		_ = c.raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		s.drop(c)
	}
	_ = c.nc.Close() // it is no good any more
	c.freeSince.Store(s.now())
}

func (s *Server) complain(c *Conn, err error) {
	if ok, n := s.grumble.allow(time.Now()); ok {
		s.log.Warn("Forward client refused, its connection is closed", "peer", c.peer, "err", err, "unlogged_before", n)
	}
}

// dropped tells of an entry that is no event.
func (s *Server) dropped(c *Conn, n int, err error) {
	why := refusedEntry
	if errors.Is(err, errCut) {
		why = refusedCut
	}
	s.metrics.refused.WithLabelValues(why).Add(float64(n))
	if ok, n := s.grumble.allow(time.Now()); ok {
		s.log.Warn("entry of a Forward client dropped", "peer", c.peer, "err", err, "unlogged_before", n)
	}
}

// take hands on what a workspace holds.
func (s *Server) take(ctx context.Context, c *Conn, w *workspace) error {
	if len(w.entries) == 0 {
		return nil
	}
	seq, err := s.sink.Take(ctx, c, w.entries)
	if err != nil {
		return err
	}
	c.seq = seq
	n := len(w.entries)
	s.events.Add(int64(n))
	s.metrics.events.Add(float64(n))
	w.entries, w.lines = w.entries[:0], w.lines[:0]
	return nil
}

// keep has the service manager hold the connection, once it has carried a message: those that carry none, as health checks, are not
// worth it.
func (c *Conn) keep() {
	s := c.s
	if c.kept || s.keeper == nil || s.cfg.SharedKey != "" {
		return
	}
	_ = c.raw.Control(func(fd uintptr) { c.kept = s.keeper.Keep(nameConn+c.id, fd) == nil })
}

func (s *Server) drop(c *Conn) {
	if c.kept && s.keeper != nil {
		s.keeper.Drop(nameConn + c.id)
	}
	c.kept = false
}

// keepSocket has the service manager hold a listener: clients that connect while we are away wait in its queue.
func (s *Server) keepSocket(name string, l net.Listener) {
	sc, ok := l.(syscall.Conn)
	if s.keeper == nil || !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = s.keeper.Keep(name, fd) }) // it complains itself
	}
}

// leave collects what is open at the end. With a keeper the beginning of a message that was read already is kept as well.
func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := &Sockets{listeners: s.listeners, key: s.cfg.SharedKey}
	for c := range s.conns {
		if c.rest != nil && len(c.rest) == 0 {
			c.rest = nil
		}
		if c.rest != nil && s.keeper != nil {
			if err := s.keepRest(c); err != nil {
				s.log.Warn("message of a Forward client is lost, unless the client sends it again", "peer", c.peer, "err", err)
			}
		} else {
			c.keep() // one that has carried nothing yet too: its first message may lie in it, or be on its way
		}
		left.conns = append(left.conns, open{c.nc, c.id, c.rest})
	}
	s.listeners, s.conns = nil, nil
	s.left = left
}

func (s *Server) keepRest(c *Conn) error {
	if s.cfg.SharedKey != "" {
		return nil
	}
	fd, err := unix.MemfdCreate(nameRest+c.id, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), nameRest+c.id)
	defer f.Close()
	if _, err := f.Write(c.rest); err != nil {
		return fmt.Errorf("memfd: %w", err)
	}
	if err := s.keeper.Keep(nameRest+c.id, f.Fd()); err != nil {
		return err
	}
	c.keep()
	return nil
}

// Sockets is what the server left; nil before Run has returned.
func (s *Server) Sockets() *Sockets {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Status is what the server does at this moment.
type Status struct {
	Listening   []string          `json:"listening"`
	Missing     map[string]string `json:"missing,omitempty"` // addresses that could not be opened, and why
	Connections int               `json:"connections"`
	Entries     int64             `json:"entries"` // received, before folding
}

// Status asks the server. It can be called at any time.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Connections: len(s.conns), Entries: s.events.Load()}
	for name, l := range s.listeners {
		address := l.Addr().String()
		if name == nameUnix {
			address = s.cfg.Unix // it was bound under another name
		}
		st.Listening = append(st.Listening, address)
	}
	slices.Sort(st.Listening)
	for address, why := range s.missing {
		if st.Missing == nil {
			st.Missing = map[string]string{}
		}
		st.Missing[address] = why
	}
	return st
}
