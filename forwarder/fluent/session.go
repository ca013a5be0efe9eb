package fluent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// session is the life of one connection. Two goroutines share it: the sender's, which writes, and one that reads acks. (A
// third looks for better ones.) The ack reader sees acks before a fault that the writer runs into: Fluentd closes with RST.
// While the writer waits for data it lends its part to whoever calls Turn.
type session struct {
	own sync.Mutex // held by whoever is the writer: guards all that is said to be the writer's

	s    *Sender
	p    *peer
	to   found
	w    *wire
	born time.Time
	old  time.Time     // when it makes way for a new one; zero: never
	gone chan struct{} // closed when the ack reader has ended, after which end is set
	end  *ended
	room chan struct{} // a word from the ack reader: there is room
	pong chan struct{} // a word from the ack reader: the ping expected was acked

	waiting context.Context // ends when the writer is wanted; its cancel function is bell

	learned  bool    // what this connection shows about pings was counted; the writer's
	caughtUp bool    // nothing was left to send at some time; the writer's
	lowWater int     // what wakeFor was last told; the writer's
	rest     []Frame // taken from the queue, to be sent before anything else is taken; the writer's

	reading sync.Mutex // held while reading from the socket; guards the three below
	answers []byte     // what was read and is not a whole answer yet
	held    int        // bytes in it
	broke   *ended     // what reading ended with

	// All below belongs to mu.
	mu           sync.Mutex
	bell         context.CancelFunc
	fl           *flights
	limit        int    // frames that may be in flight: 1 after a failure, doubling with what is acked
	below        int    // the writer sleeps until so few frames are in flight; -1: it does not
	alone        bool   // the last write was of one frame, with none in flight
	batch        uint64 // the flight that the last write began with
	writing      bool
	written      uint64 // bytes since the connection began
	delivered    uint64 // bytes that the peer's TCP had taken when last asked
	alarm        int64  // mono time when the ack reader looks at the clock
	progress     int64  // mono time of the last ack of an oldest frame, or of the writing of the oldest one in flight
	active       int64  // mono time of the last ack or writing
	turned       int64  // mono time of the last Turn: acks are read there
	lastAck      time.Time
	usual        time.Duration // moving average from writing to ack
	acks         int           // acks on this connection, of frames and pings
	frames       int           // those of frames
	packed       bool          // of compressed ones too
	pings        uint64
	framesAtPing int    // acks of frames when the last ping was sent
	pingName     []byte // what the chunk ids of this connection's pings begin with
	pingID       []byte // the last one
	leave        reason // why the writer is to settle and end; empty: it is not
	late         bool   // the ack of the oldest is overdue, one last look is taken
	draining     bool   // writing has failed: only what is left to read counts
}

func newSession(ctx context.Context, s *Sender, l link) *session {
	w := l.w
	now := time.Now()
	c := &session{s: s, p: l.p, to: l.to, w: w, born: now,
		gone: make(chan struct{}), room: make(chan struct{}, 1), pong: make(chan struct{}, 1),
		answers: make([]byte, maxAnswerBytes), lowWater: 1, fl: &s.flights,
		limit: s.limit, below: -1, usual: s.usual, progress: mono(), active: mono(),
		// Chunk ids of frames are hexadecimal digits, so no ping can be taken for one.
		pingName: fmt.Appendf(nil, "ping-%016x-", rand.Uint64()),
		written:  w.socket.sent.Load(),
	}
	if w.closes {
		l.p.oneAtOnce = true
	}
	if age := s.cfg.MaxConnectionAge; age > 0 {
		c.old = now.Add(age - rand.N(age/4+1))
	}
	c.own.Lock()
	c.fl.reset()
	l.p.packing.begin(now)
	c.waiting, c.bell = context.WithCancel(ctx)
	return c
}

// run uses the connection until it or ctx ends, and closes it.
func (c *session) run(ctx context.Context) *ended {
	hooked := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(hooked)
		c.look()
		c.w.close()
	})
	defer func() {
		if !unhook() {
			<-hooked
		}
	}()
	watching, unwatch := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { c.watch(watching) })
	others.Go(func() {
		c.end = c.readAcks()
		c.w.close() // wakes the writer out of a write
		close(c.gone)
		c.ring() // last: a writer that is woken looks whether we are gone
	})

	end := c.write(ctx)
	c.s.pulse.Enter(&c.s.stages.end)
	if end.reason == pingTimeout {
		c.w.abort()
	}
	c.look()
	c.w.close()
	unwatch()
	others.Wait()
	if ctx.Err() != nil {
		return &ended{reason: stopped}
	}
	return end
}

