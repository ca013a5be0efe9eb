package fluent

import "time"

// health is what is known of an endpoint or of an address, by what was acked over it and not by whether it accepts
// connections: a balancer accepts them for the dead.
type health struct {
	failed  time.Time     // when it last failed in any way
	retry   time.Time     // until then it counts as down
	penalty time.Duration // for accepting connections and serving nothing: the next one is twice as long
}

const failureCounts = time.Minute // for so long after a failure its equals are tried first

// broke notes the end of a connection that had served.
func (h *health) broke(now time.Time) { h.failed = now }

// unreachable notes that no connection came about.
func (h *health) unreachable(now time.Time, t *tune) {
	h.failed, h.retry = now, later(h.retry, now.Add(t.downFor))
}

// useless notes a connection over which nothing was acked that should have been. A Fluentd with a full buffer accepts, acks
// pings and takes no data: going there from a standby again and again must become rare.
func (h *health) useless(now time.Time, t *tune) {
	h.penalty = min(max(2*h.penalty, t.downFor), t.maxPenalty)
	h.failed, h.retry = now, later(h.retry, now.Add(h.penalty))
}

// served notes a connection that ended in peace or was proved, having lasted so long.
func (h *health) served(lasted time.Duration, t *tune) {
	h.failed, h.retry = time.Time{}, time.Time{}
	if lasted > max(h.penalty, t.downFor) {
		h.penalty = 0
	}
}

func (h *health) down(now time.Time) bool { return now.Before(h.retry) }

// lately is when it failed, if that still counts.
func (h *health) lately(now time.Time) time.Time {
	if now.Sub(h.failed) < failureCounts || h.down(now) {
		return h.failed
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
