package lab

import "time"

var diskScenarios = []Scenario{
	{Name: "rotation during an outage", What: "the receiver is away for 10 s while files of 100 kB rotate, three of each kept; 2,000 lines/s",
		setup: setup{rate: 2000, maxSize: 100_000},
		run: func(t *Trial) {
			t.kill(0)
			t.pause(10 * time.Second)
			t.revive(0)
			t.ends()
		}},
	{Name: "rotation and a kill", What: "the receiver is away for 10 s while files of 1 MB rotate, and fairlead is killed in the midst of it; 2,000 lines/s",
		setup: setup{rate: 2000, maxSize: 1_000_000},
		run: func(t *Trial) {
			t.kill(0)
			t.pause(5 * time.Second)
			t.killFairlead(200 * time.Millisecond)
			t.pause(5 * time.Second)
			t.revive(0)
			t.ends()
		}},
	{Name: "spool full", What: "max_bytes is 8 MiB and the receiver away for 12 s, 6,000 lines/s: reading pauses, the log files wait",
		setup: setup{rate: 6000, spool: "min_free: 0, max_bytes: 8MiB"},
		run: func(t *Trial) {
			t.kill(0)
			t.pause(12 * time.Second)
			t.revive(0)
			t.ends()
		}},
	{Name: "disk full", What: "the file system of the spool is full to the last page for 8 s, the receiver away in between; 1,000 lines/s",
		setup: setup{rate: 1000, tmpfs: 64 << 20},
		run: func(t *Trial) {
			empty := t.fill(0)
			t.pause(3 * time.Second)
			t.kill(0)
			t.pause(3 * time.Second)
			t.revive(0)
			t.pause(2 * time.Second)
			empty()
			t.ends()
		}},
	{Name: "disk full and a kill", What: "the file system of the spool fills while the receiver is away, and fairlead is killed and started on it",
		setup: setup{rate: 1000, tmpfs: 64 << 20},
		run: func(t *Trial) {
			t.kill(0)
			t.pause(2 * time.Second)
			empty := t.fill(64 << 10)
			t.pause(3 * time.Second)
			t.killFairlead(200 * time.Millisecond)
			t.pause(3 * time.Second)
			empty()
			t.revive(0)
			t.ends()
		}},
	{Name: "min_free reached", What: "less than min_free is left of the file system for 8 s while the receiver is away",
		setup: setup{rate: 1000, tmpfs: 64 << 20, spool: "min_free: 16MiB"},
		run: func(t *Trial) {
			t.kill(0)
			empty := t.fill(8 << 20)
			t.pause(8 * time.Second)
			empty()
			t.revive(0)
			t.ends()
		}},
}
