package forwarder

import (
	"time"

	"github.com/fairlead/fairlead/internal/pulse"
)

// What the loops may be at. A full spool and a receiver that is down are none of it: the reading loop turns on, and asks the spool
// again every turn.
var (
	awaitTurn = pulse.Stage{Doing: "waiting for its next turn", Limit: slowest}
	inTurn    = pulse.Stage{Doing: "in a turn: reading files, appending to the spool", Disk: true}
	awaitTick = pulse.Stage{Doing: "waiting for the time to end what Forward clients sent", Limit: inSlowest}
	inTick    = pulse.Stage{Doing: "bringing into the spool what Forward clients sent", Disk: true}
	awaitLook = pulse.Stage{Doing: "waiting for the time to look for files", Limit: pollEvery}
	inLook    = pulse.Stage{Doing: "looking for files", Limit: lookLimit, Disk: true}
)

// lookLimit is long: to recognize a rotated file means to unpack it up to where it was read.
const lookLimit = 5 * time.Minute

// Loops are the loops that must go on turning while the forwarder runs, whatever becomes of the receiver.
func (f *Forwarder) Loops() []pulse.Loop {
	loops := []pulse.Loop{{Name: "reading loop", Pulse: &f.reading}, {Name: "search for files", Pulse: &f.looking}}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sender != nil {
		loops = append(loops, pulse.Loop{Name: "sender", Pulse: f.sender.Pulse()})
	}
	if f.in != nil {
		loops = append(loops, pulse.Loop{Name: "listener", Pulse: &f.in.pulse})
	}
	if f.spool != nil {
		loops = append(loops, pulse.Loop{Name: "syncer of the spool", Pulse: f.spool.Pulse()})
	}
	return loops
}
