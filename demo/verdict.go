package demo

import (
	"fmt"
	"strings"
)

// Verdict is what a demo found.
type Verdict struct {
	Count
	ConnectionsLost int64
	Problems        []string // other than with single events
	Details         []string // the first few events that are wrong
	Kept            string   // the folder that was left for a look
}

// OK says that everything that was written arrived as it was written.
func (v Verdict) OK() bool {
	return v.Expected > 0 && v.Events == v.Expected && v.Wrong == 0 && v.Unexpected == 0 && len(v.Problems) == 0
}

// String is the last line of a demo.
func (v Verdict) String() string {
	if v.OK() {
		return fmt.Sprintf("ok: events %d, traces %d, lost 0, repeated %d, connections lost %d", v.Events, v.Traces, v.Repeated, v.ConnectionsLost)
	}
	var wrong []string
	if n := v.Missing(); n > 0 {
		wrong = append(wrong, fmt.Sprintf("lost %d of %d events", n, v.Expected))
	}
	if v.Wrong > 0 {
		wrong = append(wrong, fmt.Sprintf("%d events with another text", v.Wrong))
	}
	if v.Unexpected > 0 {
		wrong = append(wrong, fmt.Sprintf("%d events that were never written", v.Unexpected))
	}
	if v.Expected == 0 {
		wrong = append(wrong, "nothing was written")
	}
	wrong = append(wrong, v.Problems...)
	return fmt.Sprintf("FAILED: %s (events %d, traces %d, repeated %d, connections lost %d)",
		strings.Join(wrong, "; "), v.Events, v.Traces, v.Repeated, v.ConnectionsLost)
}
