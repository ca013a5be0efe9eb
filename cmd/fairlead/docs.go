//go:build docs

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newDocs writes man pages and completions from the tree of commands. It is in no released program, only in the one that `go run -tags docs`
// builds for the release.
func newDocs() *cobra.Command {
	var at int64
	c := &cobra.Command{
		Use:    "docs DIR",
		Short:  "Write man pages and shell completions",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return failed(writeDocs(c.Root(), args[0], time.Unix(at, 0).UTC()))
		},
	}
	c.Flags().Int64Var(&at, "date", 0, "of the pages, Unix `seconds`")
	return c
}

func writeDocs(root *cobra.Command, dir string, date time.Time) error {
	man, completions := filepath.Join(dir, "man"), filepath.Join(dir, "completions")
	for _, d := range []string{man, completions} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	root.DisableAutoGenTag = true
	v, _ := build()
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "fairlead " + v, Manual: "fairlead"}
	if err := doc.GenManTree(root, header, man); err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	for shell, write := range map[string]func(string) error{
		"bash": func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		"zsh":  root.GenZshCompletionFile,
		"fish": func(file string) error { return root.GenFishCompletionFile(file, true) },
	} {
		if err := write(filepath.Join(completions, "fairlead."+shell)); err != nil {
			return fmt.Errorf("completions for %s: %w", shell, err)
		}
	}
	return nil
}

func init() { extra = append(extra, newDocs) }
