package pulse

import (
	"fmt"
	"sync"
	"time"
)

// Loop is a loop to look after.
type Loop struct {
	Name  string // "reading loop"
	Pulse *Pulse
}

// Stall is a loop that stands still.
type Stall struct {
	Loop   string
	Doing  string
	Silent time.Duration // since it last showed progress
	Disk   bool          // a disk does not answer: no bug of ours, and a restart would hang in the same place
}

func (s Stall) String() string {
	why := ""
	if s.Disk {
		why = " (the disk does not answer)"
	}
	return fmt.Sprintf("the %s stands still: %s for %s%s", s.Loop, s.Doing, s.Silent.Round(time.Second), why)
}

const (
	// Slack is added to what a loop says a stage takes: a host may be short of processor, memory or disk for a good while, and a
	// restart would only add to that.
	Slack = 30 * time.Second
	// Chance is how long a loop found overdue is given to move. When the process was stopped, all its loops are overdue at once, and
	// who looks at them may be the first to run again.
	Chance = time.Second
)

// Monitor judges loops. It has no goroutine and no timer of its own: it is as attentive as those who ask it.
type Monitor struct {
	Slack, Chance time.Duration
	Threads       string // /proc/self/task

	mu      sync.Mutex // guards what follows
	suspect map[*Pulse]suspicion
}

// suspicion is that a loop was overdue when it was looked at.
type suspicion struct {
	at    int64 // its last progress
	since int64 // when that was first seen
	stuck map[int]bool
}

// NewMonitor has the times that hold in production.
func NewMonitor() *Monitor { return &Monitor{Slack: Slack, Chance: Chance, Threads: "/proc/self/task"} }

// Look judges the loops. A loop that is overdue for the first time is only suspected; it stalls when it has not moved Chance later. The
// second result says that there are suspects, and that it is worth while to ask again after Chance.
func (m *Monitor) Look(loops []Loop) (stalls []Stall, suspects bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := mono()
	var before map[*Pulse]suspicion
	before, m.suspect = m.suspect, nil
	for _, l := range loops {
		stage, at, silent := l.Pulse.Look()
		if stage == nil || silent <= stage.Limit+m.Slack {
			continue
		}
		if m.suspect == nil {
			m.suspect = map[*Pulse]suspicion{}
		}
		s, ok := before[l.Pulse]
		if !ok || s.at != at {
			s = suspicion{at: at, since: now}
			if stage.Disk {
				s.stuck = stuckThreads(m.Threads)
			}
			m.suspect[l.Pulse] = s
			suspects = true
			continue
		}
		m.suspect[l.Pulse] = s
		if time.Duration(now-s.since) < m.Chance {
			suspects = true
			continue
		}
		stalls = append(stalls, Stall{Loop: l.Name, Doing: stage.Doing, Silent: silent, Disk: stage.Disk && stillStuck(m.Threads, s.stuck)})
	}
	return stalls, suspects
}
