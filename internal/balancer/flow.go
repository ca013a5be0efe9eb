package balancer

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// flow is one connection of a client and the one to its backend.
type flow struct {
	client    *net.TCPConn
	last      atomic.Int64 // Unix nanoseconds when bytes last passed
	forgotten atomic.Bool
	mode      Mode // how, once forgotten is set

	mu      sync.Mutex // guards backend and dead
	backend *net.TCPConn
	dead    bool
}

func (f *flow) touch() { f.last.Store(time.Now().UnixNano()) }

// join gives the flow its backend, unless it was cut before.
func (f *flow) join(backend *net.TCPConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		_ = backend.Close()
		return false
	}
	f.backend = backend
	return true
}

// forward copies both ways until both are over.
func (f *flow) forward() {
	var back sync.WaitGroup
	back.Go(func() {
		f.copy(f.client, f.backend)
		if !f.forgotten.Load() || f.mode == FIN {
			_ = f.client.CloseWrite()
		}
	})
	f.copy(f.backend, f.client)
	_ = f.backend.CloseWrite()
	back.Wait()
	f.close(false)
}

// copy copies from src to dst. A failure of either cuts both. What a client sends on a forgotten flow is swallowed, or
// answered with RST.
func (f *flow) copy(dst, src *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if f.forgotten.Load() && f.mode != FIN {
			if src == f.backend {
				return
			}
			if n > 0 && f.mode == SilentReset || err != nil {
				f.cut()
				return
			}
			continue
		}
		if n > 0 {
			f.touch()
			if _, werr := dst.Write(buf[:n]); werr != nil && !f.forgotten.Load() {
				f.cut()
				return
			}
			f.touch()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !f.forgotten.Load() {
				f.cut()
			}
			return
		}
	}
}

// forget marks the flow as idle for too long, and reports whether it was still one.
func (f *flow) forget(mode Mode) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead || f.backend == nil || f.forgotten.Load() {
		return false
	}
	f.mode = mode
	f.forgotten.Store(true)
	return true
}

// end ends a forgotten flow the way the mode says.
func (f *flow) end(mode Mode) {
	switch mode {
	case FIN:
		f.close(false)
	case RST:
		f.cut()
	default:
		_ = f.backend.Close()
	}
}

// cut ends both sides with RST.
func (f *flow) cut() { f.close(true) }

func (f *flow) close(reset bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return
	}
	f.dead = true
	for _, c := range []*net.TCPConn{f.client, f.backend} {
		if c == nil {
			continue
		}
		if reset {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
}
