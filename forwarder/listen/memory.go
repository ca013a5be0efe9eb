package listen

import (
	"context"
	"sync"
)

const (
	peekBytes   = 64 << 10 // that are looked at at a time
	peekEntries = 512      // that are handed on at a time
	workspaces  = 8        // connections that are at work at a time; the others wait, their bytes in their sockets
	largeBytes  = 8 << 20  // of messages too large for a workspace, all connections together
)

// workspace is what a connection works with while it has something to do. It holds nothing between two bursts.
type workspace struct {
	buf     []byte
	entries []Entry
	lines   []Line // that entries point to; it never grows beyond its capacity
}

func newWorkspace() *workspace {
	return &workspace{buf: make([]byte, peekBytes), entries: make([]Entry, 0, peekEntries), lines: make([]Line, 0, peekEntries)}
}

// memory hands out the memory of all connections.
type memory struct {
	free chan struct{} // who takes one out may have a workspace

	mu      sync.Mutex   // guards what follows
	made    []*workspace // and free; the one used last is taken first, so that no more are made than ever were at work together
	large   int          // bytes reserved
	over    *Conn        // the one connection that may go beyond largeBytes, so that somebody always can finish
	changed chan struct{}
}

func newMemory() *memory {
	m := &memory{free: make(chan struct{}, workspaces), changed: make(chan struct{})}
	for range workspaces {
		m.free <- struct{}{}
	}
	return m
}

// try takes a workspace if one is free.
func (m *memory) try() *workspace {
	select {
	case <-m.free:
		return m.take()
	default:
		return nil
	}
}

// get waits for a workspace.
func (m *memory) get(ctx context.Context) (*workspace, error) {
	select {
	case <-m.free:
		return m.take(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) take() *workspace {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := len(m.made) - 1
	if last < 0 {
		return newWorkspace()
	}
	w := m.made[last]
	m.made = m.made[:last]
	return w
}

func (m *memory) put(w *workspace) {
	clear(w.entries)
	clear(w.lines)
	w.entries, w.lines = w.entries[:0], w.lines[:0]
	m.mu.Lock()
	m.made = append(m.made, w)
	m.mu.Unlock()
	m.free <- struct{}{}
}

// reserve waits until n more bytes may be taken for the message of a connection.
func (m *memory) reserve(ctx context.Context, c *Conn, n int) error {
	for {
		m.mu.Lock()
		if m.large+n <= largeBytes || m.over == nil || m.over == c {
			if m.large+n > largeBytes {
				m.over = c
			}
			m.large += n
			m.mu.Unlock()
			return nil
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release gives back what a connection reserved.
func (m *memory) release(c *Conn, n int) {
	if n == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.large -= n
	if m.over == c {
		m.over = nil
	}
	close(m.changed)
	m.changed = make(chan struct{})
}
