package lab

import (
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// shortAck has fairlead give up waiting for an ack sooner than the 30 s of the default, so that a trial takes a minute and not ten.
const shortAck = ", ack_timeout: 5s"

// misbehaves is a receiver that does so for a while.
func misbehaves(name, what string, quick bool, d time.Duration, b receiver.Behaviour) Scenario {
	return Scenario{Name: name, What: what, Quick: quick, recovers: soon, setup: setup{forward: shortAck},
		run: func(t *Trial) {
			t.behave(b)
			t.pause(d)
			t.behave(receiver.Behaviour{})
			t.ends()
		}}
}

var receiverScenarios = []Scenario{
	{Name: "receiver killed", recovers: soon, What: "three times the receiver is killed, its last acks lost, and is back after 3 s",
		run: func(t *Trial) {
			for range 3 {
				t.between(time.Second, 3*time.Second)
				t.kill(0)
				t.pause(3 * time.Second)
				t.revive(0)
			}
			t.ends()
		}},
	{Name: "receiver stopped", What: "the receiver's process gets SIGSTOP for 20 s: its kernel goes on accepting connections and bytes",
		setup: setup{child: true, forward: shortAck},
		run:   func(t *Trial) { t.freeze(t.fairlead().child.proc, 20*time.Second); t.ends() }},
	{Name: "receiver slow", What: "the receiver reads 100 kB/s for 15 s while 2,000 lines/s are written", setup: setup{rate: 2000, forward: shortAck},
		run: func(t *Trial) {
			t.behave(receiver.Behaviour{BytesPerSecond: 100_000})
			t.pause(15 * time.Second)
			t.behave(receiver.Behaviour{})
			t.ends()
		}},
	misbehaves("receiver never answers", "for 15 s the receiver takes everything and acknowledges nothing", false, 15*time.Second, receiver.Behaviour{NoAcks: true}),
	misbehaves("acks late", "for 10 s acks come 1 s late", false, 10*time.Second, receiver.Behaviour{AckDelay: time.Second}),
	misbehaves("acks later than the timeout", "for 15 s acks come 6 s late, ack_timeout is 5 s", false, 15*time.Second, receiver.Behaviour{AckDelay: 6 * time.Second}),
	misbehaves("acks shuffled", "for 10 s acks come up to 300 ms late and in random order", true, 10*time.Second, receiver.Behaviour{AckDelay: 300 * time.Millisecond, AckShuffled: true}),
	misbehaves("acks twice", "for 10 s each ack comes twice", false, 10*time.Second, receiver.Behaviour{AckTwice: true}),
	misbehaves("acks lost", "for 15 s a tenth of the acks never comes", false, 15*time.Second, receiver.Behaviour{DropAcks: 0.1}),
	misbehaves("acks of others", "for 10 s acks name frames that nobody sent", false, 10*time.Second, receiver.Behaviour{AckUnknown: true}),
	misbehaves("deny_keepalive", "for 10 s the receiver closes after each message", false, 10*time.Second, receiver.Behaviour{CloseAfterMessage: true}),
	{Name: "no pings answered", What: "the receiver never answers pings, and the balancer swallows what comes after 4 s without data; pauses of 0.2 to 6 s",
		setup: setup{balancer: &balancer.Options{Idle: 4 * time.Second, Mode: balancer.Silent}, behaviour: receiver.Behaviour{IgnorePings: true}, forward: shortAck, rate: 40},
		run:   func(t *Trial) { t.stutter(25*time.Second, 6*time.Second) }},
	{Name: "hangs up on pings", What: "the receiver closes when a ping comes; pauses of 0.2 to 6 s",
		setup: setup{behaviour: receiver.Behaviour{HangUpOnPings: true}, forward: shortAck, rate: 40},
		run:   func(t *Trial) { t.stutter(20*time.Second, 6*time.Second) }},
	{Name: "pings no longer answered", What: "a receiver that answered pings answers none for 20 s, then again; pauses of 0.2 to 4 s",
		setup: setup{forward: shortAck, rate: 40},
		run: func(t *Trial) {
			t.behave(receiver.Behaviour{IgnorePings: true})
			t.stutter(20*time.Second, 4*time.Second)
			t.behave(receiver.Behaviour{})
			t.ends()
		}},
	misbehaves("receiver's buffer full", "for 15 s the receiver acks pings and answers all data by closing", true, 15*time.Second, receiver.Behaviour{Refuse: true}),
}
