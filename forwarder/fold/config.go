package fold

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/near"
	"github.com/fairlead/fairlead/internal/size"
)

// Config is the `fold` section of the configuration.
type Config struct {
	Enabled   bool          `yaml:"enabled"`
	Languages []string      `yaml:"languages"`
	Wait      time.Duration `yaml:"wait"`
	MaxBytes  size.Bytes    `yaml:"max_bytes"`
	Rules     []Rule        `yaml:"rules"`
}

// Rule is a user's own rule for the tags that match Tag (a glob): a line that matches Start begins an event, a line that
// matches Continue belongs to the event before it. Both are RE2 regular expressions.
type Rule struct {
	Tag      string `yaml:"tag"`
	Start    string `yaml:"start"`
	Continue string `yaml:"continue"`
}

// The bounds of what is accepted. Below shortWait the longer of the two waits would be the shorter one; a minute is
// longer than any program takes between two lines of one trace.
const (
	minWait     = 2 * time.Duration(shortWait)
	maxWait     = time.Minute
	minMaxBytes = size.KiB
	maxMaxBytes = size.GiB
)

// DefaultConfig folds every language it knows.
func DefaultConfig() Config {
	return Config{Enabled: true, Languages: []string{"auto"}, Wait: time.Second, MaxBytes: 2 * size.MiB}
}

// Validate names the first key with a value that cannot be used, and what would be.
func (c Config) Validate() error {
	if _, err := languagesFor(c.Languages); err != nil {
		return err
	}
	if c.Wait < minWait {
		return fmt.Errorf("fold.wait: %v is too small, need %v to %v", c.Wait, minWait, maxWait)
	}
	if c.Wait > maxWait {
		return fmt.Errorf("fold.wait: %v is too large, need %v to %v", c.Wait, minWait, maxWait)
	}
	if c.MaxBytes < minMaxBytes {
		return fmt.Errorf("fold.max_bytes: %v is too small, need %v to %v", c.MaxBytes, minMaxBytes, maxMaxBytes)
	}
	if c.MaxBytes > maxMaxBytes {
		return fmt.Errorf("fold.max_bytes: %v is too large, need %v to %v", c.MaxBytes, minMaxBytes, maxMaxBytes)
	}
	for i, r := range c.Rules {
		if err := r.validate(); err != nil {
			return fmt.Errorf("fold.rules[%d].%w", i, err)
		}
	}
	return nil
}

func (r Rule) validate() error {
	if _, err := path.Match(r.Tag, ""); err != nil || r.Tag == "" {
		return fmt.Errorf("tag: %q is not a glob, need a tag with *, ? or [a-z] (as app.*)", r.Tag)
	}
	if r.Start == "" && r.Continue == "" {
		return fmt.Errorf("start: a rule needs start, continue or both, each a regular expression (RE2)")
	}
	for _, x := range []struct{ key, expr string }{{"start", r.Start}, {"continue", r.Continue}} {
		if _, err := regexp.Compile(x.expr); err != nil {
			return fmt.Errorf("%s: %q is not a regular expression (RE2): %w", x.key, x.expr, err)
		}
	}
	return nil
}

// languagesFor finds the languages by name; "auto" is all of them.
func languagesFor(names []string) ([]*language, error) {
	var found []*language
	for _, name := range names {
		if name == "auto" {
			return languages, nil
		}
		l := languageNamed(name)
		if l == nil {
			did := ""
			if like := near.Word(name, append(languageNames(), "auto")); like != "" {
				did = fmt.Sprintf(" (did you mean %s?)", like)
			}
			return nil, fmt.Errorf("fold.languages: %q is not known, need auto or some of %s%s", name, strings.Join(languageNames(), ", "), did)
		}
		found = append(found, l)
	}
	return found, nil
}
