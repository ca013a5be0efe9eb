package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// messageWait is how long an incomplete message may take for each further 64 KiB of it. Between messages a client may be silent
	// for ever.
	messageWait = 30 * time.Second
	// settleWait is how long the rest of a message is waited for in the socket before its beginning is taken into memory: it may
	// be that the socket has no room for more.
	settleWait = 100 * time.Millisecond
	// bigMessage is the size from which on that is not waited for.
	bigMessage = 32 << 10
	ackWait    = 10 * time.Second // for a client to take its acks
	takeBytes  = 256 << 10        // of one message that are handed on at a time
)

// Conn is the connection of a client. The goroutine of serve owns all but what is atomic.
type Conn struct {
	s    *Server
	nc   net.Conn
	raw  syscall.RawConn
	id   string
	peer string

	since     int64
	freeSince atomic.Int64 // when it began to wait for the client; 0 while we are at work on what the client sent
	freeTotal int64        // how long it has waited, ever

	scan   scanner  // of the message at the start of the socket, or of rest
	seen   int      // bytes of it that were looked at
	rest   []byte   // the beginning of a large message, taken out of the socket
	kept   bool     // the service manager has it
	proved bool     // the client knows the shared key
	acks   []byte   // of one burst
	asked  int      // how many they are
	ids    []uint64 // for resent, of the messages of one burst
	seq    uint64   // what the Sink said must be on disk for them
	tried  bool     // whether the rest of the message at the start of the socket was waited for
}

// errEnd is the orderly end of a connection.
var errEnd = errors.New("connection ended")

func newConn(s *Server, nc net.Conn, id string) (*Conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no descriptor", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{s: s, nc: nc, raw: raw, id: id, since: s.now(), peer: nc.RemoteAddr().String()}
	if nc.RemoteAddr().Network() == "unix" {
		c.peer = "unix socket"
		_ = raw.Control(func(fd uintptr) {
			if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				c.peer = fmt.Sprintf("unix socket, pid %d, uid %d", cred.Pid, cred.Uid)
			}
		})
	}
	return c, nil
}

// Free answers since when the connection has waited for its client, and how long it has waited before. It answers false while
// something of the client's lies here or in the socket: then it is on us, and silence of the client means nothing. Anybody may
// ask.
func (c *Conn) Free() (since int64, ok bool) {
	since = c.freeSince.Load()
	if since == 0 {
		return 0, false
	}
	n := 0
	err := c.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return since, err != nil || n <= 0 // one that is closed has nothing more to say
}

// Waiting answers since when the connection has waited for its client, at no cost: something may lie in the socket.
func (c *Conn) Waiting() (since int64, ok bool) {
	since = c.freeSince.Load()
	return since, since != 0
}

// Waited is how long it has waited for its client in all. It is for the Sink, during Take.
func (c *Conn) Waited() int64 { return c.freeTotal }

// Since is when the connection was made, or taken over from the process before.
func (c *Conn) Since() int64 { return c.since }

// Peer names the client for a log.
func (c *Conn) Peer() string { return c.peer }

// serve takes messages until the client ends the connection, or breaks the protocol, or ctx ends. It answers nil only at the end of
// ctx: then the connection is open, and what is in the socket or in rest begins with a message. work outlives ctx by the
// time that is given to take what has already come.
func (c *Conn) serve(ctx, work context.Context) error {
	for {
		var err error
		if c.rest != nil {
			err = c.collect(ctx, work)
		} else {
			err = c.burst(ctx, work)
		}
		switch {
		case errors.Is(err, errUnacked):
			return err
		case errors.Is(err, errIdle) || work.Err() != nil && err == nil:
			return nil // ctx has ended, and nothing more has come, or what comes does not end
		case ctx.Err() != nil && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
			if work.Err() != nil {
				return nil //nolint:nilerr // the time to take what has come is over: the connection stays open for who comes next
			}
			continue // to take what has come
		case err != nil:
			return err
		}
	}
}

// errUnacked says that a client waits for an ack that it will not get: the connection must end, or it waits for ever.
var errUnacked = errors.New("not acked")

// errIdle says that ctx has ended and nothing is in the socket.
var errIdle = errors.New("nothing came")

