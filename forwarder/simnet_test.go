package forwarder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/internal/receiver"
)

// simNet is a network in virtual time, for use within a synctest bubble: every wait in it is for a channel or a timer. Between the
// sender and a receiver there is a balancer that forgets what is idle, in the manner of the moment.
type simNet struct {
	rng *rand.Rand

	mu      sync.Mutex // guards what follows
	names   map[string][]netip.Addr
	servers map[netip.AddrPort]*receiver.Receiver // those that listen
	flows   []*simFlow
	latency time.Duration
	idle    time.Duration // 0: nothing is dropped for being idle
	mode    dropMode
	hole    bool // what is sent is swallowed, connects hang
	noDNS   bool
	dialled int
}

type dropMode int

const (
	dropFIN dropMode = iota
	dropRST
	dropSilentReset // the next bytes of the sender are answered with RST
	dropSilent      // and whatever comes is swallowed
	dropModes
)

func (n *simNet) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	addrs, off := slices.Clone(n.names[host]), n.noDNS
	n.mu.Unlock()
	for off {
		if err := n.again(ctx); err != nil {
			return nil, err
		}
		n.mu.Lock()
		addrs, off = slices.Clone(n.names[host]), n.noDNS
		n.mu.Unlock()
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// LookupSRV knows no names.
func (n *simNet) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (n *simNet) Dial(ctx context.Context, to netip.AddrPort) (fluent.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, fluent.DefaultConfig().ConnectTimeout)
	defer cancel()
	n.mu.Lock()
	n.dialled++
	server, hole, latency := n.servers[to], n.hole, n.latency
	n.mu.Unlock()
	for hole {
		if err := n.again(ctx); err != nil {
			return nil, err
		}
		n.mu.Lock()
		server, hole = n.servers[to], n.hole
		n.mu.Unlock()
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * latency):
	}
	if server == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	f, err := newSimFlow(n, to)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.flows = append(n.flows, f)
	n.mu.Unlock()
	server.Serve((*serverEnd)(f))
	return (*clientEnd)(f), nil
}

// again waits until what was not answered is asked again, as a SYN or a query to a resolver is.
func (n *simNet) again(ctx context.Context) error {
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// each does something with all flows.
func (n *simNet) each(do func(*simFlow)) {
	n.mu.Lock()
	flows := slices.Clone(n.flows)
	n.mu.Unlock()
	for _, f := range flows {
		do(f)
	}
}

// simFlow is a connection and what the balancer knows of it. The sender has one end of a socket pair, for the session reads and writes
// descriptors; who waits for it waits for a channel. What it writes is taken off the other end and travels in memory.
type simFlow struct {
	n    *simNet
	to   netip.AddrPort
	pair [2]int // 0: the sender's; 1: what we put the receiver's bytes into

	mu        sync.Mutex // guards what follows
	change    chan struct{}
	up        []simChunk // on the way to the receiver
	upBytes   int
	down      []simChunk // on the way to the sender
	forgotten bool       // by the balancer
	silent    dropMode   // how
	client    error      // what the sender's side says; nil: it is open
	server    error      // the receiver's
	upEnd     bool       // the sender has closed
	downEnd   bool       // the receiver has closed
	linger    bool       // the sender closes with RST
	srvLinger bool
	deadline  time.Time
	clientFin bool // the sender has closed its descriptor
	users     int  // of the descriptor
	last      time.Time
	latency   time.Duration
	window    int
}

type simChunk struct {
	at   time.Time // it arrives
	data []byte
}

func newSimFlow(n *simNet, to netip.AddrPort) (*simFlow, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return &simFlow{n: n, to: to, pair: pair, change: make(chan struct{}), last: time.Now(), latency: n.latency, window: 64 << 10 << n.rng.IntN(6)}, nil
}

// changed wakes all who wait. f.mu is held.
func (f *simFlow) changed() {
	close(f.change)
	f.change = make(chan struct{})
}

// await waits until ready says so or until the time, whichever is first; a zero time is never. f.mu is held, and given up meanwhile.
func (f *simFlow) await(until time.Time) (timeout bool) {
	change := f.change
	f.mu.Unlock()
	defer f.mu.Lock()
	if until.IsZero() {
		<-change
		return false
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-change:
		return false
	case <-t.C:
		return true
	}
}

// reset cuts both sides with RST. What lies unread is thrown away.
func (f *simFlow) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut()
}

