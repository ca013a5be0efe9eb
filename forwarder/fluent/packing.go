package fluent

import (
	"fmt"
	"time"
)

// packing is what was learned of whether a receiver takes compressed frames. Nothing says so: one that does not know zstd
// (Fluentd before 1.19) closes the connection on each such frame, as one whose buffer is full does on every frame. So it is
// told by contrast: a frame that was refused alone, again and again, is sent uncompressed; if that is acked, the form was it.
type packing struct {
	took    bool      // it has acked a compressed frame
	refused int       // in a row, of a compressed frame alone
	trial   bool      // the next one is sent uncompressed
	lacks   time.Time // when the trial was acked; zero: it is not known to lack anything
}

const (
	refusalsToTry     = 3
	refusalsToTryLate = 20               // of a receiver that took one before: most likely it is full
	relearnPacking    = 10 * time.Minute // then one that lacked it may have been upgraded
)

// avoid tells whether frames are sent uncompressed.
func (k *packing) avoid() bool { return k.trial || !k.lacks.IsZero() }

// begin is for a fresh connection.
func (k *packing) begin(now time.Time) {
	if !k.lacks.IsZero() && now.Sub(k.lacks) >= relearnPacking {
		*k = packing{refused: refusalsToTry - 1} // it need not be refused often to be known again
	}
}

// acked is for a connection on which frames were acked, compressed ones among them or not. It answers true if that shows
// that the receiver lacks the form.
func (k *packing) acked(packed bool, now time.Time) (lacks bool) {
	if packed {
		*k = packing{took: true}
		return false
	}
	if k.trial {
		*k = packing{lacks: now}
		return true
	}
	return false
}

// learnPacking draws what the acks of this connection show. The sender's goroutine calls it.
func (c *session) learnPacking() {
	k := &c.p.packing
	if k.took && k.refused == 0 || !k.lacks.IsZero() || c.s.cfg.Compress == formNone {
		return
	}
	c.mu.Lock()
	frames, packed := c.frames, c.packed
	c.mu.Unlock()
	if frames == 0 {
		return
	}
	if k.acked(packed, time.Now()) {
		c.s.log.Warn("receiver may lack the compression", "address", c.p.Address, "compress", c.s.cfg.Compress, "fix", c.s.otherForm())
	}
	var warning string
	for _, p := range c.s.peers {
		if !p.packing.lacks.IsZero() {
			warning = fmt.Sprintf("%s may lack %s: it refuses compressed frames and takes the same ones uncompressed, so they are sent uncompressed: %s",
				p.Address, c.s.cfg.Compress, c.s.otherForm())
		}
	}
	c.s.mu.Lock()
	c.s.status.Warning = warning
	c.s.mu.Unlock()
}

// otherForm says what to do about a receiver that lacks the form.
func (s *Sender) otherForm() string {
	if s.cfg.Compress == formZstd {
		return "set forward.compress: gzip (zstd needs Fluentd >= 1.19)"
	}
	return "set forward.compress: none"
}

// refuse is for a connection that the receiver closed on a frame alone.
func (k *packing) refuse(packed bool) {
	switch {
	case !packed:
		k.trial, k.refused = false, 0 // it takes nothing now
	case k.took:
		k.refused++
		k.trial = k.refused >= refusalsToTryLate
	default:
		k.refused++
		k.trial = k.refused >= refusalsToTry
	}
}
