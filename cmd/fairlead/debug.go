package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
)

func newDebug(g *global) *cobra.Command {
	var last time.Duration
	c := &cobra.Command{
		Use:   "debug on|off",
		Short: "Have the ECS agent and Docker log more, for a time",
		Long: `on: sets ECS_LOGLEVEL=debug in ecs.config and restarts the ECS agent (no task is stopped), and debug in daemon.json, which dockerd reads
again without a restart. off: puts both files back byte for byte. That also happens when the time is over, and at the daemon's first start
after a boot. Where debug is given to dockerd as a flag, nothing is written: with the directive in both places it would not start again.`,
		Example: `  fairlead bundle debug on --for 30m
  fairlead bundle debug off`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "on" && args[0] != "off" {
				return wrongUsage(fmt.Errorf("%s takes on or off, but got %q (see %s --help)", c.CommandPath(), args, c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if last < time.Minute || last > 7*24*time.Hour {
				return wrongUsage(fmt.Errorf("--for: %v is out of range, use 1m to 168h", last))
			}
			if os.Geteuid() != 0 {
				return failed(errors.New("change how the ECS agent and Docker log: only root may (use sudo)"))
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			config := g.source().Load().Config
			d := agent.DebugMode{StateDir: config.State.Dir, For: last}
			var done []string
			var err error
			if args[0] == "off" {
				done, err = d.Off(ctx)
			} else if err = someoneEnds(ctx, agent.Client{Socket: config.Control.Socket}, last, g.config); err == nil {
				done, err = d.On(ctx, time.Now())
			}
			if len(done) > 0 {
				fmt.Fprintln(c.OutOrStdout(), strings.Join(done, "\n"))
			}
			return failed(err)
		},
	}
	c.Flags().DurationVar(&last, "for", time.Hour, "how long")
	return c
}

// someoneEnds sees to it that somebody switches debug logging off: the daemon, or else a timer of systemd.
func someoneEnds(ctx context.Context, daemon agent.Client, after time.Duration, config string) error {
	if daemon.Socket != "" {
		if _, err := daemon.Status(ctx); err == nil {
			return nil
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "systemd-run", "--collect", fmt.Sprintf("--on-active=%ds", int(after.Seconds())+5), exe, "bundle", "debug", "off", "--config", config).CombinedOutput()
	if err != nil {
		return fmt.Errorf("nobody would switch it off again: the daemon does not answer and systemd takes no timer (%s); start the daemon first", strings.TrimSpace(string(out)))
	}
	return nil
}
