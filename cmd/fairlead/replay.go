package main

import (
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/internal/objects"
)

func newReplay(g *global) *cobra.Command {
	var setAside bool
	c := &cobra.Command{
		Use:   "replay FILE... | s3://BUCKET/KEY... | --set-aside",
		Short: "Send again what was set aside, or what a file of a spool holds",
		Long: `Brings frames back into the spool, through the running daemon or, if none runs, into the spool itself. They are then sent
like any others, behind what is in it.

--set-aside takes the frames that a receiver refused while it took later ones of the same tag; each file is removed when its
frames are on disk in the spool. FILE is any file of a spool: a .bad file, or a segment copied from another host. s3:// names what
an instance spilled when it was taken out of service (drain.spill); with a slash at its end, all below it. These stay, and all frames
in them are sent, also those that were acknowledged before.

Exit code 1 says that a part was no whole record or could not be sent; what could be is in the spool.`,
		Example: `  fairlead replay --set-aside
  fairlead replay /var/lib/fairlead/spool/0000000300000000.bad
  fairlead replay s3://my-logs/spilled/i-0123456789abcdef0/`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := replayArgs(c, args, setAside); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			loaded := g.source().Load()
			if !loaded.OK() {
				return wrongUsage(fmt.Errorf("the configuration %s is not valid (fairlead check lists what is wrong)", g.config))
			}
			log, err := g.logger(c.ErrOrStderr())
			if err != nil {
				return err
			}
			r := agent.Replay{Config: loaded.Config, Log: log, Tell: replayTell(c.OutOrStdout(), c.ErrOrStderr())}
			if setAside {
				return failed(r.SetAside(ctx))
			}
			return failed(r.Files(ctx, args))
		},
	}
	c.Flags().BoolVar(&setAside, "set-aside", false, "replay all that was set aside")
	return c
}

func replayArgs(c *cobra.Command, args []string, setAside bool) error {
	switch {
	case setAside && len(args) > 0:
		return wrongUsage(fmt.Errorf("%s takes either files or --set-aside, but got %q as well", c.CommandPath(), args[0]))
	case !setAside && len(args) == 0:
		return wrongUsage(fmt.Errorf("%s: name a file, or give --set-aside (see %s --help)", c.CommandPath(), c.CommandPath()))
	}
	for _, path := range args {
		if strings.HasPrefix(path, "s3://") {
			if _, err := objects.Parse(path); err != nil {
				return wrongUsage(fmt.Errorf("replay: %w", err))
			}
		}
	}
	return nil
}

// replayTell writes what happens: results to out, the rest to errs. Progress is one line that a terminal overwrites.
func replayTell(out, errs io.Writer) func(agent.ReplayNews) {
	var last time.Time
	terminal, shown := isTerminal(errs), false
	clearLine := func() {
		if shown {
			fmt.Fprint(errs, "\r\x1b[K")
			shown = false
		}
	}
	return func(n agent.ReplayNews) {
		switch {
		case n.Done:
			clearLine()
			line := fmt.Sprintf("%s: %d frames, %d events, %s into the spool", n.Path, n.Frames, n.Events, amount(n.Bytes))
			if n.Removed {
				line += ", file removed"
			}
			fmt.Fprintln(out, line)
		case n.Problem != "":
			clearLine()
			fmt.Fprintf(errs, "fairlead: %s: %s\n", n.Path, n.Problem)
		case terminal && time.Since(last) > 200*time.Millisecond:
			last, shown = time.Now(), true
			fmt.Fprintf(errs, "\r\x1b[K%s: %d%%, %d frames, %d events", n.Path, n.Percent, n.Frames, n.Events)
		case !terminal && !last.IsZero() && time.Since(last) > 10*time.Second:
			last = time.Now()
			fmt.Fprintf(errs, "%s: %d%%, %d frames, %d events\n", n.Path, n.Percent, n.Frames, n.Events)
		case last.IsZero():
			last = time.Now()
		}
	}
}