// burst takes the whole messages that lie in the socket.
func (c *Conn) burst(ctx, work context.Context) error {
	w, n, err := c.look(ctx, work)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			return c.slow()
		}
		return err
	}
	held := true
	free := func() {
		if held {
			held = false
			c.s.memory.put(w)
		}
	}
	defer free()
	used, err := c.messages(work, w, w.buf[:n])
	if err != nil && !isRefusal(err) {
		c.scan, c.seen = scanner{}, 0
		return err // the Sink did not take it: all of it stays in the socket
	}
	if terr := c.s.take(work, c, w); terr != nil {
		c.scan, c.seen = scanner{}, 0
		return terr
	}
	c.s.resent.add(c.ids, c.seq)
	if used > 0 {
		c.s.metrics.bytes.Add(float64(used))
		if cerr := c.consume(w.buf[:used]); cerr != nil {
			return cerr
		}
		c.keep()
		c.seen, c.tried = 0, false
	}
	c.seen = n - used
	big := used == 0 && err == nil && (c.seen >= bigMessage || c.scan.need > peekBytes)
	free()
	if aerr := c.ack(work); aerr != nil {
		return errors.Join(aerr, err)
	}
	if big {
		c.rest = []byte{}
	}
	return err
}

// slow deals with a message whose rest does not come: it is taken out of the socket as far as it is there, once, because the socket
// may be full of it; later it is the client's fault.
func (c *Conn) slow() error {
	if !c.tried {
		c.tried = true
		c.rest = []byte{}
		return nil
	}
	return fmt.Errorf("%w: no more of it within %s", errSlow, messageWait)
}

// look waits until more lies in the socket than was seen, and looks at it.
func (c *Conn) look(ctx, work context.Context) (*workspace, int, error) {
	if c.seen > 0 {
		c.deadline(ctx, settleWait)
	} else {
		c.deadline(ctx, 0)
	}
	for {
		var w *workspace
		n, err := c.await(ctx, func(fd uintptr) (int, error) {
			if w == nil {
				w = c.s.memory.try()
			}
			if w == nil { // only to see whether there is anything
				return waiting(fd)
			}
			n, err := recv(fd, w.buf, unix.MSG_PEEK)
			if err != nil || n <= c.seen {
				c.s.memory.put(w)
				w = nil
			}
			return n, err
		})
		if err != nil {
			if w != nil {
				c.s.memory.put(w)
			}
			return nil, 0, err
		}
		if w != nil {
			return w, n, nil
		}
		if w, err = c.s.memory.get(work); err != nil {
			return nil, 0, err
		}
		// What was there is there still: nobody else takes it.
		err = c.raw.Control(func(fd uintptr) { n, err = recv(fd, w.buf, unix.MSG_PEEK) })
		if err == nil && n > c.seen {
			return w, n, nil
		}
		c.s.memory.put(w)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return nil, 0, err
		}
	}
}

// await calls recv until it answers more bytes than were seen, waiting for the client in between.
func (c *Conn) await(ctx context.Context, recv func(fd uintptr) (int, error)) (n int, err error) {
	try := func(fd uintptr) bool {
		n, err = recv(fd)
		switch {
		case errors.Is(err, unix.EAGAIN):
		case err != nil:
			return true
		case n == 0:
			err = errEnd
			return true
		case n > c.seen:
			return true
		case ended(fd):
			err = fmt.Errorf("%w: the client closed the connection within a message", errCut)
			return true
		}
		return false
	}
	if ctx.Err() != nil { // the deadline has passed: only what is there already counts
		came := false
		if cerr := c.raw.Control(func(fd uintptr) { came = try(fd) }); cerr != nil {
			return 0, cerr
		}
		if !came {
			return 0, errIdle
		}
		return n, err
	}
	rerr := c.raw.Read(func(fd uintptr) bool {
		done := try(fd)
		if done {
			c.busy()
		} else if c.freeSince.Load() == 0 {
			c.freeSince.Store(c.s.now())
		}
		return done
	})
	c.busy()
	if rerr != nil {
		return 0, rerr
	}
	return n, err
}

// busy notes that it is on us now.
func (c *Conn) busy() {
	if since := c.freeSince.Swap(0); since != 0 {
		c.freeTotal += c.s.now() - since
	}
}

// deadline bounds the next wait; 0 is no bound. Where ctx has ended meanwhile its deadline, which is in the past, stays.
func (c *Conn) deadline(ctx context.Context, d time.Duration) {
	at := time.Time{}
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = c.nc.SetReadDeadline(at) // an error shows when it is read from
	if ctx.Err() != nil {
		_ = c.nc.SetReadDeadline(past)
	}
}

