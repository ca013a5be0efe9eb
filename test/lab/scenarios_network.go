package lab

import "time"

// weathers is a network that is bad for a while, between fairlead and a receiver on another host.
func weathers(name, what string, d time.Duration, w Weather) Scenario {
	return Scenario{Name: name, What: what, Quick: w.Down, recovers: soon, setup: setup{apart: true},
		run: func(t *Trial) {
			t.weather(w)
			t.pause(d)
			t.weather(Weather{})
			t.ends()
		}}
}

var networkScenarios = []Scenario{
	weathers("partition", "for 15 s no packet passes", 15*time.Second, Weather{Down: true}),
	weathers("partition, one way", "for 15 s data arrive and no answer comes back", 15*time.Second, Weather{OneWay: true}),
	{Name: "network flaps", What: "eight times no packet passes for 1 s", Quick: true, setup: setup{apart: true, forward: shortAck},
		run: func(t *Trial) {
			for range 8 {
				t.weather(Weather{Down: true})
				t.pause(time.Second)
				t.weather(Weather{})
				t.between(300*time.Millisecond, 1500*time.Millisecond)
			}
			t.ends()
		}},
	weathers("packet loss 5 %", "for 15 s", 15*time.Second, Weather{Loss: 0.05}),
	weathers("packet loss 20 %", "for 15 s", 15*time.Second, Weather{Loss: 0.2}),
	weathers("delay", "for 15 s packets take 200 to 300 ms each way", 15*time.Second, Weather{Delay: 200 * time.Millisecond, Jitter: 100 * time.Millisecond}),
	weathers("packets reordered", "for 10 s a quarter of the packets comes 50 ms late", 10*time.Second, Weather{Delay: 5 * time.Millisecond, LateShare: 0.25}),
	weathers("packets twice", "for 10 s a fifth of the packets comes twice", 10*time.Second, Weather{Duplicates: 0.2}),
	weathers("MTU black hole", "for 15 s packets over 1,000 bytes vanish, without the ICMP message that would say so", 15*time.Second, Weather{MaxBytes: 1000}),
	{Name: "receiver's host vanishes", What: "the host of the receiver is gone from one packet to the next; 10 s later it is there again and knows no connection",
		recovers: soon, setup: setup{apart: true},
		run: func(t *Trial) {
			t.weather(Weather{Down: true})
			t.kill(0) // the RST does not arrive
			t.pause(10 * time.Second)
			t.revive(0)
			t.weather(Weather{})
			t.ends()
		}},
	{Name: "silence, then a partition", What: "nothing is written for 6 s, in which the host of the receiver vanishes; then lines come, and 6 s later the host",
		setup: setup{apart: true, forward: shortAck, rate: 40},
		run: func(t *Trial) {
			t.hold(func() {
				t.pause(2 * time.Second)
				t.weather(Weather{Down: true})
				t.kill(0)
				t.pause(4 * time.Second)
			})
			t.pause(6 * time.Second)
			t.revive(0)
			t.weather(Weather{})
			t.ends()
		}},
}
