package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/pulse"
)

// Verdict is yes, or no with the reasons.
type Verdict struct {
	OK      bool     `json:"ok"`
	Reasons []Reason `json:"reasons"`
}

// Reason is one thing to complain of: a code for programs and a sentence for people.
type Reason struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

func (r Reason) String() string { return r.Text }

// Code names a reason. Other programs rely on them.
type Code string

const (
	Starting      Code = "starting"       // the spool is not open yet
	Stopping      Code = "stopping"       // it ends, or makes way for a new configuration
	NoDestination Code = "no_destination" // forward.to is not set
	LoopStalled   Code = "loop_stalled"   // a loop of ours stands still: the watchdog is not fed any more
	DiskStalled   Code = "disk_stalled"   // a loop of ours stands still because a disk does not answer
	NoAnswer      Code = "no_answer"      // the forwarder does not answer; soon it will be known why
	SpoolFull     Code = "spool_full"     // reading waits
	SpoolFailing  Code = "spool_failing"  // the spool's disk does not do what it should
	NotListening  Code = "not_listening"  // Forward clients cannot reach a configured address
	Unreachable   Code = "unreachable"    // no receiver takes anything
	NotAcked      Code = "not_acked"      // frames wait, and none is acknowledged
	ConfigDrift   Code = "config_drift"   // somebody has written to ecs.config since it was rendered

	// What is wrong with the host.
	LogsLate          Code = health.LogsLate          // logs get on, but too slowly
	SpoolFilling      Code = health.SpoolFilling      // it will be full
	DiskFilling       Code = health.DiskFilling       // a disk is nearly full, or will be within four hours
	DockerHung        Code = health.DockerHung        // the engine takes calls and does not answer
	DockerDown        Code = health.DockerDown        // the engine is not there
	AgentDisconnected Code = health.AgentDisconnected // the ECS agent is silent, or ECS does not hear it
	ClockOff          Code = health.ClockOff          // the clock is wrong, or not kept right any more
)

func judge(reasons ...Reason) Verdict {
	return Verdict{OK: len(reasons) == 0, Reasons: append([]Reason{}, reasons...)}
}

// patience is how long nothing may be acked before that counts. A connection that dies in silence with the last frame on it is noticed
// after ack_timeout; to resolve, connect and prove the next one takes connect_timeout each at most. What takes longer is an outage.
func patience(c *forwarder.Config) time.Duration {
	return c.Forward.AckTimeout + 3*c.Forward.ConnectTimeout
}

// readiness tells whether logs make progress: not whether the parts exist, but whether lines get on.
func (n *life) readiness(st *forwarder.Status, stalls []pulse.Stall, now time.Time) Verdict {
	switch {
	case n == nil:
		return judge(Reason{Starting, "starting"})
	case len(stalls) > 0 && st == nil:
		return judge(stallReasons(stalls)...)
	case n.stopping.Load():
		return judge(Reason{Stopping, "stopping"})
	case n.forwarder == nil:
		return judge(Reason{NoDestination, "forward.to is not set: nothing is read and nothing is forwarded"})
	case st == nil && n.wasReady():
		return judge(Reason{NoAnswer, "the forwarder does not answer"})
	case st == nil:
		return judge(Reason{Starting, "the spool is being opened"})
	}
	reasons := stallReasons(stalls)
	if st.Spool.Full != "" {
		reasons = append(reasons, Reason{SpoolFull, "the spool takes no more: " + st.Spool.Full})
	}
	if st.Spool.Failing != "" {
		reasons = append(reasons, Reason{SpoolFailing, "the spool's disk fails: " + st.Spool.Failing})
	}
	for _, address := range slices.Sorted(maps.Keys(st.Listen.Missing)) {
		reasons = append(reasons, Reason{NotListening, fmt.Sprintf("Forward clients cannot reach %s: %s", address, st.Listen.Missing[address])})
	}
	to, bound := st.Forward, patience(&n.loaded.Config.Forwarder)
	switch {
	case to.Failures > 0 && now.Sub(to.Since) > bound:
		reasons = append(reasons, Reason{Unreachable, fmt.Sprintf("nothing acknowledged since %s, %d attempts: %s",
			to.Since.UTC().Format(time.RFC3339), to.Failures, to.LastError)})
	case st.Spool.PendingFrames > 0 && st.Spool.UnackedSeconds > bound.Seconds():
		reasons = append(reasons, Reason{NotAcked, fmt.Sprintf("%d frames wait in the spool, and for %.0f s none was acknowledged",
			st.Spool.PendingFrames, st.Spool.UnackedSeconds)})
	}
	return judge(append(reasons, n.hostReasons(st, now)...)...)
}

// hostReasons are those that are not about getting logs on.
func (n *life) hostReasons(st *forwarder.Status, now time.Time) []Reason {
	var reasons []Reason
	if n.health != nil { // else still being made
		for _, r := range n.health.Reasons(flowOf(st), now) {
			reasons = append(reasons, Reason{Code(r.Code), r.Text})
		}
	}
	if n.drift != nil {
		if e := n.drift(); e != nil && len(e.Drift) > 0 {
			reasons = append(reasons, Reason{ConfigDrift, fmt.Sprintf("%s was changed by somebody since it was rendered: %s (fairlead render --dry-run --diff shows how)",
				e.File, strings.Join(e.Drift, ", "))})
		}
	}
	return reasons
}

func stallReasons(stalls []pulse.Stall) []Reason {
	var reasons []Reason
	for _, s := range stalls {
		r := Reason{LoopStalled, s.String()}
		if s.Disk {
			r.Code = DiskStalled
		}
		reasons = append(reasons, r)
	}
	return reasons
}
