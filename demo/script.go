package demo

import "time"

// The script of a demo: all that happens is told by the time since its start. Everything writes for a while, then is silent for
// longer than the balancer keeps an idle connection; in the midst of the writing the receiver dies.
const (
	burst     = 3500 * time.Millisecond
	pauseFor  = 3500 * time.Millisecond
	idleDrop  = 2 * time.Second
	killAt    = 1500 * time.Millisecond // in each burst
	killFor   = 1 * time.Second
	dumbFor   = 60 * time.Millisecond // before it dies, the receiver takes data and its acks get lost
	removeAt  = 2 * time.Second       // in each burst, the oldest container is to leave
	removeAge = 1 * time.Second       // of its log file, at least

	writeEvery = 5 * time.Millisecond
	longest    = 100 * time.Millisecond // between two groups of one container
	slowdown   = 2                      // the originals were written at full load
)

// act is what goes on at one moment.
type act struct {
	round   int // of burst and pause
	writing bool
	dumb    bool // the receiver
	down    bool
	leave   bool // a container is to be removed in this round
	left    time.Duration
}

func actAt(elapsed time.Duration) act {
	in := elapsed % (burst + pauseFor)
	a := act{round: int(elapsed / (burst + pauseFor)), writing: in < burst}
	if a.left = burst - in; !a.writing {
		a.left = burst + pauseFor - in
	}
	a.dumb = in >= killAt-dumbFor && in < killAt
	a.down = in >= killAt && in < killAt+killFor
	a.leave = a.writing && in >= removeAt
	return a
}

// pace says when a container writes what.
type pace struct {
	player player
	due    time.Time
}

// next is the group that is to be written now, or nil. After a silence nothing is caught up with.
func (p *pace) next(now time.Time) *group {
	if now.Sub(p.due) > 10*writeEvery {
		p.due = now
	}
	if p.due.After(now) {
		return nil
	}
	g := p.player.group()
	p.due = p.due.Add(max(writeEvery/10, min(longest, slowdown*g.gap)))
	return g
}
