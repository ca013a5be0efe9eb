package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/cleanup"
)

func newGC(g *global) *cobra.Command {
	var dryRun, asJSON, history bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "Clean up once: plan, reasons, bytes, then act",
		Long: `Does one pass of the clean-up, by the running daemon or without one, and says of each thing what became of it and why. What is removed at
any time are volumes that nobody needs; everything else only while a disk is above cleanup.high (docs/cleanup.md).

A volume goes when two passes, cleanup.volume_grace apart, have seen it unused. So the first pass removes none.

--dry-run writes nothing, not even what it saw. The exit code is 0 when the pass ran, whatever it found; what could not be looked at or removed is
said on stderr, and in the JSON as errors.`,
		Example: `  fairlead gc --dry-run
  fairlead gc --dry-run --json | jq '.items[] | select(.action == "remove")'
  fairlead gc --history`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			loaded := g.source().Load()
			if !loaded.OK() {
				return wrongUsage(fmt.Errorf("the configuration %s is not valid (fairlead check lists what is wrong)", g.config))
			}
			out := c.OutOrStdout()
			if history {
				if dryRun {
					return wrongUsage(errors.New("gc takes either --dry-run or --history"))
				}
				return failed(printHistory(out, loaded.Config.State.Dir, asJSON))
			}
			log, err := g.logger(c.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			report, err := agent.GC{Config: loaded.Config, Log: log, DryRun: dryRun}.Pass(ctx)
			if err != nil {
				return failed(err)
			}
			if err := printReport(out, report, asJSON); err != nil {
				return failed(err)
			}
			for _, text := range report.Errors {
				fmt.Fprintf(c.ErrOrStderr(), "fairlead: %s\n", text)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done; nothing is written")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&history, "history", false, "list what was removed so far, and why")
	return c
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printHistory(out io.Writer, stateDir string, asJSON bool) error {
	list, err := cleanup.History(stateDir)
	if err != nil {
		return fmt.Errorf("read what was removed: %w", err)
	}
	if asJSON {
		return printJSON(out, struct {
			Removals []cleanup.Removal `json:"removals"`
		}{append([]cleanup.Removal{}, list...)})
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "nothing was removed yet")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range list {
		why := r.Reason
		if r.Failed != "" {
			why += "; NOT REMOVED: " + r.Failed
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Time.UTC().Format(time.RFC3339), r.Kind, amount(r.Bytes), called(r.ID, r.Name), why)
	}
	return w.Flush()
}

func printReport(out io.Writer, r cleanup.Report, asJSON bool) error {
	if asJSON {
		return printJSON(out, r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i := range r.Items {
		item := &r.Items[i]
		done := string(item.Action)
		if item.Action == cleanup.Remove && !r.DryRun {
			done = "removed"
		}
		size := "" // nobody has looked
		if item.Bytes > 0 || item.Action == cleanup.Remove {
			size = amount(item.Bytes)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", done, item.Kind, size, called(item.ID, item.Name), item.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, outcome(r))
	return err
}

// outcome says in sentences what the list means.
func outcome(r cleanup.Report) string {
	var b strings.Builder
	counts := map[cleanup.Action]int{}
	for i := range r.Items {
		counts[r.Items[i].Action]++
	}
	verb := "removed"
	if r.DryRun {
		verb = "to remove"
	}
	fmt.Fprintf(&b, "%s %d, %s; %d wait, %d stay\n", verb, counts[cleanup.Remove], amount(r.ReclaimedBytes), counts[cleanup.Wait], counts[cleanup.Keep])
	if r.Held != "" {
		fmt.Fprintf(&b, "nothing of Docker's goes: %s\n", r.Held)
	}
	for _, f := range r.Failing {
		last := fmt.Sprintf("the last ended with exit code %d", f.Exit)
		if f.Exit == 0 {
			last = "the last could not be started"
		}
		fmt.Fprintf(&b, "tasks of %s fail again and again: %d are left since %s, %s; they hold %d volumes\n",
			f.Family, f.Tries, f.Since.UTC().Format(time.RFC3339), last, f.Volumes)
	}
	for _, p := range r.Pressure {
		fmt.Fprintf(&b, "%s is %.0f%% full (%s)\n", p.Mount, 100*p.Used, p.Level)
	}
	return b.String()
}

// called is how a thing is named in a line: a name where it has one, and enough of a long id.
func called(id, name string) string {
	short := id
	if hex, ok := strings.CutPrefix(id, "sha256:"); ok {
		short = hex
	}
	if len(short) == 64 && !strings.ContainsAny(short, "/-_") {
		short = short[:12]
	}
	if name != "" {
		return name + " (" + short + ")"
	}
	return short
}
