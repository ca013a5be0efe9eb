// Package balancer is a TCP load balancer to try a sender behind: it forwards connections to backends and drops those
// that carry nothing for a while, the way Classic and Network Load Balancers do.
package balancer

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Mode is how an idle connection ends. Only bytes that pass count as life; TCP keepalives do not.
type Mode int

const (
	FIN         Mode = iota // both sides are closed in an orderly way: Classic Load Balancer
	RST                     // both sides are cut at once
	SilentReset             // the flow is forgotten in silence, the client's next bytes are answered with RST: Network Load Balancer
	Silent                  // the flow is forgotten, and whatever the client still sends is swallowed: a firewall that drops
)

// Options of a Balancer.
type Options struct {
	Idle     time.Duration // 0: connections are never dropped
	Mode     Mode
	CutAfter int // a new connection ends after about so many bytes from the client, idle or not: in the middle of a message; 0: it does not

	Dial func(addr string) (net.Conn, error) // a TCP connection to a backend; nil: from here
}

// Stats are counts since Listen.
type Stats struct {
	Accepted int64 // connections from clients
	Active   int64 // of these, forwarded now
	Dropped  int64 // for being idle, by CutAfter and by Drop
	Failed   int64 // with no backend to take them
}

// Balancer listens on one address. All its methods may be called at any time.
type Balancer struct {
	ln      net.Listener
	options atomic.Pointer[Options]

	accepted, active, dropped, failed atomic.Int64

	mu       sync.Mutex // guards all below
	backends []string
	turn     int
	flows    map[*flow]struct{}
	closed   bool
	running  sync.WaitGroup
	done     chan struct{}
}

// Listen starts a balancer at addr, such as 127.0.0.1:0, before the backends, taken in turn.
func Listen(addr string, o Options, backends ...string) (*Balancer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	b := &Balancer{ln: ln, backends: backends, flows: map[*flow]struct{}{}, done: make(chan struct{})}
	b.options.Store(&o)
	b.running.Add(2)
	go b.accept()
	go b.expire()
	return b, nil
}

// Addr is the address it listens on.
func (b *Balancer) Addr() string { return b.ln.Addr().String() }

// Set changes the options, also for connections that stand.
func (b *Balancer) Set(o Options) { b.options.Store(&o) }

// SetBackends changes the backends of connections to come.
func (b *Balancer) SetBackends(backends ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = backends
}

// Stats may be read at any time.
func (b *Balancer) Stats() Stats {
	return Stats{Accepted: b.accepted.Load(), Active: b.active.Load(), Dropped: b.dropped.Load(), Failed: b.failed.Load()}
}

// Drop ends all connections now, as if they had been idle for too long.
func (b *Balancer) Drop() { b.drop(time.Now().Add(time.Hour)) }

// Close cuts everything and waits until its goroutines are gone.
func (b *Balancer) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	close(b.done)
	err := b.ln.Close()
	for f := range b.flows {
		f.cut()
	}
	b.mu.Unlock()
	b.running.Wait()
	return err
}

func (b *Balancer) accept() {
	defer b.running.Done()
	for {
		nc, err := b.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: others end
			continue
		}
		b.accepted.Add(1)
		f := &flow{client: nc.(*net.TCPConn)}
		if o := b.options.Load(); o.CutAfter > 0 {
			f.limit = 1 + o.CutAfter/2 + rand.IntN(o.CutAfter)
			f.cutOff = func() {
				if f.forget(o.Mode) {
					b.dropped.Add(1)
					f.end(o.Mode)
				}
			}
		}
		f.touch()
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			f.cut()
			continue
		}
		b.flows[f] = struct{}{}
		b.running.Add(1)
		b.mu.Unlock()
		go func() {
			defer b.running.Done()
			b.serve(f)
			b.mu.Lock()
			delete(b.flows, f)
			b.mu.Unlock()
		}()
	}
}

// serve forwards one connection. It was accepted before any backend is known to be alive: that an address accepts says
// nothing, as with the real ones.
func (b *Balancer) serve(f *flow) {
	backend := b.dial()
	if backend == nil {
		b.failed.Add(1)
		f.cut()
		return
	}
	if !f.join(backend) {
		return // cut meanwhile
	}
	b.active.Add(1)
	defer b.active.Add(-1)
	f.forward()
}

func (b *Balancer) dial() *net.TCPConn {
	b.mu.Lock()
	backends := append([]string(nil), b.backends...)
	first := b.turn
	b.turn++
	b.mu.Unlock()
	dial := b.options.Load().Dial
	if dial == nil {
		dial = func(addr string) (net.Conn, error) { return net.DialTimeout("tcp", addr, time.Second) }
	}
	for i := range backends {
		nc, err := dial(backends[(first+i)%len(backends)])
		if err == nil {
			return nc.(*net.TCPConn)
		}
	}
	return nil
}

// expire looks for idle connections, often enough to be a tenth late at most.
func (b *Balancer) expire() {
	defer b.running.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.done:
			return
		case <-timer.C:
		}
		every := 100 * time.Millisecond
		if idle := b.options.Load().Idle; idle > 0 {
			b.drop(time.Now().Add(-idle))
			every = min(every, max(idle/10, time.Millisecond))
		}
		timer.Reset(every)
	}
}

func (b *Balancer) drop(before time.Time) {
	mode := b.options.Load().Mode
	b.mu.Lock()
	defer b.mu.Unlock()
	for f := range b.flows {
		if f.last.Load() < before.UnixNano() && f.forget(mode) {
			b.dropped.Add(1) // before anybody can notice
			f.end(mode)
		}
	}
}
