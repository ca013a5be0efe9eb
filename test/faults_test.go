package test

import (
	"testing"
	"time"

	rcv "github.com/fairlead/fairlead/internal/receiver"
)

// TestReceiverFaults takes one daemon through everything a receiver may do to it, and kills it in each of them.
func TestReceiverFaults(t *testing.T) {
	r := newRig(t, newOurReceiver, daemonConfig{containers: true, forward: ", heartbeat: 1s"})
	r.daemon.start()
	all := fourContainers(r)
	ours := r.receiver.(*ourReceiver)
	phases := []struct {
		name string
		rcv.Behaviour
	}{
		{"acks late", rcv.Behaviour{AckDelay: 300 * time.Millisecond}},
		{"acks almost too late", rcv.Behaviour{AckDelay: 2500 * time.Millisecond}}, // ack_timeout is 3s
		{"acks out of order", rcv.Behaviour{AckShuffled: true, AckDelay: 50 * time.Millisecond}},
		{"acks twice", rcv.Behaviour{AckTwice: true}},
		{"acks for others", rcv.Behaviour{AckUnknown: true}},
		{"some acks never come", rcv.Behaviour{DropAcks: 0.1}},
		{"no acks", rcv.Behaviour{NoAcks: true}},
		{"buffer full", rcv.Behaviour{Refuse: true}},
		{"closes after each message", rcv.Behaviour{CloseAfterMessage: true}},
		{"resets after each message", rcv.Behaviour{CloseAfterMessage: true, ResetOnClose: true}},
		{"reads slowly", rcv.Behaviour{BytesPerSecond: 100_000}},
		{"answers no pings", rcv.Behaviour{IgnorePings: true}},
		{"hangs up on pings", rcv.Behaviour{HangUpOnPings: true}},
	}
	end := time.Now().Add(bed.soak)
	for i := 0; i < len(phases) || time.Now().Before(end); i++ {
		phase := phases[i%len(phases)]
		before, since := r.oracle.Totals(), time.Now()
		ours.Set(phase.Behaviour)
		for range 2 {
			r.pause(r.between(100*time.Millisecond, 2*time.Second))
			r.keepUp()
			r.killDaemon(r.between(0, 200*time.Millisecond))
		}
		r.pause(r.between(500*time.Millisecond, 1500*time.Millisecond))
		now := r.oracle.Totals()
		t.Logf("%s: events %d, repeated %d in %s", phase.name, now.Events-before.Events, now.Repeats-before.Repeats, time.Since(since).Round(time.Millisecond))
	}
	ours.Set(rcv.Behaviour{})
	r.caughtUp()
	for _, c := range all {
		c.stop()
	}
	all[2].remove()
	r.finish()
}
