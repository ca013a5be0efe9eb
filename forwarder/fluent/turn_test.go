package fluent

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// drive has the queue wake nobody, and calls Turn every few milliseconds instead, as the reading loop does. The function it returns
// ends that.
func (r *rig) drive() (stop func()) {
	if r.q.kick == nil {
		r.q.kick = make(chan struct{}, 1)
	}
	wake := func() {
		select {
		case r.q.kick <- struct{}{}:
		default:
		}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	begin := func() {
		defer close(ended)
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				r.s.TurnsOver()
				wake()
				return
			case <-tick.C:
				if !r.s.Turn() {
					wake()
				}
			}
		}
	}
	started := false
	r.driver = func() { started = true; go begin() }
	return func() {
		if started {
			started = false
			close(over)
			<-ended
		}
	}
}

// In quiet times Turn alone delivers, and sees the acks: the sender's goroutine sleeps through it.
func TestTurn(t *testing.T) {
	r := newRig(t)
	stop := r.drive()
	defer stop()
	r.start(func(s *Sender) { s.tune.lazyAck = time.Hour; s.tune.trust = time.Hour })
	r.add(1, 1, 50)
	r.check(0)
	for range 50 {
		r.add(3, 1, 100)
		r.check(0)
	}
	buf := make([]byte, 1<<20)
	r.until("the sender's goroutine waits for data", func() bool {
		return strings.Contains(string(buf[:runtime.Stack(buf, true)]), "(*session).waitData")
	})
}

// After the last turn the ack reader is on its own again.
func TestTurnsOver(t *testing.T) {
	r := newRig(t)
	stop := r.drive()
	defer stop()
	r.start(nil)
	r.add(1, 1, 50)
	r.check(0)
	stop()
	r.add(1, 1, 50)
	r.q.kick <- struct{}{}
	r.check(0)
}

// What the socket does not take at once the sender's goroutine finishes; the caller of Turn never waits.
func TestTurnDoesNotWait(t *testing.T) {
	r := newRig(t)
	r.q.kick = make(chan struct{}, 1)
	r.start(func(s *Sender) { s.tune.trust = time.Hour })
	r.until("connected", func() bool { r.s.mu.Lock(); defer r.s.mu.Unlock(); return r.s.session != nil })
	r.add(1, 1, 50)
	r.until("first frame is sent", func() bool { return r.s.Turn() })
	r.check(0)
	r.recv.Set(receiver.Behaviour{BytesPerSecond: 100_000})
	r.add(100, 1, 200_000) // more than both sockets' buffers
	began := time.Now()
	for range 50 { // the sender's goroutine may not come to what the first one left before the next
		if r.s.Turn() {
			t.Error("Turn wrote 20 MB to a receiver that hardly reads")
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Turn waited for %v", took)
	}
	r.q.kick <- struct{}{}
	r.recv.Set(receiver.Behaviour{})
	defer r.drive()()
	r.driver()
	r.check(0)
}
