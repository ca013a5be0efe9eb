package fluent

// A batch is what may be written and not yet acked: the most that a fault can make the receiver see twice.
const (
	maxBatchFrames = 256
	maxBatchBytes  = 8 << 20
)

// flight is a frame that was written and waits for its ack.
type flight struct {
	id     [IDBytes]byte
	seq    uint64
	bytes  int64
	sent   int64  // mono time
	end    uint64 // bytes of the connection up to its last one
	events int
	packed bool // it was sent compressed
	acked  bool
}

// flights are the frames in flight, oldest first, in a ring twice as large as it ever is full: its other half still
// holds the last ones acked, so that an ack that comes twice is told from an ack of nothing.
type flights struct {
	ring       [2 * maxBatchFrames]flight
	head, tail uint64 // the ones in flight are head <= i < tail
	bytes      int64
}

func (f *flights) reset() { *f = flights{} }

func (f *flights) len() int { return int(f.tail - f.head) }

// push returns the place of a new last one.
func (f *flights) push() *flight {
	x := &f.ring[f.tail%uint64(len(f.ring))]
	f.tail++
	x.acked = false
	return x
}

func (f *flights) oldest() *flight { return &f.ring[f.head%uint64(len(f.ring))] }

// find looks the id up among those in flight. Acks come in order from nearly every receiver, so this is one comparison.
func (f *flights) find(id []byte) *flight {
	for i := f.head; i < f.tail; i++ {
		if x := &f.ring[i%uint64(len(f.ring))]; string(x.id[:]) == string(id) {
			return x
		}
	}
	return nil
}

// recent reports whether the id was acked before, on this connection.
func (f *flights) recent(id []byte) bool {
	for i := f.head; i > 0 && f.head-i < maxBatchFrames; i-- {
		if string(f.ring[(i-1)%uint64(len(f.ring))].id[:]) == string(id) {
			return true
		}
	}
	return false
}

// pop takes the first ones off as long as they are acked, and returns the last sequence number and the sums of them.
func (f *flights) pop() (seq uint64, frames, events int) {
	for f.head < f.tail {
		x := &f.ring[f.head%uint64(len(f.ring))]
		if !x.acked {
			break
		}
		f.head++
		f.bytes -= x.bytes
		seq = x.seq
		frames++
		events += x.events
	}
	return seq, frames, events
}
