package plan

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/internal/mutant"
)

// TestLawSeesMutations leaves one rule out at a time, and expects TestLaw to notice: a test that cannot fail proves nothing. It builds the
// package for each, so `make soak` runs it, or FAIRLEAD_MUTATIONS=1. Rules that are held twice are not in the list: nothing that is used
// is taken for unused, and nothing used is removed.
func TestLawSeesMutations(t *testing.T) {
	if os.Getenv("FAIRLEAD_MUTATIONS") == "" && os.Getenv("FAIRLEAD_SOAK") == "" {
		t.Skip("set FAIRLEAD_MUTATIONS=1: it takes a minute")
	}
	for _, c := range []struct{ name, file, line, mutant, notices string }{
		{"a use between two looks", "memory.go", "if uses.volumes[v.Name] {\n\t\t\tcontinue", "if false {\n\t\t\tcontinue", "seen unused for"},
		{"another driver", "law.go", `v.Driver != "local"`, `false`, "driver rexray"},
		{"options", "law.go", "len(v.Options) > 0", "false", "options map"},
		{"a foreign label", "law.go", "label != labelAnonymous {", "false {", "foreign label"},
		{"protected", "law.go", "matches(p.Protect, v.Name):", "false:", "protected"},
		{"a name that nobody asked for", "law.go", "!matches(p.NamedVolumes, v.Name) {", "false {", "not asked for"},
		{"shared by tasks", "law.go", "; ok {\n\t\treturn classNever, \"ECS tasks", "; ok && false {\n\t\treturn classNever, \"ECS tasks", "share it"},
		{"one look is enough", "law.go", "s.Looks < 2 || s.Age < grace || s.CreatedAt", "s.CreatedAt", "seen unused for"},
		{"the wall clock counts", "memory.go", "s.Age += w.Began.Since(Clock{Boot: s.Boot, Up: s.Up})", "s.Age = w.Now.Wall.Sub(s.First)", "seen unused for"},
		{"made only now", "law.go", "known && w.Now.Wall.Sub(t) < grace", "known && w.Now.Wall.Sub(t) < 0", "created"},
		{"the grace of tasks", "law.go", "grace = max(grace, ECSVolumeGrace)", "grace += 0", "seen unused for"},
		{"a task that starts", "law.go", "strings.HasPrefix(v.Name, u.starting[i].prefix)", "false", "is starting"},
		{"the agent is silent", "law.go", "u.silent {\n\t\t\treturn Wait, \"the ECS agent does not answer: a task may", "false {\n\t\t\treturn Wait, \"the ECS agent does not answer: a task may", "the agent is silent"},
		{"warnings", "memory.go", "len(w.Engine.Warnings) > 0", "false", "not to be trusted|seen unused for"},
		{"just started", "memory.go", "w.Engine.Up < Settle", "false", "not to be trusted|seen unused for"},
		{"the high mark", "ladder.go", "return level == High || level == Early && s.undone()", "return level >= Calm", "below the high mark"},
		{"what cannot be undone", "ladder.go", "level == Early && s.undone()", "level == Early", "below the high mark"},
		{"a name below the high mark", "plan.go", "item.Action == Remove && Anonymous(v.Name)", "item.Action == Remove", "below the high mark"},
		{"mounted by its path", "law.go", "range c.Binds", "range []string(nil)", "a container refers to it"},
		{"a living task", "law.go", "u.living[c.Labels[labelTask]]", "false", "its task"},
		{"about to be started", "law.go", "c.State == \"created\" && u.ended[c.Labels[labelTask]]", "c.State == \"created\"", "it is created"},
		{"the newest of those that fail", "plan.go", "case n < p.Pressure.KeepFailed:", "case n < 0:", "newer tasks of its family"},
		{"an image from nowhere", "law.go", "len(i.Digests) == 0", "false", "tags"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, noticed := mutant.Test(t, c.file, c.line, c.mutant, []string{"FAIRLEAD_SOAK="}, "-run", "TestLaw$", ".")
			if !noticed {
				t.Fatal("not noticed")
			}
			if !slices.ContainsFunc(strings.Split(c.notices, "|"), func(s string) bool { return strings.Contains(out, s) }) {
				t.Fatalf("not noticed by %q:\n%s", c.notices, out)
			}
		})
	}
}
