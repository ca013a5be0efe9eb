package lab

import (
	"fmt"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
)

const (
	idleTimeout = 2 * time.Second
	soon        = 7 * time.Second // after a fault: 5 s is the longest pause between two attempts
)

// dropsIdle is fairlead with the default configuration and Docker's driver, behind a balancer that drops what is idle.
func dropsIdle(name, what string, mode balancer.Mode) Scenario {
	return Scenario{Name: "idle connection dropped: " + name, What: what + " after 2 s without data; lines come in bursts with pauses of 0.2 to 5 s",
		setup: setup{balancer: &balancer.Options{Idle: idleTimeout, Mode: mode}, containers: true},
		run:   func(t *Trial) { t.pause(40 * time.Second) }, delay: 3 * time.Second}
}

var balancerScenarios = []Scenario{
	dropsIdle("FIN", "the balancer closes both sides (Classic Load Balancer)", balancer.FIN),
	dropsIdle("RST", "the balancer cuts both sides", balancer.RST),
	dropsIdle("forgotten", "the balancer forgets the connection in silence and answers the next packet with RST (Network Load Balancer)", balancer.SilentReset),
	dropsIdle("swallowed", "the balancer forgets the connection and swallows what comes (a firewall that drops)", balancer.Silent),
	{Name: "balancer restarted", recovers: soon, What: "twice the balancer cuts all connections with RST and refuses new ones for 3 s",
		setup: setup{balancer: &balancer.Options{}, containers: true, pauses: 400 * time.Millisecond},
		run: func(t *Trial) {
			for range 2 {
				t.pause(5 * time.Second)
				t.restartBalancer(3 * time.Second)
			}
			t.ends()
		}},
	{Name: "balancer without backend", recovers: soon, What: "the receiver dies for 8 s; the balancer goes on accepting connections and cuts them at once",
		setup: setup{balancer: &balancer.Options{}, containers: true, pauses: 400 * time.Millisecond},
		run: func(t *Trial) {
			t.pause(5 * time.Second)
			t.kill(0)
			t.pause(8 * time.Second)
			t.revive(0)
			t.ends()
			t.pause(5 * time.Second)
		}},
	{Name: "backend drained", What: "twice new connections go to the other receiver, and 4 s later the drained one is killed",
		setup: setup{balancer: &balancer.Options{}, receivers: 2, containers: true, pauses: 400 * time.Millisecond},
		run: func(t *Trial) {
			t.each(func(l *lane) error { l.bal.SetBackends(l.receivers[0].Addr()); return nil })
			for i := range 2 {
				t.pause(4 * time.Second)
				t.each(func(l *lane) error { l.bal.SetBackends(l.receivers[1-i].Addr()); return nil })
				t.pause(4 * time.Second)
				t.kill(i)
				t.pause(4 * time.Second)
				t.revive(i)
			}
			t.ends()
		}},
	{Name: "connections cut after a while", recovers: soon, What: "each connection is cut with RST after 2 to 6 kB, in the middle of a message",
		setup: setup{balancer: &balancer.Options{Mode: balancer.RST, CutAfter: 4_000}, containers: true, pauses: 400 * time.Millisecond},
		run:   func(t *Trial) { t.pause(20 * time.Second); t.balance(balancer.Options{}); t.ends() }},
	{Name: "heartbeat within the idle timeout", Quick: true, What: "heartbeat 1 s, idle timeout 3 s, swallowed after it; 12 s of silence between two runs of lines: the connection must stand",
		setup: setup{balancer: &balancer.Options{Idle: 3 * time.Second, Mode: balancer.Silent}, forward: ", heartbeat: 1s", rate: 40},
		run: func(t *Trial) {
			t.hold(func() { t.pause(12 * time.Second) })
			t.pause(2 * time.Second)
			t.do(func() error {
				if n := t.fairlead().bal.Stats().Dropped; n > 0 {
					return fmt.Errorf("the balancer dropped %d connections in spite of the heartbeat", n)
				}
				return nil
			})
		}},
	{Name: "cut in mid-frame: RST", What: "each connection is cut after 5 to 15 kB, in the middle of a frame",
		setup: setup{balancer: &balancer.Options{Mode: balancer.RST, CutAfter: 10_000}},
		run:   func(t *Trial) { t.pause(10 * time.Second); t.balance(balancer.Options{}); t.ends() }},
	{Name: "cut in mid-frame: FIN", What: "the same, closed in an orderly way",
		setup: setup{balancer: &balancer.Options{Mode: balancer.FIN, CutAfter: 10_000}},
		run:   func(t *Trial) { t.pause(10 * time.Second); t.balance(balancer.Options{}); t.ends() }},
}
