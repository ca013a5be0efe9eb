package listen

import (
	"hash/maphash"
	"sync"
)

// resent knows the last Messages for which an ack was asked, to tell one that comes again. The goroutines of a program that share one
// fluent-logger, as Docker's driver has one for stdout and one for stderr, read each other's acks: each takes the other's for a fault,
// closes the connection they share, and both send again, thousands of times within seconds.
type resent struct {
	mu   sync.Mutex        // guards what follows
	seqs map[uint64]uint64 // by id: what the Sink said must be on disk
	ids  [4096]uint64      // a ring
	next int
}

func newResent() *resent { return &resent{seqs: map[uint64]uint64{}} }

var resentSeed = maphash.MakeSeed()

// resentID names a message by all its bytes. It is 0 where two with the same bytes may be two events: no ack is asked for, or the chunk is
// not as long as the random name that loggers give.
func resentID(m *message, p []byte) uint64 {
	if !m.single || len(m.chunk) < 16 {
		return 0
	}
	return maphash.Bytes(resentSeed, p) | 1
}

// seq answers whether the message was taken before, and what must be on disk before it is acked again.
func (r *resent) seq(id uint64) (seq uint64, ok bool) {
	if id == 0 {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seq, ok = r.seqs[id]
	return seq, ok
}

// add notes messages that the Sink has taken.
func (r *resent) add(ids []uint64, seq uint64) {
	if len(ids) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if _, ok := r.seqs[id]; ok {
			continue
		}
		delete(r.seqs, r.ids[r.next])
		r.ids[r.next], r.next = id, (r.next+1)%len(r.ids)
		r.seqs[id] = seq
	}
}
