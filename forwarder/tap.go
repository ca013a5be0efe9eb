package forwarder

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/internal/glob"
)

const (
	maxTaps  = 8
	tapBytes = 1 << 20 // of events that a viewer has not taken yet; a single larger one is held too
)

// Taps lets events be watched as they pass into their frames. Nobody waits for a viewer: what finds its buffer full is dropped for this
// viewer, and counted. While nobody looks it costs a load an event. A nil Taps has no viewers.
//
// It outlives a forwarder: a reload does not end what somebody watches.
type Taps struct {
	watched atomic.Bool

	mu     sync.RWMutex // guards what follows
	open   []*Tap
	closed bool
}

// Tap is one viewer.
type Tap struct {
	taps *Taps
	tag  glob.Pattern
	more chan struct{} // holds one: there is something, or the end

	mu      sync.Mutex // guards what follows; held for no longer than an event is copied
	known   map[string]bool
	buf     []byte
	dropped int64
	ended   bool
}

// ErrTaps means that as many are looking as may.
var ErrTaps = errors.New("eight taps are open already, no more are given")

// ErrTapEnded means that there is nothing more to come.
var ErrTapEnded = errors.New("the daemon stops")

// Open begins to watch the events whose tag fits.
func (t *Taps) Open(tag glob.Pattern) (*Tap, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrTapEnded
	}
	if len(t.open) >= maxTaps {
		return nil, ErrTaps
	}
	tap := &Tap{taps: t, tag: tag, more: make(chan struct{}, 1), known: map[string]bool{}}
	t.open = append(t.open, tap)
	t.watched.Store(true)
	return tap, nil
}

// Watching is how many look.
func (t *Taps) Watching() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.open)
}

// Close ends all taps, once they have taken what they have not taken yet.
func (t *Taps) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, tap := range t.open {
		tap.mu.Lock()
		tap.ended = true
		tap.mu.Unlock()
		tap.ring()
	}
}

// offer shows an entry of a frame, [time, record], to whoever watches its tag.
func (t *Taps) offer(tag string, entry []byte) {
	if t == nil || !t.watched.Load() {
		return
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, tap := range t.open {
		tap.offer(tag, entry)
	}
}

func (t *Tap) offer(tag string, entry []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fits, known := t.known[tag]
	if !known {
		if len(t.known) >= inTags {
			clear(t.known)
		}
		fits = t.tag.Match(tag)
		t.known[tag] = fits
	}
	if !fits {
		return
	}
	if len(t.buf) > 0 && len(t.buf)+len(tag)+len(entry)+8 > tapBytes {
		t.dropped++
		return
	}
	// A message of the Forward protocol: the entry with the tag in front.
	t.buf = msgp.AppendString(append(t.buf, 0x93), tag)
	t.buf = append(t.buf, entry[1:]...)
	t.ring()
}

func (t *Tap) ring() {
	select {
	case t.more <- struct{}{}:
	default: // it is told already
	}
}

// Next waits for events and answers them, each a Forward message [tag, time, record], and how many were dropped after them. spare is a
// buffer that is not needed any more. After the last there is ErrTapEnded.
func (t *Tap) Next(ctx context.Context, spare []byte) (events []byte, dropped int64, err error) {
	for {
		t.mu.Lock()
		if len(t.buf) > 0 || t.dropped > 0 {
			events, dropped = t.buf, t.dropped
			t.buf, t.dropped = spare[:0], 0
			t.mu.Unlock()
			return events, dropped, nil
		}
		ended := t.ended
		t.mu.Unlock()
		if ended {
			return nil, 0, ErrTapEnded
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-t.more:
		}
	}
}

// Close ends the watching.
func (t *Tap) Close() {
	t.taps.mu.Lock()
	defer t.taps.mu.Unlock()
	for i, o := range t.taps.open {
		if o == t {
			t.taps.open = append(t.taps.open[:i:i], t.taps.open[i+1:]...)
			break
		}
	}
	t.taps.watched.Store(len(t.taps.open) > 0)
}

// DroppedTag is the tag of the message by which a viewer is told what was dropped; its record has `dropped`, a number.
const DroppedTag = "fairlead.tap"

// AppendDropped appends that message.
func AppendDropped(dst []byte, n int64, now time.Time) []byte {
	dst = msgp.AppendString(append(dst, 0x93), DroppedTag)
	dst = msgp.AppendInt64(dst, now.Unix())
	dst = msgp.AppendMapHeader(dst, 1)
	return msgp.AppendInt64(msgp.AppendString(dst, "dropped"), n)
}

// Show has the events of this forwarder watched by taps. It is called before Run.
func (f *Forwarder) Show(taps *Taps) { f.taps = taps }
