package fluent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// wire writes frames to a connection in as few system calls as there can be. The sender's goroutine owns it.
type wire struct {
	conn     *net.TCPConn
	raw      syscall.RawConn
	vecs     [][]byte
	bufs     net.Buffers
	accepted atomic.Int64 // mono time when the kernel last took bytes
}

func newWire(conn *net.TCPConn) (*wire, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, raw: raw}, nil
}

// write writes the frames in order: runs of small ones with one writev, each large one with sendfile.
func (w *wire) write(frames []Frame) error {
	w.vecs = w.vecs[:0]
	for i := range frames {
		if f := &frames[i]; f.Data != nil {
			w.vecs = append(w.vecs, f.Data)
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.sendFile(frames[i].File, frames[i].Off, frames[i].Len); err != nil {
			return err
		}
	}
	return w.flush()
}

func (w *wire) flush() error {
	var err error
	switch len(w.vecs) {
	case 0:
		return nil
	case 1:
		_, err = w.conn.Write(w.vecs[0])
	default:
		w.bufs = w.vecs
		_, err = w.bufs.WriteTo(w.conn)
	}
	w.vecs = w.vecs[:0]
	w.accepted.Store(mono())
	return err
}

// sendFile has the kernel move n bytes from the page cache to the socket. The offset is an argument and not the file's
// own, because whoever gave us the file reads it too.
func (w *wire) sendFile(f *os.File, off, n int64) error {
	src, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var werr, serr error
	err = src.Control(func(in uintptr) {
		werr = w.raw.Write(func(out uintptr) bool {
			for n > 0 {
				m, err := unix.Sendfile(int(out), int(in), &off, int(min(n, 1<<30)))
				switch {
				case m > 0:
					n -= int64(m)
					w.accepted.Store(mono())
				case err == nil:
					serr = io.ErrUnexpectedEOF
					return true
				case errors.Is(err, unix.EAGAIN):
					return false // until the socket can take more
				case errors.Is(err, unix.EINTR):
				default:
					serr = err
					return true
				}
			}
			return true
		})
	})
	if err = errors.Join(err, werr); err != nil {
		return err
	}
	switch {
	case errors.Is(serr, unix.EINVAL), errors.Is(serr, unix.ENOSYS), errors.Is(serr, unix.EOPNOTSUPP):
		// A file system that cannot do it. What was sent so far is in off and n.
		_, serr = io.CopyN(struct{ io.Writer }{w.conn}, io.NewSectionReader(f, off, n), n)
		w.accepted.Store(mono())
	case errors.Is(serr, io.ErrUnexpectedEOF):
		serr = &queueError{fmt.Errorf("frame at %d of %s is cut short", off, f.Name())}
	}
	return serr
}

// delivered is how many bytes the peer's TCP has taken so far.
func (w *wire) delivered() uint64 {
	var n uint64
	_ = w.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked
		}
	})
	return n
}

// queueError is a failure on our side of the wire.
type queueError struct{ err error }

func (e *queueError) Error() string { return e.err.Error() }
func (e *queueError) Unwrap() error { return e.err }
