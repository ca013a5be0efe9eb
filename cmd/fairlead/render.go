package main

import (
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/instance"
)

func newRender(g *global) *cobra.Command {
	r := agent.Rendering{}
	var dryRun, diff, strict bool
	c := &cobra.Command{
		Use:   "render",
		Short: "Write ecs.config from user data and settings",
		Long: `Makes the ECS agent's configuration of what stands in the file, what the scripts in the user data write, ecs.settings of
fairlead.yaml and the fairlead part of the user data, each before the next. Scripts are read, never run. What was plainly
meant is corrected, what the agent would not survive is left out, and everything is said with its place and the fix.

The file is replaced only if it changes, at once and whole; the agent is restarted only if it runs and sees other settings.`,
		Example: `  fairlead render
  fairlead render --user-data ./user-data.sh --dry-run --diff
  aws ec2 describe-instance-attribute ... | fairlead render --user-data - --output ./ecs.config`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if r.Restart != "" && r.Restart != ecsconfig.Auto && r.Restart != ecsconfig.Never {
				return wrongUsage(fmt.Errorf("--restart %q: use auto or never", r.Restart))
			}
			r.Source, r.Stdin = g.source(), c.InOrStdin()
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			out, err := r.Plan(ctx)
			for _, f := range out.Findings {
				fmt.Fprintln(c.ErrOrStderr(), f)
			}
			if errors.Is(err, agent.ErrConfig) {
				return wrongUsage(err)
			}
			if err != nil {
				return failed(err)
			}
			if err := ctx.Err(); err != nil {
				return failed(fmt.Errorf("render %s: %w", r.Output, err))
			}
			w := c.OutOrStdout()
			switch {
			case diff:
				_, err = io.WriteString(w, out.Diff(r.Output, out.Before))
			case dryRun:
				_, err = io.WriteString(w, out.Shown(out.Text))
			}
			if err != nil {
				return failed(err)
			}
			if !dryRun {
				done, err := r.Apply(ctx, out)
				if len(done) > 0 && !diff {
					_, _ = fmt.Fprintln(w, strings.Join(done, "\n")) // what was done stays done, whoever reads it
				}
				if err != nil {
					return failed(err)
				}
			}
			return verdict(out, strict)
		},
	}
	c.Flags().StringVar(&r.UserData, "user-data", "", "user data `file`, - for stdin (default: EC2's metadata service, then cloud-init's copy)")
	c.Flags().StringVar(&r.Output, "output", agent.ECSConfig, "the `file` to write; what stands in it now counts too")
	c.Flags().StringVar(&r.Restart, "restart", "", "restart a running ECS agent after a change: auto or never (default: ecs.restart)")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "write nothing, print what would be written")
	c.Flags().BoolVar(&diff, "diff", false, "print what changes; it is written all the same, but with --dry-run")
	c.Flags().BoolVar(&strict, "strict", false, "exit code 1 if there is any finding")
	return c
}

// verdict is the exit code: 0 if the file is right now.
func verdict(out agent.Rendered, strict bool) error {
	switch {
	case out.Refused != "":
		return failed(errors.New(out.Refused))
	case len(out.Missing) > 0:
		return failed(fmt.Errorf("%s could not be looked up and had no former value", strings.Join(out.Missing, ", ")))
	case out.Unread != nil && !errors.Is(out.Unread, instance.ErrOff):
		return failed(errors.New("the user data could not be read; what it asks for is missing"))
	case out.Invalid:
		return failed(errors.New("with what user data says the configuration of fairlead is not valid; the daemon keeps the former"))
	case strict && len(out.Findings) > 0:
		return failed(fmt.Errorf("%d findings, %d of them errors", len(out.Findings), document.Count(out.Findings, document.Error)))
	}
	return nil
}