var past = time.Unix(1, 0)

// messages takes the whole messages off p and hands their entries on, but for the last few, which stay in w. It answers how many bytes
// they are.
func (c *Conn) messages(ctx context.Context, w *workspace, p []byte) (used int, err error) {
	c.acks, c.asked, c.ids = c.acks[:0], 0, c.ids[:0]
	for used < len(p) {
		done, err := c.scan.scan(p[used:], maxMessage)
		if err != nil {
			return used, refuse(err)
		}
		if !done {
			break
		}
		end := c.scan.at
		c.scan = scanner{}
		if err := c.message(ctx, w, p[used:used+end]); err != nil {
			return used, err
		}
		used += end
	}
	return used, nil
}

// message hands on the entries of one message.
func (c *Conn) message(ctx context.Context, w *workspace, p []byte) error {
	var m message
	if err := m.read(p); err != nil {
		return refuse(err)
	}
	id := resentID(&m, p)
	seq, again := c.s.resent.seq(id)
	switch {
	case m.nothing:
		return nil
	case again:
		c.seq = max(c.seq, seq)
		c.s.metrics.resent.Inc()
	case m.invalid:
		c.s.dropped(c, 1, errEntry)
	case m.packing != "":
		if err := c.unpack(ctx, w, &m); err != nil {
			return err
		}
	default:
		if m.packed {
			if err := c.check(&m); err != nil {
				return err
			}
		}
		if err := c.entries(ctx, w, body{tag: m.tag, rest: m.entries, single: m.single, asked: m.chunk != nil}); err != nil {
			return err
		}
	}
	if id != 0 && !again {
		c.ids = append(c.ids, id)
	}
	if m.chunk != nil {
		c.acks = appendAck(c.acks, m.chunk)
		c.asked++
	}
	return nil
}

// check looks through the entries of a PackedForward message before any of them is passed on. An entry that is cut off at its end is
// dropped, as Fluentd does; anything worse refuses the message.
func (c *Conn) check(m *message) error {
	for p := m.entries; len(p) > 0; {
		end, err := skip(p)
		if errors.Is(err, errPartial) {
			m.entries = m.entries[:len(m.entries)-len(p)]
			c.s.dropped(c, 1, errCut)
			break
		}
		if err != nil {
			return refuse(err)
		}
		p = p[end:]
	}
	return nil
}

// entries hands on entries, a good many at a time.
func (c *Conn) entries(ctx context.Context, w *workspace, b body) error {
	size := 0
	for len(b.rest) > 0 {
		if len(w.entries) == cap(w.entries) || size > takeBytes {
			size = 0
			if err := c.s.take(ctx, c, w); err != nil {
				return err
			}
		}
		w.entries = append(w.entries, Entry{})
		e := &w.entries[len(w.entries)-1]
		if err := b.next(e); err != nil {
			w.entries = w.entries[:len(w.entries)-1]
			if !errors.Is(err, errEntry) {
				return refuse(err)
			}
			c.s.dropped(c, 1, err)
			continue
		}
		size += len(e.Record)
		w.lines = append(w.lines, Line{})
		if l := &w.lines[len(w.lines)-1]; l.read(e.Record) {
			e.Line = l
		} else {
			w.lines = w.lines[:len(w.lines)-1]
		}
	}
	return nil
}

// unpack hands on the entries of a compressed message. Other connections wait meanwhile if they have one as well.
func (c *Conn) unpack(ctx context.Context, w *workspace, m *message) error {
	// What was collected before lies in another buffer than what comes now; it goes first.
	if err := c.s.take(ctx, c, w); err != nil {
		return err
	}
	u := &c.s.unpacker
	u.mu.Lock()
	defer u.mu.Unlock()
	tail, err := u.check(m.packing, m.entries)
	if err != nil {
		return refuse(err)
	}
	if tail > 0 {
		c.s.dropped(c, 1, errCut)
	}
	_, err = u.each(m.packing, m.entries, func(entries []byte) error {
		if err := c.entries(ctx, w, body{tag: m.tag, rest: entries, asked: m.chunk != nil}); err != nil {
			return err
		}
		return c.s.take(ctx, c, w) // its bytes are overwritten next
	})
	return err
}