func (f *simFlow) cut() {
	rst := os.NewSyscallError("read", syscall.ECONNRESET)
	if f.client == nil {
		f.client = rst
	}
	if f.server == nil {
		f.server = rst
	}
	f.up, f.down, f.upBytes = nil, nil, 0
	f.resetClient()
	f.changed()
}

// resetClient has the sender's socket answer ECONNRESET: it does when the other end closes with something unread.
func (f *simFlow) resetClient() {
	if f.pair[1] < 0 || f.clientFin {
		return
	}
	_, _ = unix.Write(f.pair[0], []byte{0})
	_ = unix.Close(f.pair[1])
	f.pair[1] = -1
}

// fin closes both sides in order, when what is on the way has arrived.
func (f *simFlow) fin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.upEnd, f.downEnd = true, true
	f.changed()
}

// drop ends a flow as the balancer does.
func (f *simFlow) drop(mode dropMode) {
	switch mode {
	case dropFIN:
		f.fin()
	case dropRST:
		f.reset()
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.client == nil {
			f.forgotten, f.silent = true, mode
			f.up, f.down, f.upBytes = nil, nil, 0
			f.server = io.EOF
			f.changed()
		}
	}
}

// quicken makes a slow connection a fast one.
func (f *simFlow) quicken() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latency, f.window = time.Millisecond, 4<<20
	f.collect()
	f.changed()
}

// die is the end of the sender's process: what it had written is still delivered.
func (f *simFlow) die() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.window = 1 << 30
	f.collect()
	if f.client == nil {
		f.client = syscall.EPIPE
	}
	f.upEnd = true
	f.resetClient()
	f.changed()
}

// idle drops the flow if nothing passed for long.
func (f *simFlow) idle() {
	f.n.mu.Lock()
	limit, mode := f.n.idle, f.n.mode
	f.n.mu.Unlock()
	f.mu.Lock()
	old := limit > 0 && time.Since(f.last) > limit && !f.forgotten && f.client == nil && !f.upEnd
	f.mu.Unlock()
	if old {
		f.drop(mode)
	}
}

// deliver puts what has arrived for the sender into its socket and says when there is next something to do. f.mu is held.
func (f *simFlow) deliver() (next time.Time) {
	now := time.Now()
	for len(f.down) > 0 && f.pair[1] >= 0 {
		c := &f.down[0]
		if c.at.After(now) {
			return c.at
		}
		n, err := unix.Write(f.pair[1], c.data)
		if err == unix.EAGAIN || n < 0 {
			return now.Add(time.Millisecond)
		}
		if c.data = c.data[n:]; len(c.data) == 0 {
			f.down = f.down[1:]
		}
	}
	if f.downEnd && len(f.down) == 0 && f.pair[1] >= 0 {
		_ = unix.Shutdown(f.pair[1], unix.SHUT_WR)
	}
	return time.Time{}
}

// clientEnd is the sender's side.
type clientEnd simFlow

// Read is for what is no session: a connection that is only tried.
func (c *clientEnd) Read(p []byte) (n int, err error) {
	rerr := (*rawEnd)(c).Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), p)
		return err != unix.EAGAIN
	})
	if err == nil && rerr == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), errors.Join(err, rerr)
}

