package main

import (
	"errors"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
)

func newRun(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Forward the logs: the daemon",
		Long: `Reads the logs of all containers and the configured files, folds and spools them and forwards them to forward.to.

SIGHUP reads the configuration again; one that is not valid is refused and the former stays. The first SIGTERM or SIGINT
stops in order and sends what is spooled for forward.grace, a second one ends that. Whatever is not sent by then is in
the spool or still in the log files, and goes out after the next start.`,
		Example: `  fairlead run
  FAIRLEAD_FORWARD_TO=fluentd.example:24224 fairlead run --log-format json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := g.logger(c.ErrOrStderr())
			if err != nil {
				return err
			}
			v, rev := build()
			err = agent.New(g.source(), agent.Build{Version: v, Commit: rev, Go: runtime.Version()}, log).Run(c.Context())
			if errors.Is(err, agent.ErrConfig) {
				return wrongUsage(err)
			}
			return failed(err)
		},
	}
}
