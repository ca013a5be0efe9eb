package lab

import "time"

var processScenarios = []Scenario{
	{Name: "fairlead killed", What: "kill -9 once, started again after 2 s", run: func(t *Trial) {
		t.between(2*time.Second, 4*time.Second)
		t.killFairlead(2 * time.Second)
		t.ends()
	}},
	{Name: "fairlead killed twenty times", What: "kill -9 every 0.1 to 1 s, started again at once", Quick: true, run: func(t *Trial) {
		for range 20 {
			t.between(100*time.Millisecond, time.Second)
			t.killFairlead(0)
		}
		t.ends()
	}},
	{Name: "fairlead stopped", What: "fairlead gets SIGSTOP for 10 s, twice", setup: setup{forward: shortAck}, run: func(t *Trial) {
		for range 2 {
			t.freeze(t.fairlead().daemon.proc, 10*time.Second)
			t.pause(time.Second)
		}
		t.ends()
	}},
	{Name: "monotonic clock jumps", What: "fairlead is killed and started on another monotonic clock, as after a reboot: ten days ahead, then back",
		run: func(t *Trial) {
			d := t.fairlead().daemon
			own := d.space
			ahead := newSpace()
			ahead.ahead = 240 * time.Hour
			for _, s := range []*Space{ahead, own} {
				t.pause(2 * time.Second)
				t.do(func() error { d.space = s; return nil })
				t.killFairlead(0)
			}
			d.space = own
			t.ends()
		}},
	{Name: "wall clock jumps, as the logs show it", What: "the times of the records go an hour back, two hours ahead, and back again, 3 s each", run: func(t *Trial) {
		for _, step := range []time.Duration{-time.Hour, time.Hour, 0} {
			t.stepped.Store(int64(step))
			t.pause(3 * time.Second)
		}
		t.ends()
	}},
}
