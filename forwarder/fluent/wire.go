package fluent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/nowait"
)

// wire writes frames to a connection in as few system calls as there can be. It belongs to the writer.
type wire struct {
	conn     Conn
	raw      syscall.RawConn
	socket   *socket   // conn, for what is written before the session and for TLS
	tls      *tls.Conn // nil: plain
	closes   bool      // the receiver has said that it closes after each message
	buf      []byte    // TLS only: what is encrypted next
	left     []Frame   // what is still to be written, from at on in the first
	at       int64
	iov      [128]unix.Iovec
	err      error        // writing has failed, for good
	accepted atomic.Int64 // mono time when the kernel last took bytes
}

func newWire(conn Conn) (*wire, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, socket: &socket{Conn: conn, raw: raw}, raw: raw}, nil
}

// read reads what the socket holds, into p: unix.EAGAIN if that is nothing. With TLS there may be more than one call gives.
func (w *wire) read(fd int, p []byte) (int, error) {
	if w.tls == nil {
		n, err := nowait.Read(fd, p)
		if err == nil && n == 0 {
			err = io.EOF
		}
		return n, err
	}
	w.socket.fd = fd
	n, err := w.tls.Read(p)
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// send writes a few bytes, when nothing else is left to be written.
func (w *wire) send(p []byte) error {
	if w.tls == nil {
		_, err := w.conn.Write(p)
		return err
	}
	if _, err := w.tls.Write(p); err != nil {
		return err
	}
	return w.finish()
}

// close says farewell, if TLS is in a state to do so, and closes.
func (w *wire) close() {
	if w.tls != nil && w.socket.live {
		_ = w.tls.Close()
	}
	_ = w.conn.Close()
}

// abort closes with RST: nothing more is to be taken of what was sent, or to be read.
func (w *wire) abort() {
	_ = w.conn.SetLinger(0)
	_ = w.conn.Close()
}

// unfinished reports whether finish has anything to do or to say.
func (w *wire) unfinished() bool {
	return len(w.left) > 0 || w.err != nil || w.tls != nil && w.socket.pending()
}

// begin says what finish and try are to write.
func (w *wire) begin(frames []Frame) { w.left, w.at = frames, 0 }

// finish writes all that is left, and waits for the socket to take it.
func (w *wire) finish() error {
	if err := w.raw.Write(w.push); err != nil && w.err == nil {
		w.err = err
	}
	return w.err
}

// try writes as much as the socket takes at once, and reports whether all that was left is written.
func (w *wire) try() bool {
	done := false
	if err := w.raw.Control(func(fd uintptr) { done = w.push(fd) }); err != nil && w.err == nil {
		w.err = err
	}
	return done && w.err == nil
}

// push writes until the socket takes no more: runs of small frames with one writev, each large one with sendfile. It reports
// false when there is something left to write.
func (w *wire) push(fd uintptr) bool {
	if w.tls != nil {
		return w.pushTLS(int(fd))
	}
	for len(w.left) > 0 && w.err == nil {
		var n int
		var err error
		if w.left[0].Data != nil {
			if n, err = nowait.Writev(int(fd), w.gather()); err != nil && !again(err) {
				err = os.NewSyscallError("writev", err)
			}
		} else {
			n, err = w.sendFile(int(fd), &w.left[0])
		}
		switch {
		case n > 0:
			w.advance(int64(n))
			w.accepted.Store(mono())
		case errors.Is(err, unix.EAGAIN):
			return false
		case errors.Is(err, unix.EINTR):
		case err == nil:
			w.err = io.ErrShortWrite
		default:
			w.err = err
		}
	}
	return true
}

// again reports whether a call that failed so is to be made again, at once or when the socket is ready.
func again(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) }

// gather is the small frames that are next.
func (w *wire) gather() []unix.Iovec {
	n, at := 0, w.at
	for i := range w.left {
		data := w.left[i].Data
		if data == nil || n == len(w.iov) {
			break
		}
		w.iov[n].Base = &data[at]
		w.iov[n].SetLen(len(data) - int(at))
		n, at = n+1, 0
	}
	return w.iov[:n]
}

// advance passes over n bytes that were written.
func (w *wire) advance(n int64) {
	for n > 0 {
		rest := w.left[0].size() - w.at
		if n < rest {
			w.at += n
			return
		}
		n -= rest
		w.left, w.at = w.left[1:], 0
	}
}

// sendFile has the kernel move bytes from the page cache to the socket. The offset is an argument and not the file's own,
// because whoever gave us the file reads it too.
func (w *wire) sendFile(fd int, f *Frame) (int, error) {
	off := f.Off + w.at
	n, err := unix.Sendfile(fd, int(f.File.Fd()), &off, int(min(f.Len-w.at, 1<<30)))
	runtime.KeepAlive(f.File)
	switch {
	case n > 0:
		return n, nil
	case again(err):
		return 0, err
	case err == unix.EINVAL, err == unix.ENOSYS, err == unix.EOPNOTSUPP:
		return w.copyFile(fd, f) // a file system that cannot do it
	case err == nil:
		return 0, cutShort(f)
	case err == unix.EIO: // of the disk: a socket has no such error
		return 0, &queueError{fmt.Errorf("read frame at %d of %s: %w", f.Off, f.File.Name(), err)}
	}
	return 0, os.NewSyscallError("sendfile", err)
}

func (w *wire) copyFile(fd int, f *Frame) (int, error) {
	buf := make([]byte, min(f.Len-w.at, 64<<10))
	if n, err := f.File.ReadAt(buf, f.Off+w.at); n < len(buf) {
		if errors.Is(err, io.EOF) {
			return 0, cutShort(f)
		}
		return 0, &queueError{err}
	}
	n, err := unix.Write(fd, buf)
	if err != nil && !again(err) {
		err = os.NewSyscallError("write", err)
	}
	return max(n, 0), err
}

func cutShort(f *Frame) error {
	return &queueError{fmt.Errorf("frame at %d of %s is cut short", f.Off, f.File.Name())}
}

// transport is what the kernel knows of the way to the peer.
type transport struct {
	delivered uint64 // bytes that the peer's TCP has taken so far
	// gone says that no answer comes to what the kernel has sent four times over, three seconds after the first time. A peer whose
	// window is full answers, however long it takes nothing.
	gone bool
}

const (
	goneAfter      = 3000 // ms
	goneAfterTries = 4
)

func (w *wire) transport() (t transport) {
	_ = w.raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			t.delivered = info.Bytes_acked
			t.gone = info.Retransmits >= goneAfterTries && info.Last_ack_recv >= goneAfter
		}
	})
	return t
}

// queueError is a failure on our side of the wire.
type queueError struct{ err error }

func (e *queueError) Error() string { return e.err.Error() }
func (e *queueError) Unwrap() error { return e.err }
