package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

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

// What a terminal is told: another screen without a cursor while it is watched, each frame over the one before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	restOfLine  = "\x1b[K"
	restBelow   = "\x1b[J"
)

// watchStatus shows the status each second until it is interrupted: on a terminal in its place, else one after the other.
func watchStatus(ctx context.Context, out io.Writer, client agent.Client, asJSON bool) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	live := isTerminal(out) && !asJSON
	if live {
		fmt.Fprint(out, enterScreen)
		defer fmt.Fprint(out, leaveScreen)
	}
	before := &former{}
	for {
		var text strings.Builder
		if err := printStatus(ctx, &text, client, asJSON, before); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		frame := text.String()
		if live {
			frame = onScreen(frame, screenSize(out))
		}
		if _, err := io.WriteString(out, frame); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !live && !asJSON {
			fmt.Fprintln(out)
		}
	}
}

// size is that of a terminal in characters.
type size struct{ columns, rows int }

func screenSize(w io.Writer) size {
	if f, ok := w.(*os.File); ok {
		if s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && s.Col > 0 && s.Row > 0 {
			return size{int(s.Col), int(s.Row)}
		}
	}
	return size{80, 24}
}

// onScreen writes text over what stands on a screen; what does not fit on it is left out.
func onScreen(text string, s size) string {
	var b strings.Builder
	b.WriteString(home)
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines[:min(len(lines), s.rows)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		if r := []rune(line); len(r) > s.columns {
			line = string(r[:s.columns-1]) + "…"
		}
		b.WriteString(line + restOfLine)
	}
	return b.String() + restBelow
}

// former is the status a second ago, for rates.
type former struct {
	at     time.Time
	status agent.Status
	rates  []float64 // events acknowledged a second, the newest last
}

// keptRates is how many of them are shown.
const keptRates = 60

// follow goes on to the next status.
func (f *former) follow(s agent.Status, now time.Time) {
	if seconds := now.Sub(f.at).Seconds(); s.Forwarder != nil && f.status.Forwarder != nil && seconds > 0 {
		rate := max(0, float64(s.Forwarder.Ledger.Acked-f.status.Forwarder.Ledger.Acked)/seconds)
		f.rates = append(f.rates, rate)
		f.rates = f.rates[max(0, len(f.rates)-keptRates):]
	}
	f.at, f.status = now, s
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
		before.follow(s, now)
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
