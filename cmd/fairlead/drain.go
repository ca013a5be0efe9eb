package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/agent/drain"
)

func newDrain(g *global) *cobra.Command {
	var wait time.Duration
	var undo bool
	c := &cobra.Command{
		Use:   "drain",
		Short: "Take the instance out of service, and wait for its tasks and logs",
		Long: `Has the running daemon set the container instance DRAINING, wait until its tasks have ended, and then until Fluentd has acknowledged every
line that is in the logs of the host. ECS replaces and stops the tasks of services; those of none are stopped where drain.stop_standalone
is set, and waited for otherwise. On a host without an ECS agent, only the logs are waited for.

The daemon does the same by itself when EC2 announces the end of a Spot instance, or Auto Scaling takes the instance out.

Exit code 0 says that all is done; 1, that tasks still run or logs were not delivered in time. Interrupted, it goes on in the daemon. With
--undo the instance is set ACTIVE again.`,
		Example: `  fairlead drain
  fairlead drain --wait 30m && shutdown -h now
  fairlead drain --undo`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			waits := c.Flags().Changed("wait")
			if waits && undo {
				return wrongUsage(errors.New("--undo waits for nothing: leave --wait out"))
			}
			if waits {
				if err := drain.CheckWait(wait); err != nil {
					return wrongUsage(fmt.Errorf("--wait: %w", err))
				}
			}
			socket := g.source().Load().Config.Control.Socket
			if socket == "" {
				return wrongUsage(errors.New("control.socket is empty: the daemon of this configuration cannot be asked"))
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			client := agent.Client{Socket: socket}
			line := func(text string) {
				fmt.Fprintf(c.OutOrStdout(), "%s  %s\n", time.Now().Format("15:04:05"), text)
			}
			if undo {
				if err := client.TakeBack(ctx, line); err != nil {
					return failed(fmt.Errorf("drain --undo: %w", err))
				}
				line("the instance is back in service")
				return nil
			}
			err := client.Drain(ctx, wait, line)
			if ctx.Err() != nil {
				return failed(errors.New("drain: interrupted; it goes on in the daemon (to take it back: fairlead drain --undo)"))
			}
			if err != nil {
				return failed(fmt.Errorf("drain: %w", err))
			}
			line("done: no task runs, and all logs are delivered")
			return nil
		},
	}
	c.Flags().DurationVar(&wait, "wait", 0, "wait for tasks and logs so long at the most (drain.wait if it is not given)")
	c.Flags().BoolVar(&undo, "undo", false, "take the instance back into service")
	return c
}
