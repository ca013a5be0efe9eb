package listen

import (
	"errors"
	"sync"
	"time"
)

var (
	errSlow      = errors.New("message is sent too slowly")
	errHandshake = errors.New("handshake")
	errCut       = errors.New("message is cut off")
)

// refusal is a fault of the peer: its connection is closed, what came before the fault is not touched by it.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(err error) error { return refusal{err} }

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}

// reason is what a metric calls the end of a connection; empty for one that is no fault.
func reason(err error) string {
	switch {
	case errors.Is(err, errHandshake):
		return refusedHandshake
	case errors.Is(err, errSlow):
		return refusedSlow
	case errors.Is(err, errTooLarge), errors.Is(err, errBomb):
		return refusedTooLarge
	case errors.Is(err, errCut):
		return refusedCut
	case isRefusal(err):
		return refusedMalformed
	}
	return ""
}

// complaints are logged at a bounded rate, whatever peers do: the first few of a minute, then their number.
type complaints struct {
	mu     sync.Mutex // guards what follows
	minute time.Time
	n      int
	before int // that the minute before kept from the log
}

const complaintsAMinute = 5

// allow says whether this one may be logged, and how many were not since the last.
func (c *complaints) allow(now time.Time) (ok bool, unlogged int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.minute) >= time.Minute {
		c.before += max(0, c.n-complaintsAMinute)
		c.minute, c.n = now, 0
	}
	if c.n++; c.n > complaintsAMinute {
		return false, 0
	}
	unlogged, c.before = c.before, 0
	return true, unlogged
}
