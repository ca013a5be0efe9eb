package fluent

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	sealBytes   = 64 << 10 // encrypted at a time: four TLS records
	recordBytes = 16 << 10 // of data in a TLS record, at most
	recordExtra = 64       // more than what a TLS record adds to its data
)

// pushTLS is push through TLS. What TLS makes is kept in the socket until the kernel takes it, so that nothing waits here.
func (w *wire) pushTLS(fd int) bool {
	for w.err == nil {
		n, err := w.socket.flush(fd)
		if n > 0 {
			w.accepted.Store(mono())
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
			return false
		case err != nil:
			w.err = os.NewSyscallError("write", err)
		case len(w.left) == 0:
			return true
		default:
			w.err = w.encrypt()
		}
	}
	return true
}

// encrypt takes the next frames: small ones share a record, large ones go through the same buffer part by part, which is the
// one copy more than sendfile.
func (w *wire) encrypt() error {
	if w.buf == nil {
		w.buf = make([]byte, sealBytes)
	}
	n := 0
	for n < len(w.buf) && len(w.left) > 0 {
		f := &w.left[0]
		part := w.buf[n:min(int64(len(w.buf)), int64(n)+f.size()-w.at)]
		if f.Data != nil {
			copy(part, f.Data[w.at:])
		} else if m, err := f.File.ReadAt(part, f.Off+w.at); m < len(part) {
			if errors.Is(err, io.EOF) {
				return cutShort(f)
			}
			return &queueError{err}
		}
		n += len(part)
		w.advance(int64(len(part)))
	}
	_, err := w.tls.Write(w.buf[:n])
	return err
}

// onWire is how many bytes of the connection n bytes may take: exact without TLS, somewhat too much with it.
func (w *wire) onWire(n int64) uint64 {
	if w.tls == nil {
		return uint64(n)
	}
	return uint64(n + (n/recordBytes+1)*recordExtra)
}
