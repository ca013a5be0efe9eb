package agent

import (
	"fmt"
	"os"
	"time"

	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/document"
)

// Status is what the control socket answers: what the daemon does at this moment.
type Status struct {
	Build
	PID     int          `json:"pid"`
	Started time.Time    `json:"started"`
	Config  ConfigStatus `json:"config"`
	Ready   Verdict      `json:"ready"`

	Forwarder *forwarder.Status `json:"forwarder,omitempty"` // absent: there is nowhere to forward to
}

// ConfigStatus says which configuration is at work, and what was wrong with one that was read since and refused.
type ConfigStatus struct {
	Files     []string           `json:"files"`
	Variables int                `json:"variables"`
	Hash      string             `json:"hash"`
	Refused   string             `json:"refused,omitempty"` // why the configuration that was read last is not at work
	Findings  []document.Finding `json:"findings,omitempty"`
}

// Verdict is yes, or no with the reasons.
type Verdict struct {
	OK      bool     `json:"ok"`
	Reasons []string `json:"reasons"`
}

func judge(reasons ...string) Verdict {
	return Verdict{OK: len(reasons) == 0, Reasons: append([]string{}, reasons...)}
}

// Status asks all parts.
func (a *Agent) Status() Status {
	n, st := a.ask()
	s := Status{Build: a.build, PID: os.Getpid(), Started: a.started, Ready: n.readiness(st, time.Now()), Forwarder: st}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Config = ConfigStatus{a.loaded.Files, a.loaded.Variables, hash(a.loaded.Config), a.refused.reason, a.refused.findings}
	return s
}

// ask answers the life at work and what its forwarder says: nothing where there is none, or its loops do not run.
func (a *Agent) ask() (*life, *forwarder.Status) {
	a.mu.Lock()
	n := a.now
	a.mu.Unlock()
	if n == nil || n.forwarder == nil || !n.wasReady() || n.stopping.Load() {
		return n, nil
	}
	st := n.forwarder.Status()
	return n, &st
}

// alive tells whether the loops turn. To be without work, or still opening the spool, is no fault.
func (a *Agent) alive() Verdict {
	if n, st := a.ask(); st != nil && st.Stalled && !n.stopping.Load() {
		return judge("the reading loop does not answer")
	}
	return judge()
}

func (a *Agent) ready() Verdict {
	n, st := a.ask()
	return n.readiness(st, time.Now())
}

// summary is the one line that systemctl status shows.
func (a *Agent) summary() string {
	n, st := a.ask()
	if v := n.readiness(st, time.Now()); !v.OK {
		return v.Reasons[0]
	}
	to := st.Forward.Address
	if to == "" {
		to = "nobody yet"
	}
	return fmt.Sprintf("forwarding %d sources to %s, %d events acknowledged", len(st.Sources), to, st.Ledger.Acked)
}
