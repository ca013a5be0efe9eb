package fluent

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// reason is why a connection ended, as the metric names it.
type reason string

const (
	peerClosed  reason = "peer_closed"  // the other side closed in an orderly way
	peerReset   reason = "peer_reset"   // the other side, or something between, answered RST
	network     reason = "network"      // the kernel gave the connection up, or the peer's host answers nothing
	ackTimeout  reason = "ack_timeout"  // neither an ack nor a byte accepted for that long
	pingTimeout reason = "ping_timeout" // silent to the ping that was to prove the connection
	badAnswer   reason = "bad_answer"   // an ack of something never sent, or no ack at all
	tlsFault    reason = "tls"          // the receiver refused us within TLS, or what came was not of this connection
	maxAge      reason = "max_age"      // old enough to make way for another receiver
	addressGone reason = "address_gone" // its address is no longer in the answers for the name
	preferred   reason = "preferred"    // an endpoint or SRV target works again that is to be taken before
	idle        reason = "idle"         // quiet for too long to be trusted with data
	oneMessage  reason = "one_message"  // the receiver takes one message a connection
	stopped     reason = "stopped"      // we stop
	queueFault  reason = "queue"        // a frame could not be read

	drained reason = "drained" // all that a broken connection still held was read; never the reason of a session
)

var reasons = []reason{peerClosed, peerReset, network, ackTimeout, pingTimeout, badAnswer, tlsFault, maxAge, addressGone, preferred, idle, oneMessage, stopped, queueFault}

// ended says why a session is over.
type ended struct {
	reason reason
	err    error // may be nil
}

func (e *ended) Error() string {
	if e.err == nil {
		return string(e.reason)
	}
	return e.err.Error()
}

func (e *ended) Unwrap() error { return e.err }

// planned tells the ends that are our own doing, or the receiver's manner, from faults.
func (e *ended) planned() bool {
	switch e.reason {
	case maxAge, addressGone, preferred, idle, oneMessage, stopped:
		return true
	}
	return false
}

// endedBy sorts what a read or a write of the connection returned.
func endedBy(err error) *ended {
	switch {
	case ofTLS(err):
		return &ended{tlsFault, err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &ended{peerClosed, errors.New("the receiver closed the connection")}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &ended{peerReset, fmt.Errorf("the receiver, or a balancer before it, cut the connection: %w", err)}
	}
	return &ended{network, err}
}
