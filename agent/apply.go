package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/agent/ecsconfig"
)

// agentPatience is how long a restarted agent is given to answer.
const agentPatience = 90 * time.Second

// Apply writes the file, if it is to change, notes what was written for the daemon, and has the ECS agent started again if it
// runs and now sees other settings. It answers what was done, in sentences.
func (r Rendering) Apply(ctx context.Context, out Rendered) (done []string, err error) {
	if string(out.Text) != string(out.Before) {
		if err := ecsconfig.Write(r.Output, out.Text, out.Secret); err != nil {
			return nil, fmt.Errorf("write %s: %w", r.Output, err)
		}
		done = append(done, fmt.Sprintf("wrote %s: %s", r.Output, Summary(out.Changes)))
		if out.Before != nil {
			done = append(done, "what was replaced is in "+r.Output+ecsconfig.BackupSuffix)
		}
	} else {
		done = append(done, r.Output+" is right as it stands")
		// A secret may have come with a former version, or by another hand, and be open to all.
		if out.Secret {
			if err := ecsconfig.Narrow(r.Output); err != nil {
				return done, fmt.Errorf("keep %s for root alone: %w", r.Output, err)
			}
		}
	}
	if !r.isHost() {
		return done, nil
	}
	if err := r.host.remember(out); err != nil {
		done = append(done, fmt.Sprintf("drift cannot be told from now on: %v", err))
	}
	told, err := r.tell(ctx, out)
	if told != "" {
		done = append(done, told)
	}
	if err != nil {
		return done, err
	}
	how := r.Restart
	if how == "" {
		how = out.config.ECS.Restart
	}
	if len(out.Changes) == 0 {
		return done, nil
	}
	what, err := r.host.restart(ctx, how)
	return append(done, what), err
}

// tell keeps what user data says to the daemon, and has it read its configuration again if that is not what it was.
func (r Rendering) tell(ctx context.Context, out Rendered) (string, error) {
	former, err := readKept(out.dir)
	if out.Invalid || err == nil && former.equal(out.keep) {
		return "", nil
	}
	before := r.Source.Load() // as the daemon has it
	if err := out.keep.write(out.dir); err != nil {
		return "", fmt.Errorf("keep what user data says for the daemon: %w", err)
	}
	reload := r.reload
	if reload == nil {
		reload = Client{Socket: before.Config.Control.Socket}.Reload
	}
	switch err := reload(ctx); {
	case err == nil:
		return "told the daemon what user data now says to it", nil
	case errors.As(err, new(*noDaemonError)):
		return "kept what user data says for the daemon, which reads it when it starts", nil
	default:
		return fmt.Sprintf("kept what user data says for the daemon, which reads it at its next reload: %v", err), nil
	}
}

// Summary names what changes, without values.
func Summary(changes []ecsconfig.Change) string {
	if len(changes) == 0 {
		return "nothing that the agent sees"
	}
	var parts []string
	for _, c := range changes {
		how := " changed"
		switch {
		case !c.Was:
			how = " set"
		case !c.Is:
			how = " removed"
		}
		parts = append(parts, cmp.Or(c.Key, "a line without a name")+how)
	}
	return strings.Join(parts, ", ")
}

// restart has a running agent started again.
func (h ecsHost) restart(ctx context.Context, how string) (string, error) {
	s := h.service()
	state, err := s.State(ctx)
	switch {
	case err != nil:
		return "the ECS agent is not restarted: " + err.Error(), nil
	case state.Failed:
		return fmt.Sprintf("the ECS agent has failed and is not started (once that is mended: systemctl start %s)", s.Unit), nil
	case !state.Running:
		return "the ECS agent does not run: it reads the file when it starts", nil
	case how == ecsconfig.Never:
		return "the ECS agent is not restarted (never): it works with its former settings until it is", nil
	}
	if err := s.Restart(ctx, state); err != nil {
		return "", fmt.Errorf("restart the ECS agent: %w", err)
	}
	if state.Behind != "" {
		return fmt.Sprintf("the ECS agent starts again when %s has ended", state.Behind), nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentPatience)
	defer cancel()
	m, err := s.Await(ctx, h.agent(), state)
	if err != nil {
		return "the ECS agent was restarted", err
	}
	return fmt.Sprintf("the ECS agent was restarted and answers: %s, cluster %s", m.Version, m.Cluster), nil
}
