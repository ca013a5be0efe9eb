// Command fairlead looks after one container instance. Each file of this package is one command: flags to a call, an error
// to an exit code, nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
)

func main() {
	code := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if isWorker() {
		sayDone(code)
	}
	os.Exit(code)
}

// run is main with its surroundings as arguments. Exit codes: 0 done; 1 failed, or findings where they are the command's
// purpose; 2 wrong usage or configuration.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	root := newRoot()
	for _, command := range extra {
		root.AddCommand(command())
	}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	var e *exit
	if !errors.As(err, &e) {
		e = &exit{2, err} // cobra's own: required flags and such
	}
	if e.err != nil {
		fmt.Fprintf(errs, "fairlead: %s\n", strings.ReplaceAll(e.err.Error(), "\n", "; "))
	}
	return e.code
}

// exit is an error with its exit code. Without err, everything has been said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &exit{1, err}
}

func wrongUsage(err error) error { return &exit{2, err} }

// global holds the flags of every command.
type global struct {
	config    string
	logLevel  string
	logFormat string
}

// extra are the commands of builds with tags.
var extra []func() *cobra.Command

func newRoot() *cobra.Command {
	g := &global{}
	root := &cobra.Command{
		Use:   "fairlead",
		Short: "Carry the logs of a container instance to Fluentd without losing a line",
		Long: `fairlead reads the logs of all containers of this host, folds multi-line reports into single events, keeps them in a
spool on disk and forwards them to Fluentd until each one is acknowledged.`,
		Example: `  fairlead demo                                  see the whole path on this machine
  FAIRLEAD_FORWARD_TO=fluentd:24224 fairlead run forward the logs of all containers
  fairlead status                                what the daemon does`,
		Args:              unknownCommand,
		RunE:              func(c *cobra.Command, _ []string) error { return failed(c.Help()) },
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&g.config, "config", agent.DefaultPath, "configuration `file`; conf.d/*.yaml beside it are read too")
	flags.StringVar(&g.logLevel, "log-level", "info", "least `level` to log: debug, info, warn, error")
	flags.StringVar(&g.logFormat, "log-format", "text", "log as text or json")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return wrongUsage(fmt.Errorf("%w (see %s --help)", err, c.CommandPath()))
	})
	root.AddCommand(newRun(g), newRender(g), newStatus(g), newWhy(g), newCheck(g), newFold(g), newTap(g), newReplay(g), newDrain(g), newGC(g), newBundle(g), newDemo(), newVersion())
	return root
}

// source is where the flags say the configuration is. A file named by --config must be there; the default one need not.
func (g *global) source() agent.Source {
	return agent.Source{Path: g.config, Required: g.config != agent.DefaultPath, Environ: os.Environ()}
}

// logger makes the log of the flags.
func (g *global) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(g.logLevel)); err != nil {
		return nil, wrongUsage(fmt.Errorf("--log-level %q: use debug, info, warn or error", g.logLevel))
	}
	options := &slog.HandlerOptions{Level: level}
	switch g.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, wrongUsage(fmt.Errorf("--log-format %q: use text or json", g.logFormat))
}

// unknownCommand refuses what cobra took for arguments of the root, with what may have been meant.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := ""
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		meant = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return wrongUsage(fmt.Errorf("unknown command %q for %q%s (see %s --help)", args[0], c.Name(), meant, c.Name()))
}

// noArgs refuses arguments, with what they were.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUsage(fmt.Errorf("%s takes no argument, but got %q (see %s --help)", c.CommandPath(), args[0], c.CommandPath()))
	}
	return nil
}
