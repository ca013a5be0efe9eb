package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/collector"
	"github.com/fairlead/fairlead/internal/objects"
)

func newBundle(g *global) *cobra.Command {
	v, rev := build()
	b := agent.Bundle{Build: agent.Build{Version: v, Commit: rev, Go: runtime.Version()}}
	var asJSON bool
	c := &cobra.Command{
		Use:   "bundle [FILE]",
		Short: "Gather what support needs, without secrets",
		Long: `Gathers what AWS's ecs-logs-collector does, and more, into one archive for root alone: configuration, states, logs, the engine, the network,
and what is probably wrong. Secrets are taken out. It ends when its deadline does, whatever hangs; Ctrl-C ends it sooner, with what there is.

With --upload and no --output nothing is written to disk. With FILE, an archive that is there is uploaded, from where a former attempt stopped.`,
		Example: `  fairlead bundle
  fairlead bundle --upload s3://my-bucket/support
  fairlead bundle --output - | ssh desk 'cat > host.tgz'
  fairlead bundle --container web --since 2h --output /tmp/web.tar.zst`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && b.Upload == "" {
				return wrongUsage(fmt.Errorf("%s takes a file only with --upload, but got %q (see %s --help)", c.CommandPath(), args, c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if b.Deadline != 0 {
				if err := collector.CheckDeadline(b.Deadline); err != nil {
					return wrongUsage(fmt.Errorf("--deadline: %w", err))
				}
			}
			if b.Output != "" && b.Output != "-" {
				if _, err := collector.Format(b.Output); err != nil {
					return wrongUsage(fmt.Errorf("--output %w", err))
				}
			}
			if b.Upload != "" {
				if _, err := objects.Parse(b.Upload); err != nil {
					return wrongUsage(fmt.Errorf("--upload: %q is no place in S3: write s3://BUCKET/PREFIX", b.Upload))
				}
				if b.Output == "-" {
					return wrongUsage(errors.New("--upload and --output - exclude each other"))
				}
			}
			b.Source, b.Stdout = g.source(), c.OutOrStdout()
			errs := c.ErrOrStderr()
			b.Said = func(text string) { fmt.Fprintf(errs, "fairlead: %s\n", text) }
			if len(args) == 1 {
				ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
				defer stop()
				at, err := agent.UploadBundle(ctx, args[0], b.Upload, b.Said)
				if err == nil {
					fmt.Fprintf(c.OutOrStdout(), "%s\n", at)
				}
				return failed(err)
			}
			switch few := tasksLeft() < fewTasks; {
			case few:
				runtime.GOMAXPROCS(1)
			case !isWorker():
				// A minute of a slow line for the upload, two for its attempts.
				limit := b.Deadline
				if limit == 0 {
					limit = g.source().Load().Config.Bundle.Deadline
				}
				if b.Upload != "" {
					limit += 10 * time.Minute
				}
				if code, err := supervise(c, limit+supervisorGrace); err == nil {
					if code != 0 {
						return &exit{code, nil}
					}
					return nil
				} // no process can be started: then here
			}
			if isWorker() {
				letGoWhenGivenUp()
			}
			lowerPriority()
			debug.SetGCPercent(200) // memory there is, processor time is short
			ctx, stop := stopOnSignal(c.Context(), errs)
			defer stop()
			show := newProgress(errs)
			b.Progress = show.event
			out, err := b.Make(ctx, c.Context())
			show.end()
			if err != nil {
				return failed(err)
			}
			w := c.OutOrStdout()
			if b.Output == "-" {
				w = errs
			}
			if asJSON {
				return failed(printBundleJSON(w, out))
			}
			printBundle(w, out)
			return nil
		},
	}
	c.AddCommand(newDebug(g))
	f := c.Flags()
	f.StringVar(&b.Output, "output", "", "the archive's `FILE` (.tgz or .tar.zst), - for standard output (default collect-INSTANCE-TIME.tgz)")
	f.StringVar(&b.Upload, "upload", "", "stream it to `s3://BUCKET/PREFIX`")
	f.BoolVar(&b.Brief, "brief", false, "no container logs, and only the ends of others")
	f.DurationVar(&b.Since, "since", 24*time.Hour, "how far back logs go; 0 for as far as there is room")
	f.StringVar(&b.Container, "container", "", "`ID` or name of the container whose log is wanted, with as much as there is room for")
	f.DurationVar(&b.Deadline, "deadline", 0, "end by then, with what there is (default bundle.deadline)")
	f.BoolVar(&asJSON, "json", false, "print what came of it, manifest and findings, as JSON")
	return c
}

// stopOnSignal ends the gathering at the first SIGINT or SIGTERM; a second one ends the process.
func stopOnSignal(ctx context.Context, errs io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-signals:
		}
		fmt.Fprintln(errs, "fairlead: ending with what there is; again to end at once")
		cancel()
		signal.Stop(signals) // the next one has its ordinary effect
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

func printBundle(w io.Writer, out agent.Bundled) {
	fmt.Fprint(w, collector.FindingsText(out.Findings))
	m := out.Manifest
	counts := map[string]int{}
	members := 0
	for _, s := range m.Sources {
		counts[s.Outcome]++
		members += len(s.Members)
	}
	fmt.Fprintf(w, "%d files, %d KiB, %.1f s; sources: %d ok", members, (out.Bytes+1023)>>10, m.Seconds, counts[collector.OK])
	for _, o := range []string{collector.Partial, collector.TimedOut, collector.Refused, collector.Failed, collector.Absent} {
		if counts[o] > 0 {
			fmt.Fprintf(w, ", %d %s", counts[o], o)
		}
	}
	fmt.Fprintf(w, "; %d secrets taken out\n", m.Secrets)
	if m.DiskFull {
		fmt.Fprintln(w, "the disk is full: the archive is whole and has less in it (--upload or --output - need no room)")
	}
	if m.Interrupted {
		fmt.Fprintln(w, "interrupted: the archive is whole and has less in it")
	}
	if out.File != "" {
		fmt.Fprintln(w, out.File)
	}
}

func printBundleJSON(w io.Writer, out agent.Bundled) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	list := out.Findings
	if list == nil {
		list = []collector.Finding{}
	}
	return e.Encode(struct {
		File     string              `json:"file"`
		Bytes    int64               `json:"bytes"`
		Findings []collector.Finding `json:"findings"`
		Manifest collector.Manifest  `json:"manifest"`
	}{out.File, out.Bytes, list, out.Manifest})
}
