package fold

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRuleBudget: a rule that takes too long is given up for its stream, which is then folded by the languages; no line is lost.
func TestRuleBudget(t *testing.T) {
	for _, c := range []struct {
		name string
		cost time.Duration
		over bool
	}{{"cheap", ruleBudget / 2, false}, {"dear", 2 * ruleBudget, true}} {
		t.Run(c.name, func(t *testing.T) {
			f := newFolder(t, func(c *Config) { c.Rules = []Rule{{Tag: "app", Start: "^BEGIN"}} })
			now := time.Duration(0)
			f.clock = func() time.Duration { now += c.cost; return now }
			s := f.Stream("app")
			var lines []string
			for range ruleSample * ruleLines {
				lines = append(lines, "BEGIN x", "more")
			}
			lines = append(lines, "java.io.IOException: closed", "	at a.B.c(B.java:1)")
			got := texts(s, lines...)
			if all := strings.Join(got, "\n"); all != strings.Join(lines, "\n") {
				t.Fatal("lines are missing or repeated")
			}
			if over := s.RuleGivenUp() != ""; over != c.over {
				t.Fatalf("given up: %v (%s)", over, s.RuleGivenUp())
			}
			if c.over && got[len(got)-1] != "java.io.IOException: closed\n	at a.B.c(B.java:1)" {
				t.Errorf("without the rule, the languages do not fold: %q", got[len(got)-2:])
			}
		})
	}
}

// TestRuleBounds: only the begin of a line is looked at, and each line is told by which expression it was placed.
func TestRuleBounds(t *testing.T) {
	f := newFolder(t, func(c *Config) {
		c.Rules = []Rule{{Tag: "x", Start: "^never"}, {Tag: "app.*", Start: "BEGIN", Continue: `^\s`}}
	})
	s := f.Stream("app.a")
	var rules []string
	s.Trace = func(_ []Pos, rule string) { rules = append(rules, rule) }
	got := texts(s, "BEGIN", " more", strings.Repeat("x", maxMatched)+"BEGIN", "BEGIN")
	if len(got) != 3 {
		t.Errorf("got %.60q", got)
	}
	want := []string{"fold.rules[1].start", "fold.rules[1].continue", "line", "fold.rules[1].start"}
	if !slices.Equal(rules, want) {
		t.Errorf("got %q, want %q", rules, want)
	}
	for _, r := range want {
		if Explain(r) == "" {
			t.Errorf("%s is not explained", r)
		}
	}
}

// TestLanguages: the stream says whose reports it was found to hold, and still does after a restart.
func TestLanguages(t *testing.T) {
	f := newFolder(t, nil)
	for want, lines := range map[string][]string{
		"":       {"TypeError: alone", "a line"},
		"java":   {"java.io.IOException: closed", "	at a.B.c(B.java:1)"},
		"node":   {"TypeError: x", "    at f (/a.js:1:2)"},
		"python": {"Traceback (most recent call last):", "  File \"x\"", "ValueError: y"},
		"ruby":   {"RuntimeError: x", "/app/a.rb:1:in 'b'"},
		"dotnet": {"System.Exception: x", "   at A.B.C() in /a.cs:line 1"},
		"php":    {"X: y in /a.php:1", "Stack trace:", "#0 {main}"},
		"perl":   {"x at /a.pl line 1.", "	main::f(1) called at /a.pl line 2"},
		"go":     {"panic: x", "", "goroutine 1 [running]:"},
		"rust":   {"thread 'main' panicked at a.rs:1:2:", "x", "note: run"},
	} {
		s := f.Stream("a")
		texts(s, lines...)
		if got := s.Language(); got != want {
			t.Errorf("%q: language %q, want %q", lines, got, want)
		}
		again := f.Stream("a")
		again.SetMemory(s.Memory())
		if got := again.Language(); got != want {
			t.Errorf("after a restart: %q, want %q", got, want)
		}
	}
	only := newFolder(t, func(c *Config) { c.Languages = []string{"ruby"} })
	if got := texts(only.Stream("a"), "java.io.IOException: closed", "	at a.B.c(B.java:1)"); len(got) != 2 {
		t.Errorf("with ruby alone, got %q", got)
	}
}
