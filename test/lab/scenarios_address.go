package lab

import (
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

var addressScenarios = []Scenario{
	{Name: "two addresses, one dies", What: "the two receivers of forward.to die in turn for 4 s, one of them always lives", Quick: true,
		setup: setup{receivers: 2},
		run: func(t *Trial) {
			for i := range 4 {
				t.pause(time.Second)
				t.kill(i % 2)
				t.pause(3 * time.Second)
				t.revive(i % 2)
			}
			t.ends()
		}},
	{Name: "three addresses, two deaf", What: "for 20 s two of three receivers take everything and acknowledge nothing", setup: setup{receivers: 3, forward: shortAck},
		run: func(t *Trial) {
			for i := range 2 {
				t.do(func() error { t.fairlead().receivers[i].Set(receiver.Behaviour{NoAcks: true}); return nil })
			}
			t.pause(20 * time.Second)
			t.behave(receiver.Behaviour{})
			t.ends()
		}},
	{Name: "DNS name moves", What: "twice the name of the receiver gets another address, and 2 s later the old receiver is killed",
		setup: setup{named: true, receivers: 3},
		run: func(t *Trial) {
			for i := range 2 {
				t.pause(2 * time.Second)
				t.do(func() error { t.names.set(byte(i + 2)); return nil })
				t.pause(2 * time.Second)
				t.kill(i)
			}
			t.ends()
		}},
	{Name: "DNS answers with dead addresses too", What: "the name has three addresses; the live one is killed and another comes, three times",
		setup: setup{named: true, receivers: 3},
		run: func(t *Trial) {
			t.do(func() error { t.names.set(1, 2, 3); return nil })
			t.kill(1)
			t.kill(2)
			for i := range 3 {
				t.pause(2 * time.Second)
				t.kill(i)
				t.revive((i + 1) % 3)
			}
			t.ends()
		}},
	{Name: "DNS server broken", What: "the receiver is restarted while the name server answers SERVFAIL, for 8 s",
		setup: setup{named: true},
		run: func(t *Trial) {
			t.do(func() error { t.names.set(); return nil })
			t.kill(0)
			t.pause(2 * time.Second)
			t.revive(0)
			t.pause(6 * time.Second)
			t.do(func() error { t.names.set(1); return nil })
			t.ends()
		}},
}
