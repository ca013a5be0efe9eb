package fluent

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is the connection as TLS sees it. Until it is live its reads and writes block, for the handshake. From then on they
// never do: the session waits for bytes and for room in its own way, on the descriptor, as it does without TLS. What is read
// is what the kernel holds; what is written is kept until flush.
type socket struct {
	Conn
	raw  syscall.RawConn
	live bool
	fd   int           // when live: set by whoever reads, for this read
	sent atomic.Uint64 // bytes written

	mu  sync.Mutex // guards out: TLS answers some messages while it reads
	out []byte     // what is still to be given to the kernel
}

func (s *socket) Read(p []byte) (int, error) {
	if !s.live {
		return s.Conn.Read(p)
	}
	for {
		n, err := unix.Read(s.fd, p)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err // EAGAIN is a temporary net.Error: TLS keeps what it has and can be asked again
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (s *socket) Write(p []byte) (int, error) {
	if s.live {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.out = append(s.out, p...)
		s.sent.Add(uint64(len(p)))
		return len(p), nil
	}
	n, err := s.Conn.Write(p)
	s.sent.Add(uint64(n))
	return n, err
}

// flush gives the kernel what it takes. Without an error it took all.
func (s *socket) flush(fd int) (taken int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for taken < len(s.out) && err == nil {
		var n int
		if n, err = unix.Write(fd, s.out[taken:]); n > 0 {
			taken += n
		}
		if err == unix.EINTR {
			err = nil
		}
	}
	s.out = s.out[:copy(s.out, s.out[taken:])]
	return taken, err
}

func (s *socket) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out) > 0
}

// Close is called by tls.Conn.Close, after its last word. That is said if there is room for it.
func (s *socket) Close() error {
	if s.live {
		_ = s.raw.Control(func(fd uintptr) { _, _ = s.flush(int(fd)) })
	}
	return s.Conn.Close()
}
