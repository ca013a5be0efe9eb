package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/forwarder"
)

func newFold(g *global) *cobra.Command {
	var asJSON, explain bool
	var tag string
	c := &cobra.Command{
		Use:   "fold [FILE]",
		Short: "Fold a log file or stdin into events, as the daemon would",
		Long: `Reads a Docker json-file or plain lines (the first line tells which) and prints the events in the order in which they end.
Each begins with the numbers of its records. Plain lines have no times, so no pause between them ends an event.

With --json each event is an object on a line: stream, first, last (record numbers from 1), records (where they are not
simply first to last), log, language, rule (what joined it), and part and part_last on pieces of one over fold.max_bytes.`,
		Example: `  fairlead fold --explain /var/lib/docker/containers/ID/ID-json.log
  docker logs web 2>&1 | fairlead fold
  fairlead fold --json production.log | jq -r 'select(.last > .first) | .log'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return wrongUsage(fmt.Errorf("%s takes one file, but got %d (see %s --help)", c.CommandPath(), len(args), c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			l := g.source().Load()
			if !l.OK() {
				for _, f := range l.Findings {
					fmt.Fprintln(c.ErrOrStderr(), f)
				}
				return &exit{code: 2}
			}
			in := c.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return failed(err)
				}
				defer f.Close()
				in = f
			}
			p := foldPrinter{out: c.OutOrStdout(), explain: explain}
			show := p.text
			if asJSON {
				show = p.json
			}
			return failed(forwarder.FoldFile(in, l.Config.Forwarder, tag, explain && !asJSON, show))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object an event")
	c.Flags().BoolVar(&explain, "explain", false, "show which rule placed each line")
	c.Flags().StringVar(&tag, "tag", "", "the `tag` the log would have: it decides which of fold.rules apply")
	return c
}

// foldPrinter writes events as they come.
type foldPrinter struct {
	out     io.Writer
	explain bool
}

func (p foldPrinter) json(e *forwarder.Folded) error {
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(e)
}

// text writes the numbers of the event's records before its first line and a bar before the others; to explain, the number
// and the rule before each line.
func (p foldPrinter) text(e *forwarder.Folded) error {
	var b strings.Builder
	switch {
	case p.explain:
		if e.Last > e.First {
			fmt.Fprintf(&b, "%12s  %s\n", records(e), strings.Join(strings.Fields(e.Stream+" "+e.Language+" "+e.Rule), " "))
		}
		for _, l := range e.Lines {
			fmt.Fprintf(&b, "%12d  %-20s  %s\n", l.Record, l.Rule, l.Text)
		}
	default:
		before := records(e)
		for line := range strings.SplitSeq(e.Log, "\n") {
			fmt.Fprintf(&b, "%12s  %s\n", before, line)
			before = "|"
		}
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

// records are the numbers of the event's records; with their count where others lie between them.
func records(e *forwarder.Folded) string {
	switch {
	case e.Last == e.First:
		return strconv.Itoa(e.First)
	case e.Records == nil:
		return fmt.Sprintf("%d-%d", e.First, e.Last)
	}
	return fmt.Sprintf("%d of %d-%d", len(e.Records), e.First, e.Last)
}
