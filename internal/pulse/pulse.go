// Package pulse lets a loop prove that it makes progress, at the cost of two atomic stores in places that run anyway, and lets
// anybody else look at it. A loop says what it is about to do and how long that may take at most before it says something
// again; one that is silent for longer than that stands still. Waiting for something outside, as for a receiver that is
// down, is no silence: such a wait is done in steps of known length, and each is announced.
//
// Time is the monotonic clock, so a step of the wall clock stops no loop. It does go on while the process is stopped (SIGSTOP), so
// whoever judges gives an overdue loop the time to move before it draws a conclusion: see Monitor.
package pulse

import (
	"sync/atomic"
	"time"
)

// Stage is what a loop may be at. Stages are made once and shared.
type Stage struct {
	Doing string        // as the end of "the loop is ...": "waiting for the next turn"
	Limit time.Duration // how long this takes at most
	Disk  bool          // it waits for a disk, which may hang however sound we are
}

// Pulse is written by one loop, its owner, and read by anybody. The zero value is that of a loop that does not run: nothing is
// expected of it.
type Pulse struct {
	at    atomic.Int64
	stage atomic.Pointer[Stage]
}

// Enter says what the loop is about to do, which is progress.
func (p *Pulse) Enter(s *Stage) {
	// The time comes first, and Look takes the stage first: so a new stage is never judged by the time of the one before.
	p.at.Store(mono())
	p.stage.Store(s)
}

// Beat says that the loop makes progress in what it is at. Others who do its work may call it for it.
func (p *Pulse) Beat() { p.at.Store(mono()) }

// End says that the loop ends.
func (p *Pulse) End() { p.stage.Store(nil) }

// Look answers what the loop is at, and since when it showed no progress; at names that moment. There is no stage of a loop that does
// not run.
func (p *Pulse) Look() (stage *Stage, at int64, silent time.Duration) {
	stage = p.stage.Load()
	at = p.at.Load()
	return stage, at, time.Duration(mono() - at)
}

var epoch = time.Now()

func mono() int64 { return int64(time.Since(epoch)) }
