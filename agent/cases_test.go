package agent

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each folder of testdata/render holds what is put in, user-data, ecs.config (what stands there) and fairlead.yaml, each of them or not,
// and what comes out: the file, and what is said. There is one for each row of what is known of the agent's file and of user data.
func TestRenderCases(t *testing.T) {
	folders, err := filepath.Glob("testdata/render/*")
	if err != nil || len(folders) < 100 {
		t.Fatalf("%d cases, %v", len(folders), err)
	}
	for _, folder := range folders {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"user-data", "ecs.config", "fairlead.yaml"} {
				text, err := os.ReadFile(filepath.Join(folder, name))
				if errors.Is(err, fs.ErrNotExist) && name != "user-data" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r := Rendering{Source: Source{Path: filepath.Join(dir, "fairlead.yaml")}, UserData: filepath.Join(dir, "user-data"), Output: filepath.Join(dir, "ecs.config")}
			out, err := r.Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			for _, f := range out.Findings {
				said.WriteString(strings.ReplaceAll(f.String(), dir+"/", "") + "\n")
			}
			if shown := said.String() + out.Shown(out.Text) + out.Diff(r.Output, out.Before); strings.Contains(shown, "hunter2") {
				t.Errorf("a secret is shown:\n%s", shown)
			}
			golden(t, filepath.Join(folder, "want.config"), string(out.Text))
			golden(t, filepath.Join(folder, "want.findings"), said.String())
			if err := os.WriteFile(r.Output, out.Text, 0o600); err != nil {
				t.Fatal(err)
			}
			if again, err := r.Plan(t.Context()); err != nil || string(again.Text) != string(out.Text) || len(again.Changes) > 0 {
				t.Errorf("once more: %q, before %q, %v", again.Text, out.Text, err)
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", path, got, want)
	}
}
