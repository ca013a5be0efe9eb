package fluent

import (
	"time"

	"github.com/fairlead/fairlead/internal/pulse"
)

// stages are what the sender's goroutine may be at, each with an end in sight: no receiver, no balancer and no resolver can hold it
// for longer. So an outage, however long, is a series of stages, and silence is a fault of ours.
//
// While frames are in flight the ack reader shows progress for it: as often as it looks at the clock and finds the oldest frame not
// overdue. With nothing in flight it does not, for then a writer that waits for acks waits in vain.
type stages struct {
	idle, queue, pause, connect, ping, write, acks, end pulse.Stage
}

func newStages(cfg *Config, t *tune) stages {
	acks := cfg.AckTimeout + t.drain
	// All addresses of all entries in a few groups one after another, each of which shows progress: resolve, connect, TLS and handshake.
	connect := time.Duration(len(cfg.To)) * (maxTargets*t.stagger + 8*cfg.ConnectTimeout)
	return stages{
		idle:    pulse.Stage{Doing: "waiting for frames to send", Limit: max(cfg.Heartbeat, acks)},
		queue:   pulse.Stage{Doing: "reading frames from the spool", Disk: true},
		pause:   pulse.Stage{Doing: "pausing after a failure", Limit: max(t.maxBackoff, t.slowBackoff, t.queueRetry, t.oneWait)},
		connect: pulse.Stage{Doing: "resolving, connecting or in a handshake", Limit: connect},
		ping:    pulse.Stage{Doing: "waiting for the answer to a ping", Limit: max(cfg.AckTimeout, t.pingWait)},
		write:   pulse.Stage{Doing: "writing to the receiver", Limit: acks},
		acks:    pulse.Stage{Doing: "waiting for acks", Limit: acks},
		end:     pulse.Stage{Doing: "drawing conclusions from a failure, or from the end of a connection", Limit: t.drain},
	}
}

// Pulse shows the progress of Run.
func (s *Sender) Pulse() *pulse.Pulse { return &s.pulse }
