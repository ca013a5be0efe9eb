package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
)

func newWhy(g *global) *cobra.Command {
	return &cobra.Command{
		Use:   "why [disk]",
		Short: "Answer why logs are late, the disk is full, or no tasks come",
		Long: `Asks the running daemon, and answers in sentences, with the figures and what to do next: why are logs late, why is the disk full,
why does this host get no tasks. Where a disk is full it says besides who owns the bytes.

fairlead why disk says that in any case, also where no daemon runs. The lines sum up to what df says, files that are deleted and still open
included. Every file is looked at, at idle priority, which may take a minute.`,
		Example: `  fairlead why
  fairlead why disk`,
		ValidArgs: []string{"disk"},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "disk" {
				return wrongUsage(fmt.Errorf("%s: no answer to %q (see %s --help)", c.CommandPath(), strings.Join(args, " "), c.CommandPath()))
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			loaded, out := g.source().Load(), c.OutOrStdout()
			if len(args) == 1 {
				return failed(owners(ctx, out, loaded.Config))
			}
			socket := loaded.Config.Control.Socket
			if socket == "" {
				return wrongUsage(errors.New("control.socket is empty: the daemon of this configuration cannot be asked (fairlead why disk needs none)"))
			}
			s, err := agent.Client{Socket: socket}.Status(ctx)
			if err != nil {
				return failed(err)
			}
			answers := agent.Why(s, time.Now())
			if err := explain(out, answers); err != nil {
				return failed(err)
			}
			for _, a := range answers {
				if a.Disk && a.Wrong {
					fmt.Fprintln(out)
					return failed(owners(ctx, out, loaded.Config))
				}
			}
			return nil
		},
	}
}

func explain(out io.Writer, answers []agent.Answer) error {
	for i, a := range answers {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if _, err := fmt.Fprintf(out, "%s\n  %s\n", a.Question, a.Text); err != nil {
			return err
		}
		if a.Next != "" {
			fmt.Fprintf(out, "  Next: %s\n", a.Next)
		}
	}
	return nil
}

// mostOwners is how many are named of a disk.
const mostOwners = 12

// owners says who owns the bytes of each disk. What could not be looked at is said, and is no failure: the answer is for a person.
func owners(ctx context.Context, out io.Writer, c agent.Config) error {
	accounts, err := agent.Disks(ctx, c)
	for i := range accounts {
		if _, err := fmt.Fprintln(out, strings.Join(accounts[i].Sentences(mostOwners, amount), "\n")); err != nil {
			return err
		}
	}
	if err != nil {
		_, err = fmt.Fprintf(out, "Names of containers are missing: %v.\n", err)
	}
	return err
}
