package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/fairlead/fairlead/agent/drain"
	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/cleanup"
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
	Taps    int          `json:"taps"` // how many look at events as they pass

	Forwarder *forwarder.Status `json:"forwarder,omitempty"`  // absent: there is nowhere to forward to
	ECSConfig *ECSStatus        `json:"ecs_config,omitempty"` // absent: no ECS agent is configured on this host
	Health    *health.Status    `json:"health,omitempty"`     // absent: still starting
	Cleanup   *cleanup.Status   `json:"cleanup,omitempty"`    // absent: it is off
	Bundle    *BundleStatus     `json:"bundle,omitempty"`     // absent: this daemon was asked for none
	Drain     drain.Status      `json:"drain"`
}

// ConfigStatus says which configuration is at work, and what was wrong with one that was read since and refused.
type ConfigStatus struct {
	Files     []string           `json:"files"`
	Variables int                `json:"variables"`
	Hash      string             `json:"hash"`
	Refused   string             `json:"refused,omitempty"` // why the configuration that was read last is not at work
	Findings  []document.Finding `json:"findings,omitempty"`
}

// status asks all parts.
func (a *Agent) status(ctx context.Context) Status {
	stalls := a.stalls(ctx)
	n, st := a.ask()
	s := Status{Build: a.build, PID: os.Getpid(), Started: a.started, Ready: n.readiness(st, stalls, time.Now()), Forwarder: st, ECSConfig: a.ecs.Status(), Taps: a.taps.Watching(), Bundle: a.bundles.Status(), Drain: a.drain.Status()}
	if n != nil {
		h := n.health.Status()
		s.Health = &h
	}
	if n != nil && n.cleaner != nil && n.loaded.Config.Cleanup.Enabled {
		c := n.cleaner.Status()
		s.Cleanup = &c
	}
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
	return n, a.askForwarder(n.forwarder)
}

// answerWithin is how long a forwarder whose loops turn takes to answer, at the very most.
const answerWithin = 3 * time.Second

// question is one that a forwarder is asked. All who want to know at the time wait for the same answer.
type question struct {
	answered chan struct{}
	answer   forwarder.Status
}

// askForwarder asks in a goroutine of its own, one at a time: a loop that stands still may hold what the answer needs, and who asks
// wants to hear of just that. There is no answer then.
func (a *Agent) askForwarder(f *forwarder.Forwarder) *forwarder.Status {
	a.asking.Lock()
	q := a.question
	if q == nil {
		q = &question{answered: make(chan struct{})}
		a.question = q
		go func() {
			q.answer = f.Status()
			a.asking.Lock()
			a.question = nil
			a.asking.Unlock()
			close(q.answered)
		}()
	}
	a.asking.Unlock()
	timer := time.NewTimer(answerWithin)
	defer timer.Stop()
	select {
	case <-q.answered:
		return &q.answer
	case <-timer.C:
		return nil
	}
}

// alive tells whether the loops turn. To be without work, or still opening the spool, is no fault.
func (a *Agent) alive(ctx context.Context) Verdict { return judge(stallReasons(a.stalls(ctx))...) }

func (a *Agent) ready(ctx context.Context) Verdict {
	stalls := a.stalls(ctx)
	if curable(stalls) {
		return judge(stallReasons(stalls)...) // whom the loop would keep waiting as well
	}
	n, st := a.ask()
	return n.readiness(st, stalls, time.Now())
}

// summary is the one line that systemctl status shows.
func (a *Agent) summary() string {
	n, st := a.ask()
	if v := n.readiness(st, nil, time.Now()); !v.OK {
		return v.Reasons[0].Text
	}
	to := st.Forward.Address
	if to == "" {
		to = "nobody yet"
	}
	return fmt.Sprintf("forwarding %d sources to %s, %d events acknowledged", len(st.Sources), to, st.Ledger.Acked)
}
