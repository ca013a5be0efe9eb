package agent

import (
	"fmt"
	"time"

	"github.com/fairlead/fairlead/forwarder"
)

// patience is how long the receiver may be out of reach, or leave what was sent unanswered, before that counts: reconnecting
// after an idle drop or a deployment takes less.
const patience = 30 * time.Second

// readiness tells whether logs make progress: not whether the parts exist, but whether lines get on.
func (n *life) readiness(st *forwarder.Status, now time.Time) Verdict {
	switch {
	case n == nil:
		return judge("starting")
	case n.stopping.Load():
		return judge("stopping")
	case n.forwarder == nil:
		return judge("forward.to is not set: nothing is read and nothing is forwarded")
	case st == nil:
		return judge("the spool is being opened")
	}
	var reasons []string
	if st.Stalled {
		reasons = append(reasons, "the reading loop does not answer")
	}
	if st.Spool.Full != "" {
		reasons = append(reasons, "the spool takes no more: "+st.Spool.Full)
	}
	if st.Spool.Failing != "" {
		reasons = append(reasons, "the spool's disk fails: "+st.Spool.Failing)
	}
	for address, why := range st.Listen.Missing {
		reasons = append(reasons, fmt.Sprintf("Forward clients cannot reach %s: %s", address, why))
	}
	to := st.Forward
	switch {
	case to.Failures > 0 && now.Sub(to.Since) > patience:
		reasons = append(reasons, fmt.Sprintf("nothing acknowledged since %s, %d attempts: %s",
			to.Since.UTC().Format(time.RFC3339), to.Failures, to.LastError))
	case st.Spool.PendingFrames > 0 && st.Spool.OldestSeconds > patience.Seconds() && now.Sub(to.LastAck) > patience:
		reasons = append(reasons, fmt.Sprintf("events wait in the spool for %.0f s and none is acknowledged", st.Spool.OldestSeconds))
	}
	return judge(reasons...)
}