// collect takes a message out of the socket that is too large to be looked at there, and hands it on.
func (c *Conn) collect(ctx, work context.Context) error {
	if c.kept {
		// Should we be killed now, nobody could go on in the middle of a message.
		c.s.drop(c)
	}
	reserved := 0
	defer func() { c.s.memory.release(c, reserved) }()
	if n := cap(c.rest); n > 0 { // taken over from another server, or from before ctx ended
		if err := c.s.memory.reserve(work, c, n); err != nil {
			return err
		}
		reserved = n
	}
	due := len(c.rest) + peekBytes
	c.seen = 0
	c.deadline(ctx, messageWait)
	for {
		done, err := c.scan.scan(c.rest, maxMessage)
		if err != nil {
			return refuse(err)
		}
		if done {
			break
		}
		if len(c.rest) == cap(c.rest) {
			n := max(2*cap(c.rest), peekBytes)
			if err := c.s.memory.reserve(work, c, n); err != nil {
				return err
			}
			larger := append(make([]byte, 0, n), c.rest...)
			c.s.memory.release(c, reserved)
			c.rest, reserved = larger, n
		}
		room := c.rest[len(c.rest):cap(c.rest)]
		room = room[:min(len(room), peekBytes)]
		n, err := c.await(ctx, func(fd uintptr) (int, error) { return recv(fd, room, unix.MSG_PEEK) })
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				return c.slow()
			}
			if errors.Is(err, errEnd) {
				return fmt.Errorf("%w: the client closed the connection within a message", errCut)
			}
			return err
		}
		have := len(c.rest)
		whole := c.rest[:have+n]
		done, err = c.scan.scan(whole, maxMessage)
		if err != nil {
			return refuse(err)
		}
		if done {
			n = c.scan.at - have // not a byte of the next message
		}
		if err := c.consume(room[:n]); err != nil {
			return err
		}
		c.rest = c.rest[:have+n]
		if len(c.rest) >= due {
			due = len(c.rest) + peekBytes
			c.deadline(ctx, messageWait)
		}
		if done {
			break
		}
	}
	return c.large(work)
}

// large hands on the message in rest.
func (c *Conn) large(work context.Context) error {
	w, err := c.s.memory.get(work)
	if err != nil {
		return err
	}
	// Something may have come behind it, when the handshake was read or from another server.
	used, err := c.messages(work, w, c.rest)
	if err == nil || isRefusal(err) {
		if terr := c.s.take(work, c, w); terr != nil {
			err = terr
		}
	}
	c.s.memory.put(w)
	if err != nil && !isRefusal(err) {
		c.scan = scanner{}
		return err
	}
	c.s.resent.add(c.ids, c.seq)
	c.s.metrics.bytes.Add(float64(used))
	if c.rest = c.rest[used:]; len(c.rest) == 0 {
		c.rest, c.scan = nil, scanner{}
		c.keep()
	}
	c.seen, c.tried = 0, false
	if aerr := c.ack(work); aerr != nil {
		return errors.Join(aerr, err)
	}
	return err
}

// ack answers the messages of a burst, once they are safe.
func (c *Conn) ack(ctx context.Context) error {
	if len(c.acks) == 0 {
		return nil
	}
	if err := c.s.sink.Sync(ctx, c.seq); err != nil {
		return fmt.Errorf("%w: %w", errUnacked, err)
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(ackWait)) // an error shows when it is written to
	if _, err := c.nc.Write(c.acks); err != nil {
		return fmt.Errorf("%w: %w", errUnacked, err)
	}
	c.s.metrics.acks.Add(float64(c.asked))
	if cap(c.acks) > 4<<10 {
		c.acks, c.ids = nil, nil
	}
	return nil
}

// consume takes out of the socket what was looked at before.
func (c *Conn) consume(p []byte) (err error) {
	for len(p) > 0 {
		n := 0
		if cerr := c.raw.Control(func(fd uintptr) { n, err = recv(fd, p, 0) }); cerr != nil {
			return cerr
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		p = p[n:]
	}
	return nil
}

// recv never waits.
func recv(fd uintptr, p []byte, flags int) (int, error) {
	for {
		n, _, err := unix.Recvfrom(int(fd), p, flags|unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// waiting is how many bytes wait to be read; at least one, or an error, or 0 at the end.
func waiting(fd uintptr) (int, error) {
	if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil && n > 0 {
		return n, nil
	}
	var one [1]byte
	return recv(fd, one[:], unix.MSG_PEEK)
}

// ended says whether the client has closed its side.
func ended(fd uintptr) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
}