// Write writes into the descriptor too, so that all is in order.
func (c *clientEnd) Write(p []byte) (n int, err error) {
	werr := (*rawEnd)(c).Write(func(fd uintptr) bool {
		for n < len(p) && err == nil {
			var m int
			if m, err = unix.Write(int(fd), p[n:]); err == unix.EAGAIN {
				err = nil
				return false
			}
			n += max(m, 0)
		}
		return true
	})
	return n, errors.Join(err, werr)
}

// collect takes what the sender has written into its socket on its way, as far as the window allows. f.mu is held.
func (f *simFlow) collect() {
	hole := f.inHole()
	for f.pair[1] >= 0 && f.client == nil && !f.clientFin && f.upBytes < f.window {
		buf := make([]byte, min(f.window-f.upBytes, 64<<10))
		n, err := unix.Read(f.pair[1], buf)
		if n <= 0 || err != nil {
			return
		}
		switch {
		case f.forgotten && f.silent == dropSilentReset: // the RST comes a round trip later; what was written seems taken
			f.client = syscall.ECONNRESET
			f.resetClient()
		case f.forgotten, hole:
			if !f.forgotten {
				f.forgotten, f.silent, f.server = true, dropSilent, io.EOF
				f.up, f.down, f.upBytes = nil, nil, 0
			}
			f.upBytes += n // nobody will ever take them
		case f.upEnd: // the receiver's side has closed; it answers with RST
			f.cut()
		default:
			f.up = append(f.up, simChunk{time.Now().Add(f.latency), buf[:n]})
			f.upBytes += n
			f.last = time.Now()
		}
		f.changed()
	}
}

func (f *simFlow) inHole() bool {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	return f.n.hole
}

func (c *clientEnd) Close() error {
	f := (*simFlow)(c)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clientFin {
		return net.ErrClosed
	}
	// A close with acks unread is an RST, as the kernel does it.
	var unread [1]byte
	if n, _, err := unix.Recvfrom(f.pair[0], unread[:], unix.MSG_PEEK); err == nil && n > 0 || f.linger {
		f.cut()
	}
	f.window = 1 << 30 // what is written is still delivered
	f.collect()
	f.clientFin, f.upEnd = true, true
	if f.client == nil {
		f.client = net.ErrClosed
	}
	if f.users == 0 {
		_ = unix.Close(f.pair[0])
	}
	if f.pair[1] >= 0 {
		_ = unix.Close(f.pair[1])
		f.pair[1] = -1
	}
	f.changed()
	f.n.mu.Lock()
	f.n.flows = slices.DeleteFunc(f.n.flows, func(o *simFlow) bool { return o == f })
	f.n.mu.Unlock()
	return nil
}

func (c *clientEnd) LocalAddr() net.Addr                { return &net.TCPAddr{} }
func (c *clientEnd) RemoteAddr() net.Addr               { return net.TCPAddrFromAddrPort(c.to) }
func (c *clientEnd) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *clientEnd) SetWriteDeadline(t time.Time) error { panic("not used") }

func (c *clientEnd) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	(*simFlow)(c).changed()
	return nil
}

func (c *clientEnd) SetLinger(int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = true
	return nil
}

func (c *clientEnd) SyscallConn() (syscall.RawConn, error) { return (*rawEnd)(c), nil }

// rawEnd gives the session the descriptor of the sender's socket.
type rawEnd simFlow

func (r *rawEnd) Control(do func(uintptr)) error {
	f := (*simFlow)(r)
	f.idle()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clientFin {
		return net.ErrClosed
	}
	f.deliver()
	f.use(do)
	f.collect()
	return nil
}

// use lets do have the descriptor, which is not closed meanwhile. f.mu is held, and given up meanwhile.
func (f *simFlow) use(do func(uintptr)) {
	f.users++
	f.mu.Unlock()
	do(uintptr(f.pair[0]))
	f.mu.Lock()
	if f.users--; f.users == 0 && f.clientFin {
		_ = unix.Close(f.pair[0])
	}
	f.changed()
}

