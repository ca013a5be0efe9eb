package agent

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/instance"
	"github.com/fairlead/fairlead/internal/introspection"
)

// newHealth makes what watches the host while n is at work.
func (a *Agent) newHealth(n *life) (*health.Health, error) {
	return health.New(n.loaded.Config.Health, health.Parts{
		Host:    a.host,
		Agent:   introspection.Client{Base: a.ecs.host.agent()},
		AWS:     awsConfig,
		Say:     n.say,
		Around:  a.around,
		History: a.history,
	}, a.log, n.registry)
}

// say hands an event to Fluentd; where there is none to hand it to, the log has it already.
func (n *life) say(ctx context.Context, tag string, at time.Time, record map[string]any) error {
	if n.forwarder == nil {
		return nil
	}
	return n.forwarder.Say(ctx, tag, at, record)
}

// tellType finds out which type of instance this is, for what its processors may do. Nothing waits for it.
func (a *Agent) tellType(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, instanceWithin)
	defer cancel()
	name, err := instance.NewIMDS().Metadata(ctx, "instance-type")
	if err != nil {
		a.log.Debug("the type of the instance is not known", "err", err)
		return
	}
	a.host.SetInstanceType(name)
}

// around is what health is told of the rest of the daemon.
func (a *Agent) around() health.Around {
	n, st := a.ask()
	v := n.readiness(st, nil, time.Now())
	out := health.Around{Flow: flowOf(st), Reasons: reasonsFor(v)}
	if n != nil && n.cleaner != nil {
		out.UntilFull = n.cleaner.Forecast()
	}
	return out
}

func reasonsFor(v Verdict) []health.Reason {
	reasons := make([]health.Reason, len(v.Reasons))
	for i, r := range v.Reasons {
		reasons[i] = health.Reason{Code: string(r.Code), Text: r.Text}
	}
	return reasons
}

// view is what the status page shows.
func (a *Agent) view(ctx context.Context) health.View {
	s := a.status(ctx)
	v := health.View{
		Now: time.Now(), Version: s.Version, Started: s.Started, Instance: a.instance.known(), OK: s.Ready.OK, Reasons: reasonsFor(s.Ready),
		Flow: flowOf(s.Forwarder), History: a.history,
	}
	if s.Health != nil {
		v.Status = *s.Health
	}
	return v
}

// maxFlowSources bounds how many logs are told one by one.
const maxFlowSources = 12

// flowOf sums up what a forwarder does.
func flowOf(st *forwarder.Status) *health.Flow {
	if st == nil {
		return nil
	}
	f := &health.Flow{
		Count: len(st.Sources), Pending: st.Spool.PendingEvents, PendingBytes: st.Spool.PendingBytes, CapacityBytes: st.Spool.CapacityBytes,
		OldestSeconds: st.Spool.OldestSeconds, Acked: st.Ledger.Acked, Lost: st.Ledger.Lost, SetAside: st.Ledger.SetAside, Imbalance: st.Ledger.Imbalance,
		Connected: st.Forward.Connected, LastAck: st.Forward.LastAck,
	}
	if st.Forward.Address != "" {
		f.Receiver = st.Forward.Address
	}
	if st.Forward.Failures > 0 {
		f.Failing = st.Forward.LastError
	}
	sources := slices.Clone(st.Sources)
	slices.SortStableFunc(sources, func(a, b forwarder.SourceStatus) int {
		if a.LagBytes != b.LagBytes {
			return cmp.Compare(b.LagBytes, a.LagBytes)
		}
		return cmp.Compare(a.QuietSeconds, b.QuietSeconds)
	})
	for i, s := range sources {
		f.LagBytes, f.ReadBytes, f.Lines, f.Events = f.LagBytes+s.LagBytes, f.ReadBytes+s.ReadBytes, f.Lines+s.Lines, f.Events+s.Events
		if i < maxFlowSources {
			f.Sources = append(f.Sources, health.FlowSource{Tag: s.Tag, Path: s.Path, LagBytes: s.LagBytes, Lines: s.Lines, QuietSeconds: s.QuietSeconds})
		}
	}
	return f
}
