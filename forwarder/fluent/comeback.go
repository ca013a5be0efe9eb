package fluent

import (
	"math/rand/v2"
	"time"
)

// comeback says when to connect next. A fleet loses its connections all at once, when a balancer or a receiver goes, and must
// not come back all at once; so everything here is drawn at random:
//
//   - after a failure, and while nothing works, between now and a bound that doubles to maxBackoff. The time that the
//     attempt itself took counts: a receiver that swallows packets is not waited for twice. But something is always drawn,
//     or attempts that all last connect_timeout would stay in step.
//   - after a connection that was cut while idle, likewise, if there is something to send, and else over a heartbeat.
type comeback struct {
	attempts int // failures in a row
}

// restart is when Run may connect.
type restart struct {
	pause time.Duration // not before
	quiet bool          // then only when there is data, or at the latest
	limit time.Duration // after so long; 0: only when there is data
}

// failed is after a failure that took so long to show. It is slow where only another configuration can help.
func (b *comeback) failed(t *tune, took time.Duration, slow bool) restart {
	if slow {
		b.attempts++
		bound := min(t.backoff<<min(b.attempts, 20), t.slowBackoff)
		return restart{pause: bound/2 + rand.N(bound/2+1)}
	}
	bound := min(t.backoff<<min(b.attempts, 20), max(t.maxBackoff-took, t.backoff))
	b.attempts++
	return restart{pause: max(rand.N(bound), 1)}
}

// ended is after a connection on which nothing was left undone. To connect proves that the receiver is up while there is
// nothing to send; the fleet does it within a heartbeat.
func (b *comeback) ended(t *tune, cut bool, heartbeat time.Duration) restart {
	r := restart{quiet: true}
	if cut {
		r.pause = rand.N(t.backoff)
	}
	if heartbeat > 0 {
		r.limit = rand.N(heartbeat) + 1
	}
	return r
}
