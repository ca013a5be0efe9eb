package fluent

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// Any mixture of faults, one after another: nothing is lost, first arrivals are in order, and no fault makes more than a
// batch come twice.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if seed%2 == 1 {
				defer r.drive()()
			}
			rnd := rand.New(rand.NewPCG(seed, 7))
			b, err := balancer.Listen("127.0.0.1:0", balancer.Options{}, r.recv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			r.start(hasty, b.Addr(), strings.Replace(r.recv.Addr(), "127.0.0.1", "localhost", 1))
			faults := 0
			for range 25 {
				r.add(rnd.IntN(40), 1+rnd.IntN(3), 20+rnd.IntN(1000))
				if rnd.IntN(4) == 0 {
					r.add(1+rnd.IntN(4), 1, 100000)
				}
				faults++
				switch rnd.IntN(14) {
				case 0:
					r.recv.Kill()
					time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
					if err := r.recv.Restart(); err != nil {
						t.Fatal(err)
					}
				case 1:
					r.recv.DropConnections()
				case 2:
					b.Drop()
				case 3:
					r.recv.Set(receiver.Behaviour{NoAcks: true})
				case 4:
					r.recv.Set(receiver.Behaviour{DropAcks: 0.05})
				case 5:
					r.recv.Set(receiver.Behaviour{Refuse: true})
				case 6:
					r.recv.Set(receiver.Behaviour{AckShuffled: true, AckTwice: true})
				case 7:
					r.recv.Set(receiver.Behaviour{AckUnknown: true})
				case 8:
					r.recv.Set(receiver.Behaviour{HangUpOnPings: true})
				case 9:
					r.recv.Set(receiver.Behaviour{CloseAfterMessage: true, ResetOnClose: rnd.IntN(2) == 0})
				case 10:
					b.Set(balancer.Options{Idle: time.Duration(10+rnd.IntN(50)) * time.Millisecond, Mode: balancer.Mode(rnd.IntN(4))})
				case 11:
					b.SetBackends()
				default:
					faults--
					r.recv.Set(receiver.Behaviour{})
					b.Set(balancer.Options{})
					b.SetBackends(r.recv.Addr())
				}
				time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond)
			}
			r.recv.Set(receiver.Behaviour{})
			b.Set(balancer.Options{})
			b.SetBackends(r.recv.Addr())
			r.check((faults + 1) * maxBatchFrames * 3)
			r.stop()
			var ends int
			for _, why := range reasons {
				ends += r.disconnects(why)
			}
			t.Logf("%d lines, %d faults, %d connections ended, %d repeats", r.lines, faults, ends, r.got.repeats)
		})
	}
}