// Read waits as the kernel does: until as much has arrived as SO_RCVLOWAT asks for, or the end.
func (r *rawEnd) Read(do func(uintptr) bool) error {
	f := (*simFlow)(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; ; first = false {
		if f.clientFin {
			return net.ErrClosed
		}
		next := f.deliver()
		if !f.deadline.IsZero() && !f.deadline.After(time.Now()) {
			return os.ErrDeadlineExceeded
		}
		if first || f.readable() {
			ok := false
			f.use(func(fd uintptr) { ok = do(fd) })
			if ok {
				return nil
			}
			if f.clientFin {
				return net.ErrClosed
			}
		}
		if next.IsZero() || !f.deadline.IsZero() && f.deadline.Before(next) {
			next = f.deadline
		}
		f.await(next)
	}
}

func (f *simFlow) readable() bool {
	if f.client != nil || f.downEnd && len(f.down) == 0 {
		return true
	}
	low, err := unix.GetsockoptInt(f.pair[0], unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	there, err2 := unix.IoctlGetInt(f.pair[0], unix.TIOCINQ)
	return err != nil || err2 != nil || there >= max(low, 1)
}

// Write waits until the socket takes more.
func (r *rawEnd) Write(do func(uintptr) bool) error {
	f := (*simFlow)(r)
	f.idle()
	f.mu.Lock()
	defer f.mu.Unlock()
	for done := false; !done; {
		if f.clientFin {
			return net.ErrClosed
		}
		f.use(func(fd uintptr) { done = do(fd) })
		f.collect()
		if !done && f.upBytes >= f.window && f.client == nil {
			f.await(time.Time{})
		}
	}
	return nil
}

// serverEnd is the receiver's side.
type serverEnd simFlow

func (s *serverEnd) Read(p []byte) (int, error) {
	f := (*simFlow)(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		var next time.Time
		if len(f.up) > 0 {
			if c := &f.up[0]; c.at.After(time.Now()) {
				next = c.at
			} else {
				n := copy(p, c.data)
				if c.data = c.data[n:]; len(c.data) == 0 {
					f.up = f.up[1:]
				}
				f.upBytes -= n
				f.collect()
				f.changed()
				return n, nil
			}
		}
		switch {
		case f.server != nil:
			return 0, f.server
		case f.upEnd && len(f.up) == 0:
			return 0, io.EOF
		}
		f.await(next)
	}
}

func (s *serverEnd) Write(p []byte) (int, error) {
	f := (*simFlow)(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.server != nil:
		return 0, f.server
	case f.client != nil || f.downEnd:
		return 0, os.NewSyscallError("write", syscall.EPIPE)
	}
	f.down = append(f.down, simChunk{time.Now().Add(f.latency), slices.Clone(p)})
	f.last = time.Now()
	f.changed()
	return len(p), nil
}

func (s *serverEnd) Close() error {
	f := (*simFlow)(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.srvLinger || len(f.up) > 0 && !f.forgotten:
		f.cut()
	case !f.forgotten:
		f.upEnd, f.downEnd = true, true
	}
	if f.server == nil {
		f.server = net.ErrClosed
	}
	f.changed()
	return nil
}

func (s *serverEnd) SetLinger(int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.srvLinger = true
	return nil
}

func (s *serverEnd) SetReadBuffer(int) error            { return nil }
func (s *serverEnd) LocalAddr() net.Addr                { return net.TCPAddrFromAddrPort(s.to) }
func (s *serverEnd) RemoteAddr() net.Addr               { return &net.TCPAddr{} }
func (s *serverEnd) SetDeadline(time.Time) error        { return nil }
func (s *serverEnd) SetReadDeadline(time.Time) error    { return nil }
func (s *serverEnd) SetWriteDeadline(t time.Time) error { return nil }

func (n *simNet) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("%d flows, %d connects, latency %v, idle %v, mode %d, hole %v, no DNS %v, %d servers", len(n.flows), n.dialled, n.latency, n.idle, n.mode, n.hole, n.noDNS, len(n.servers))
}
