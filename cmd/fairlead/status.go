package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
)

func newStatus(g *global) *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Say what the running daemon does",
		Long: `Asks the daemon over its control socket: the flow, how far each log lags, what the spool holds, the address in use, and the
books, which must balance.`,
		Example: `  fairlead status
  fairlead status --watch
  fairlead status --json | jq .forwarder.ledger`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// The daemon may run with a former configuration; where its socket is can be read from one with errors as well.
			socket := g.source().Load().Config.Control.Socket
			if socket == "" {
				return wrongUsage(errors.New("control.socket is empty: the daemon of this configuration cannot be asked"))
			}
			client, out := agent.Client{Socket: socket}, c.OutOrStdout()
			if !watch {
				return failed(printStatus(c.Context(), out, client, asJSON, nil))
			}
			return failed(watchStatus(c.Context(), out, client, asJSON))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the daemon's answer as JSON")
	c.Flags().BoolVar(&watch, "watch", false, "go on each second, with rates, until interrupted")
	return c
}

// watchStatus prints the status each second until it is interrupted.
func watchStatus(ctx context.Context, out io.Writer, client agent.Client, asJSON bool) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	former := &former{}
	for {
		if isTerminal(out) && !asJSON {
			fmt.Fprint(out, "\x1b[H\x1b[2J") // home, clear
		}
		if err := printStatus(ctx, out, client, asJSON, former); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !isTerminal(out) && !asJSON {
			fmt.Fprintln(out)
		}
	}
}

// former is the status a second ago, for rates.
type former struct {
	at     time.Time
	status agent.Status
}

func printStatus(ctx context.Context, out io.Writer, client agent.Client, asJSON bool, before *former) error {
	if asJSON {
		text, err := client.Raw(ctx)
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	_, err = io.WriteString(out, describe(s, before, now))
	if before != nil {
		*before = former{now, s}
	}
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
