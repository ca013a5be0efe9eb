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
	limit     int  // bytes from the client until cutOff is called; 0: never
	cutOff    func()

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
	left := 0
	if src == f.client {
		left = f.limit
	}
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
		last := left > 0 && n >= left
		if left > 0 {
			n = min(n, left)
			left -= n
		}
		if n > 0 {
			f.touch()
			if _, werr := dst.Write(buf[:n]); werr != nil && !f.forgotten.Load() {
				f.cut()
				return
			}
			f.touch()
		}
		if last {
			if f.cutOff(); f.mode == FIN {
				_ = f.client.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = io.Copy(io.Discard, f.client) // a close with unread bytes would be an RST
				f.close(false)
				return
			}
			continue
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
		if f.limit > 0 { // bytes are still coming
			_, _ = f.client.CloseWrite(), f.backend.CloseWrite()
			return
		}
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
