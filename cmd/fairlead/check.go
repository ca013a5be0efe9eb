package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/internal/document"
)

func newCheck(g *global) *cobra.Command {
	var asJSON bool
	var ecsConfig string
	var r agent.Rendering
	c := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and change nothing",
		Long: `Reads the configuration file, its drop-ins and the FAIRLEAD_ environment as the daemon would, and names everything that is
wrong: file:line:col: severity: text (fix: ...). Exit code 1 if there is an error.

With --user-data and --ecs-config it also judges those, as a linter for pipelines: nothing is run, asked or written.`,
		Example: `  fairlead check
  fairlead check --config ./fairlead.yaml --json
  fairlead check --user-data ./user-data.sh
  fairlead check --ecs-config /etc/ecs/ecs.config`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			source := g.source()
			source.Lenient = true
			l := source.Check()
			var err error
			r.Source, r.Stdin = source, c.InOrStdin()
			if l.Findings, err = r.Check(ecsConfig); err != nil {
				return failed(err)
			}
			l.Files = append(l.Files, given(r.UserData, ecsConfig)...)
			if err := printFindings(c.OutOrStdout(), l, asJSON); err != nil {
				return failed(err)
			}
			if !l.OK() {
				return &exit{code: 1}
			}
			return nil
		},
	}
	c.Flags().StringVar(&r.UserData, "user-data", "", "user data `file` to judge, - for stdin")
	c.Flags().StringVar(&ecsConfig, "ecs-config", "", "ecs.config `file` to judge")
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as a JSON list")
	return c
}

// given names the files that were named on the command line.
func given(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func printFindings(w io.Writer, l agent.Loaded, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(append([]document.Finding{}, l.Findings...))
	}
	var b strings.Builder
	for _, f := range l.Findings {
		fmt.Fprintln(&b, f)
	}
	if l.OK() {
		fmt.Fprintln(&b, summary(l))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// summary is the one line of a configuration that is right.
func summary(l agent.Loaded) string {
	from := "defaults, there is no configuration file"
	if len(l.Files) > 0 {
		from = strings.Join(l.Files, ", ")
	}
	if l.Variables > 0 {
		from += fmt.Sprintf(", %d from the environment", l.Variables)
	}
	to := "nowhere: forward.to is not set"
	if endpoints := l.Config.Forwarder.Forward.To; len(endpoints) > 0 {
		var names []string
		for _, e := range endpoints {
			names = append(names, e.String())
		}
		to = "to " + strings.Join(names, ", ")
	}
	s := fmt.Sprintf("ok: %s; forwards %s", from, to)
	switch n := document.Count(l.Findings, document.Warning); n {
	case 0:
	case 1:
		s += "; 1 warning"
	default:
		s += fmt.Sprintf("; %d warnings", n)
	}
	return s
}
