package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/internal/glob"
)

func newTap(g *global) *cobra.Command {
	var tag string
	var raw bool
	c := &cobra.Command{
		Use:   "tap",
		Short: "Show events as they pass, live",
		Long: `Shows the events of the running daemon as they go into the spool, those of files and of Forward clients: time, tag, source and text,
further lines indented. With --raw each is a JSON object on a line: time, tag and record, with all fields.

The daemon does not wait for who looks: where events pass faster than they can be shown, some are left out, and their number is shown.
Up to eight may look at a time. It goes on until it is interrupted or the daemon ends.`,
		Example: `  fairlead tap
  fairlead tap --tag 'docker.web*'
  fairlead tap --raw | jq 'select(.record.level == "error")'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := glob.Compile(tag); err != nil {
				return wrongUsage(fmt.Errorf("--tag %q: %w", tag, err))
			}
			socket := g.source().Load().Config.Control.Socket
			if socket == "" {
				return wrongUsage(errors.New("control.socket is empty: the daemon of this configuration cannot be asked"))
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return failed(tap(ctx, agent.Client{Socket: socket}, tag, raw, c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	c.Flags().StringVar(&tag, "tag", "", "show only events whose tag fits this `GLOB`")
	c.Flags().BoolVar(&raw, "raw", false, "print JSON lines, with all fields")
	return c
}

func tap(ctx context.Context, client agent.Client, tag string, raw bool, out, errs io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	colour := isTerminal(out) && os.Getenv("NO_COLOR") == ""
	show := func(e agent.Tapped) error {
		_, err := io.WriteString(out, tapLine(e, colour))
		return err
	}
	if raw {
		show = func(e agent.Tapped) error { return enc.Encode(e) }
	}
	err := client.Tap(ctx, tag, func() { fmt.Fprintln(errs, "fairlead: showing events as they pass; Ctrl-C ends it") }, show)
	if ctx.Err() != nil || errors.Is(err, syscall.EPIPE) { // who reads has seen enough
		err = nil
	} else if err == nil {
		fmt.Fprintln(errs, "fairlead: the daemon has ended")
	}
	return err
}

// tapLine is an event for people.
func tapLine(e agent.Tapped, colour bool) string {
	var b strings.Builder
	at := e.Time.Local().Format("15:04:05.000")
	if e.Dropped > 0 {
		fmt.Fprintf(&b, "%s  -- %d events passed too fast to be shown --\n", at, e.Dropped)
		return b.String()
	}
	text := string(e.Field("log"))
	if e.Field("log") == nil {
		text = string(e.Record())
	}
	before := at + "  " + visible(e.Tag, false) + "  "
	if source := e.Field("source"); source != nil {
		before += visible(string(source), false) + "  "
	}
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(before)
		b.WriteString(visible(line, colour))
		b.WriteByte('\n')
		before = "    "
	}
	return b.String()
}

// visible makes a log harmless to the terminal of whoever looks: what a program wrote may move the cursor, or type. Colours stay, where
// they are wanted, and end with the line.
func visible(line string, colour bool) string {
	line = strings.TrimSuffix(line, "\r")
	if !strings.ContainsFunc(line, isControl) {
		return line
	}
	var b strings.Builder
	coloured := false
	for len(line) > 0 {
		if n := colourLen(line); n > 0 {
			if colour {
				b.WriteString(line[:n])
				coloured = true
			}
			line = line[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(line)
		if isControl(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteString(line[:n])
		}
		line = line[n:]
	}
	if coloured {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// isControl tells what does not print: the control characters of ASCII and Latin-1, but not the tabulator.
func isControl(r rune) bool { return r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 }

// colourLen is the length of the colour sequence that the line begins with: ESC [ numbers m.
func colourLen(line string) int {
	rest, ok := strings.CutPrefix(line, "\x1b[")
	if !ok {
		return 0
	}
	rest = strings.TrimLeft(rest, "0123456789;")
	if !strings.HasPrefix(rest, "m") {
		return 0
	}
	return len(line) - len(rest) + 1
}