// write takes frames from the queue and writes them, until there is a reason to end.
func (c *session) write(ctx context.Context) *ended {
	if end := c.greet(); end != nil {
		return end
	}
	for {
		if end := c.afterContrast(); end != nil { // one that was sent in a Turn
			return end
		}
		frames, bytes, end := c.waitRoom()
		if end != nil {
			return end
		}
		if why, over := c.over(); over {
			return c.settle(why)
		}
		if c.p.oneAtOnce {
			frames = 1
		}
		c.learnPacking()
		c.s.pulse.Enter(&c.s.stages.queue)
		batch, err := c.next(frames, bytes)
		switch {
		case len(batch) > 0:
			if end := c.send(batch); end != nil {
				return end
			}
			if end := c.afterContrast(); end != nil {
				return end
			}
			if c.p.oneAtOnce {
				if end := c.afterOne(); end != nil {
					return end
				}
			}
			continue
		case err != nil:
			if end := c.sleep(c.s.tune.queueRetry); end != nil {
				return end
			}
		default:
			if end := c.waitData(ctx); end != nil {
				return end
			}
		}
		if end := c.trusted(); end != nil {
			return end
		}
	}
}

// send writes a batch.
func (c *session) send(batch []Frame) *ended {
	if end := c.launch(batch); end != nil {
		return end
	}
	return c.finish()
}

// launch makes a batch ready to be written. Its frames are in flight before the first byte is written, because the ack of
// one can be read before the write of all returns.
func (c *session) launch(batch []Frame) *ended {
	var e ending
	now, total := mono(), int64(0)
	c.mu.Lock()
	if c.fl.len() == 0 {
		c.progress = now
	}
	c.alone = len(batch) == 1 && c.fl.len() == 0
	c.batch, c.writing = c.fl.tail, true
	if c.w.tls != nil { // what it adds is known only afterwards
		c.written = c.w.socket.sent.Load()
	}
	for i := range batch {
		f := &batch[i]
		if err := f.ending(&e); err != nil {
			c.writing = false
			c.mu.Unlock()
			c.s.queueFailed(err)
			return &ended{queueFault, err}
		}
		x := c.fl.push()
		copy(x.id[:], e.id())
		x.packed = e.form() != formNone
		n := f.size()
		total += n
		c.written += c.w.onWire(n)
		x.seq, x.events, x.bytes, x.sent, x.end = f.Seq, f.Events, n, now, c.written
	}
	c.fl.bytes += total
	c.mu.Unlock()
	c.s.sending(batch, total)
	c.w.begin(batch)
	return nil
}

// finish writes what is left of the batch.
func (c *session) finish() *ended {
	c.s.pulse.Enter(&c.s.stages.write)
	err := c.w.finish()
	c.wrote()
	if err != nil {
		return c.broken(err)
	}
	return nil
}

func (c *session) wrote() {
	now := mono()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing, c.active = false, now
	if c.fl.head >= c.batch {
		c.progress = now
	}
	if c.w.tls != nil && c.fl.len() > 0 && !c.w.unfinished() { // only now is it known how long the last one became
		c.written = c.w.socket.sent.Load()
		last := &c.fl.ring[(c.fl.tail-1)%uint64(len(c.fl.ring))]
		last.end = min(last.end, c.written)
	}
}

// broken says why a write failed. The ack reader goes on for a moment: acks that came before the fault still count, and
// it may know better what happened.
func (c *session) broken(err error) *ended {
	var own *queueError
	if errors.As(err, &own) {
		c.s.queueFailed(err)
		return &ended{queueFault, err}
	}
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	c.s.pulse.Enter(&c.s.stages.end)
	_ = c.w.conn.SetReadDeadline(time.Now().Add(c.s.tune.drain))
	<-c.gone
	if c.end.reason == drained {
		return endedBy(err)
	}
	return c.end
}

func (c *session) aged() bool { return !c.old.IsZero() && time.Now().After(c.old) }

// epoch makes monotonic readings small numbers: the wall clock steps when a fresh host gets its time.
var epoch = time.Now()

func mono() int64 { return int64(time.Since(epoch)) }
