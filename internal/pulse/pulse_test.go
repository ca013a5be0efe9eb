package pulse

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	resting = Stage{Doing: "resting", Limit: 10 * time.Second}
	writing = Stage{Doing: "writing", Disk: true}
)

// threads makes a folder like /proc/self/task with one thread in the state.
func threads(t *testing.T, dir, state string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "17"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "17", "stat"), []byte("17 (fair) D (x) "+state+" 1 17 17 0"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMonitor(t *testing.T) {
	for _, c := range []struct {
		name  string
		stage *Stage
		state string
		after time.Duration
		moves func(p *Pulse) // between the looks
		want  string         // empty: no stall
	}{
		{"rests in time", &resting, "S", resting.Limit + Slack, nil, ""},
		{"rests too long", &resting, "D", resting.Limit + Slack + 1, nil, "the loop stands still: resting for 41s"},
		{"beats after the first look", &resting, "S", time.Hour, func(p *Pulse) { p.Beat() }, ""},
		{"goes on after the first look", &resting, "S", time.Hour, func(p *Pulse) { p.Enter(&writing) }, ""},
		{"ends after the first look", &resting, "S", time.Hour, func(p *Pulse) { p.End() }, ""},
		{"writes, and no disk hangs", &writing, "S", Slack + 1, nil, "the loop stands still: writing for 31s"},
		{"writes, and the disk hangs", &writing, "D", Slack + 1, nil, "(the disk does not answer)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			threads(t, dir, c.state)
			synctest.Test(t, func(t *testing.T) {
				m := NewMonitor()
				m.Threads = dir
				var p Pulse
				loops := []Loop{{"loop", &p}}
				look := func() string {
					stalls, _ := m.Look(loops)
					if len(stalls) > 1 {
						t.Fatalf("%v", stalls)
					}
					for _, s := range stalls {
						return s.String()
					}
					return ""
				}
				if got := look(); got != "" {
					t.Errorf("before it runs: %s", got)
				}
				p.Enter(c.stage)
				time.Sleep(c.after)
				if got := look(); got != "" {
					t.Errorf("judged at the first look: %s", got)
				}
				if c.moves != nil {
					c.moves(&p)
				}
				time.Sleep(Chance - 1)
				if got := look(); got != "" {
					t.Errorf("judged before it had its chance: %s", got)
				}
				time.Sleep(time.Nanosecond)
				if got := look(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if got := look(); (got == "") != (c.want == "") {
					t.Errorf("asked again: %q, want %q", got, c.want)
				}
				p.Enter(c.stage)
				if got := look(); got != "" {
					t.Errorf("after it went on: %q", got)
				}
			})
		})
	}
}

// A disk is to blame only if a thread waits for it both times: one that syncs now and then is none.
func TestDiskThatAnswers(t *testing.T) {
	dir := t.TempDir()
	threads(t, dir, "D")
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor()
		m.Threads = dir
		var p Pulse
		p.Enter(&writing)
		time.Sleep(time.Minute)
		_, suspects := m.Look([]Loop{{"loop", &p}})
		threads(t, dir, "S")
		time.Sleep(Chance)
		stalls, _ := m.Look([]Loop{{"loop", &p}})
		if !suspects || len(stalls) != 1 || stalls[0].Disk {
			t.Errorf("suspects %v, stalls %+v, want one that the disk is not to blame for", suspects, stalls)
		}
	})
}

// What the loops do hundreds of times a second costs next to nothing.
func BenchmarkEnter(b *testing.B) {
	var p Pulse
	for b.Loop() {
		p.Enter(&writing)
	}
}
