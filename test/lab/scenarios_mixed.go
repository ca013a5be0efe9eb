package lab

import (
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

var mixedScenarios = []Scenario{
	{Name: "several at once", What: "5 % of the packets lost, the balancer cuts connections after 20 kB, acks 300 ms late and a tenth of them lost, files rotate, fairlead killed three times",
		setup: setup{apart: true, balancer: &balancer.Options{Mode: balancer.RST, CutAfter: 20_000}, maxSize: 200_000, forward: shortAck},
		run: func(t *Trial) {
			t.weather(Weather{Loss: 0.05, Delay: 5 * time.Millisecond})
			t.behave(receiver.Behaviour{AckDelay: 300 * time.Millisecond, DropAcks: 0.1})
			for range 3 {
				t.between(3*time.Second, 6*time.Second)
				t.killFairlead(100 * time.Millisecond)
			}
			t.calmDown()
		}},
	randomScenario,
}

// RandomMix is the scenario that mixes all faults by seed.
func RandomMix() *Scenario {
	s := randomScenario
	return &s
}

// SelfTestLoses is how many events it takes until SelfTest loses one.
const SelfTestLoses = 50

// SelfTest has a receiver acknowledge events and lose them, which nothing can survive: it must fail.
func SelfTest() *Scenario {
	return &Scenario{Name: "self-test", What: "the receiver loses one in fifty of the events it acknowledges: this must be reported as lost",
		setup: setup{swallow: SelfTestLoses, quiet: 3 * time.Second},
		run:   func(t *Trial) { t.pause(2 * time.Second) }}
}

var randomScenario = Scenario{Name: "random mix", What: "25 s of faults of all kinds, chosen by the seed, up to three at a time",
	setup: setup{apart: true, balancer: &balancer.Options{}, maxSize: 300_000, forward: ", ack_timeout: 3s, connect_timeout: 1s"},
	run: func(t *Trial) {
		for end := time.Now().Add(25 * time.Second); time.Now().Before(end) && t.err == nil; {
			t.randomWeather()
			t.randomBehaviour()
			t.randomBalancer()
			switch t.rnd.IntN(8) {
			case 0:
				t.killFairlead(time.Duration(t.rnd.IntN(500)) * time.Millisecond)
			case 1:
				t.freeze(t.fairlead().daemon.proc, time.Duration(t.rnd.IntN(2000))*time.Millisecond)
			case 2:
				t.kill(0)
				t.between(0, 2*time.Second)
				t.revive(0)
			case 3:
				t.restartBalancer(time.Duration(t.rnd.IntN(1000)) * time.Millisecond)
			case 4:
				t.each(func(l *lane) error { l.bal.Drop(); return nil })
			}
			t.between(200*time.Millisecond, 3*time.Second)
		}
		t.calmDown()
	}}

// randomWeather leaves the network good half of the time.
func (t *Trial) randomWeather() {
	all := []Weather{{Down: true}, {OneWay: true}, {Loss: 0.05}, {Loss: 0.3}, {Delay: 100 * time.Millisecond, Jitter: 50 * time.Millisecond},
		{LateShare: 0.3}, {Duplicates: 0.3}, {MaxBytes: 1000}}
	if i := t.rnd.IntN(2 * len(all)); i < len(all) {
		t.weather(all[i])
	} else {
		t.weather(Weather{})
	}
}

// randomBehaviour leaves the receiver good half of the time.
func (t *Trial) randomBehaviour() {
	all := []receiver.Behaviour{{AckDelay: 500 * time.Millisecond}, {AckDelay: 4 * time.Second}, {AckShuffled: true}, {AckTwice: true}, {AckUnknown: true},
		{NoAcks: true}, {DropAcks: 0.2}, {Refuse: true}, {IgnorePings: true}, {HangUpOnPings: true}, {CloseAfterMessage: true}, {BytesPerSecond: 50_000},
		{CloseAfterMessage: true, ResetOnClose: true}}
	if i := t.rnd.IntN(2 * len(all)); i < len(all) {
		t.behave(all[i])
	} else {
		t.behave(receiver.Behaviour{})
	}
}

// randomBalancer leaves the balancer good half of the time.
func (t *Trial) randomBalancer() {
	o := balancer.Options{Mode: balancer.Mode(t.rnd.IntN(4))}
	switch t.rnd.IntN(4) {
	case 0:
		o.Idle = time.Duration(100+t.rnd.IntN(900)) * time.Millisecond
	case 1:
		o.CutAfter = 1000 + t.rnd.IntN(50_000)
	}
	t.balance(o)
}

// calmDown ends all faults.
func (t *Trial) calmDown() {
	t.weather(Weather{})
	t.behave(receiver.Behaviour{})
	t.balance(balancer.Options{})
	t.each(func(l *lane) error { l.bal.Drop(); return nil }) // also those that were to be cut some time
	t.ends()
}
