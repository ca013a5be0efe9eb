package glob

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"web", []string{"web"}, []string{"web1", "aweb", ""}},
		{"ecs-web-*", []string{"ecs-web-", "ecs-web-12-nginx-0123"}, []string{"ecs-we", "x-ecs-web-1"}},
		{"registry.example.com/*", []string{"registry.example.com/team/app:1"}, []string{"registry-example.com/app"}},
		{"*pause*", []string{"amazon/amazon-ecs-pause:0.1.0", "pause"}, []string{"paus"}},
		{"a?c", []string{"abc", "a/c", "aéc"}, []string{"ac", "abbc"}},
		{"v[0-9]", []string{"v3"}, []string{"v", "vx", "v33"}},
		{"v[!0-9]", []string{"vx"}, []string{"v3"}},
		{"v[^0-9]", []string{"vx"}, []string{"v3"}},
		{`a\*b`, []string{"a*b"}, []string{"axb"}},
		{"[a-c.]*", []string{"b", ".x"}, []string{"x"}},
		{"[-a]", []string{"-", "a"}, []string{"b"}},
		{"a.c", []string{"a.c"}, []string{"abc"}},
		{"*", []string{"", "all\nof it"}, nil},
		{"", []string{""}, []string{"x"}},
	} {
		p, err := Compile(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, s := range c.yes {
			if !p.Match(s) {
				t.Errorf("%q does not match %q", c.pattern, s)
			}
		}
		for _, s := range c.no {
			if p.Match(s) {
				t.Errorf("%q matches %q", c.pattern, s)
			}
		}
	}
	for _, bad := range []string{"[", "[a", "[]", "[z-a]", `a\`, `[a\`} {
		if _, err := Compile(bad); err == nil {
			t.Errorf("%q was taken, want an error", bad)
		}
	}
}

// FuzzMatch compares with path.Match, which differs in slashes alone.
func FuzzMatch(f *testing.F) {
	f.Add("a*[b-d]?", "aXXcy")
	f.Add(`\[*`, "[x")
	f.Add("[!a]*", "b")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern)+len(text) > 100 || strings.ContainsAny(pattern+text, "/") || !utf8.ValidString(pattern) || !utf8.ValidString(text) {
			t.Skip()
		}
		p, err := Compile(pattern)
		want, wantErr := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), text)
		if err != nil || wantErr != nil {
			return // each may be stricter than the other about brackets; path.Match reads no further than it needs
		}
		if strings.Contains(pattern, `\[!`) || strings.Contains(pattern, "[!") && strings.Count(pattern, "[") > 1 {
			return // the replacement above is not exact there
		}
		if got := p.Match(text); got != want {
			t.Errorf("%q with %q: %v, path.Match says %v", text, pattern, got, want)
		}
	})
}
