package fold

import (
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"default", func(*Config) {}, ""},
		{"some languages", func(c *Config) { c.Languages = []string{"ruby", "go"} }, ""},
		{"language", func(c *Config) { c.Languages = []string{"ruby", "cobol"} }, `fold.languages: "cobol" is not known, need auto or some of python, ruby, go, java, node, php, perl, dotnet, rust`},
		{"misspelt language", func(c *Config) { c.Languages = []string{"pyhton"} }, `fold.languages: "pyhton" is not known, need auto or some of python, ruby, go, java, node, php, perl, dotnet, rust (did you mean python?)`},
		{"no wait", func(c *Config) { c.Wait = 0 }, "fold.wait: 0s is too small, need 20ms to 1m0s"},
		{"long wait", func(c *Config) { c.Wait = time.Hour }, "fold.wait: 1h0m0s is too large, need 20ms to 1m0s"},
		{"small", func(c *Config) { c.MaxBytes = 1000 }, "fold.max_bytes: 1000 is too small, need 1KiB to 1GiB"},
		{"large", func(c *Config) { c.MaxBytes = 1 << 40 }, "fold.max_bytes: 1TiB is too large, need 1KiB to 1GiB"},
		{"rule", func(c *Config) { c.Rules = []Rule{{Tag: "a.*", Start: `^\d`}, {Tag: "b", Continue: `^ `}} }, ""},
		{"empty rule", func(c *Config) { c.Rules = []Rule{{Tag: "a", Start: "x"}, {Tag: "a"}} }, "fold.rules[1].start: a rule needs start, continue or both, each a regular expression (RE2)"},
		{"no tag", func(c *Config) { c.Rules = []Rule{{Start: "x"}} }, `fold.rules[0].tag: "" is not a glob, need a tag with *, ? or [a-z] (as app.*)`},
		{"bad glob", func(c *Config) { c.Rules = []Rule{{Tag: "[", Start: "x"}} }, `fold.rules[0].tag: "[" is not a glob, need a tag with *, ? or [a-z] (as app.*)`},
		{"bad expression", func(c *Config) { c.Rules = []Rule{{Tag: "a", Continue: "("}} }, `fold.rules[0].continue: "(" is not a regular expression (RE2): error parsing regexp: missing closing ): ` + "`(`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			got := ""
			if err := cfg.Validate(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if _, err := New(cfg); (err == nil) != (c.want == "") {
				t.Errorf("New: got %v", err)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	for _, lang := range append(languages, plain) {
		for state, tr := range lang.traits {
			if state > 0 && Explain(tr.rule) == "" {
				t.Errorf("%s: state %d has the rule %q, which nothing explains", lang.name, state, tr.rule)
			}
		}
	}
}

// texts folds lines a hundredth of a millisecond apart and returns the events' texts.
func texts(s *Stream, lines ...string) []string {
	var got []string
	emit := func(e *Event) { got = append(got, copyOf("", e).Text) }
	for i, text := range lines {
		now := int64(i) * int64(10*time.Microsecond)
		s.Add(Line{Text: []byte(text), Time: now, Read: now, Pos: Pos{Start: int64(i)}}, emit)
	}
	s.Flush(emit)
	return got
}

func TestUserRules(t *testing.T) {
	f := newFolder(t, func(c *Config) {
		c.Rules = []Rule{
			{Tag: "start.*", Start: `^BEGIN`},
			{Tag: "both.*", Start: `^BEGIN`, Continue: `^[-+]`},
			{Tag: "cont.*", Continue: `^[-+]`},
			{Tag: "*.x", Start: `never`},
		}
	})
	lines := []string{"- first", "BEGIN a", "- b", "c", "+ d", "BEGIN e", "f"}
	for tag, want := range map[string]string{
		"start.x": "- first|BEGIN a\n- b\nc\n+ d|BEGIN e\nf",
		"both.x":  "- first|BEGIN a\n- b|c|+ d|BEGIN e|f",
		"cont.x":  "- first|BEGIN a\n- b|c\n+ d|BEGIN e|f",
		"other":   "- first|BEGIN a|- b|c|+ d|BEGIN e|f",
	} {
		if got := strings.Join(texts(f.Stream(tag), lines...), "|"); got != want {
			t.Errorf("%s: got %q, want %q", tag, got, want)
		}
	}
}

func TestDisabled(t *testing.T) {
	f := newFolder(t, func(c *Config) { c.Enabled = false })
	lines := []string{"I, [2026-01-02T03:04:05.000002 #7]  INFO -- : one", "two", "", "Traceback (most recent call last):", "  x"}
	if got, want := strings.Join(texts(f.Stream("a"), lines...), "|"), strings.Join(lines, "|"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
