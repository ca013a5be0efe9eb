package cleanup

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/cleanup/plan"
	"github.com/fairlead/fairlead/internal/glob"
)

// Config is the `cleanup` section.
type Config struct {
	Enabled           bool          `yaml:"enabled"`
	DryRun            bool          `yaml:"dry_run"` // the daemon plans, tells and removes nothing
	Interval          time.Duration `yaml:"interval"`
	High              Percent       `yaml:"high"` // in use of bytes or inodes: from here on the ladder is gone up
	Low               Percent       `yaml:"low"`  // down to here
	VolumeGrace       time.Duration `yaml:"volume_grace"`
	Protect           []string      `yaml:"protect"`       // globs over names of volumes and containers, and over images
	NamedVolumes      []string      `yaml:"named_volumes"` // globs over names of volumes that may go, under pressure
	StoppedContainers time.Duration `yaml:"stopped_containers"`
	Images            bool          `yaml:"images"`
	Pressure          Pressure      `yaml:"pressure"`
}

// Pressure is what is different while a disk is above the high mark.
type Pressure struct {
	Steps       []string      `yaml:"steps"` // of the ladder; their order is fixed
	Most        int           `yaml:"most"`  // things that one step removes in a pass
	VolumeGrace time.Duration `yaml:"volume_grace"`
	ImageGrace  time.Duration `yaml:"image_grace"`
	KeepFailed  int           `yaml:"keep_failed"` // tasks of a family that fails again and again
	KeepJournal time.Duration `yaml:"keep_journal"`
}

// DefaultConfig is safe on any container instance.
func DefaultConfig() Config {
	c := Config{
		Enabled: true, Interval: 10 * time.Minute, High: 80, Low: 70, VolumeGrace: 3 * time.Hour, StoppedContainers: 15 * time.Minute, Images: true,
		Pressure: Pressure{Most: 1000, VolumeGrace: 20 * time.Minute, ImageGrace: time.Hour, KeepFailed: 3, KeepJournal: 24 * time.Hour},
	}
	for _, s := range plan.Steps {
		c.Pressure.Steps = append(c.Pressure.Steps, string(s))
	}
	return c
}

// Validate checks the section. Each message begins with the path of its key.
func (c Config) Validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Interval < time.Second {
		fail("cleanup.interval: %s is too short, need at least 1s", c.Interval)
	}
	if c.High <= 0 || c.High > 100 {
		fail("cleanup.high: %s is no mark, use 1%% to 100%%", c.High)
	}
	if c.Low <= 0 || c.Low > c.High {
		fail("cleanup.low: %s must be above 0%% and not above cleanup.high (%s)", c.Low, c.High)
	}
	for _, d := range []struct {
		key string
		d   time.Duration
		why string
	}{
		{"volume_grace", c.VolumeGrace, "a volume would go while its container is being made"},
		{"stopped_containers", c.StoppedContainers, "a container would go before anybody has seen why it stopped"},
		{"pressure.volume_grace", c.Pressure.VolumeGrace, "a volume would go while its container is being made"},
		{"pressure.image_grace", c.Pressure.ImageGrace, "an image would go while its container is being made"},
		{"pressure.keep_journal", c.Pressure.KeepJournal, "the journal would go before it is read"},
	} {
		if d.d < time.Second {
			fail("cleanup.%s: %s is too short: %s (the default is safe)", d.key, d.d, d.why)
		}
	}
	if c.Pressure.Most < 1 {
		fail("cleanup.pressure.most: %d is too small, need at least 1 (empty cleanup.pressure.steps to do nothing under pressure)", c.Pressure.Most)
	}
	if c.Pressure.KeepFailed < 1 {
		fail("cleanup.pressure.keep_failed: %d is too small, need at least 1: nobody could see why the service fails", c.Pressure.KeepFailed)
	}
	for _, s := range c.Pressure.Steps {
		if !slices.Contains(plan.Steps, plan.Step(s)) {
			fail("cleanup.pressure.steps: %q is no step, use some of %v", s, plan.Steps)
		}
	}
	for key, list := range map[string][]string{"protect": c.Protect, "named_volumes": c.NamedVolumes} {
		for i, p := range list {
			if _, err := glob.Compile(p); err != nil {
				fail("cleanup.%s[%d]: %q: %w", key, i, p, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Doubts are what is valid and most likely not meant.
func (c Config) Doubts() error {
	var errs []error
	if c.Enabled && c.VolumeGrace < 10*time.Minute {
		errs = append(errs, fmt.Errorf("cleanup.volume_grace: %s is short: a volume made by a script goes before its container comes; 3h is usual", c.VolumeGrace))
	}
	if slices.Contains(c.NamedVolumes, "*") {
		errs = append(errs, errors.New(`cleanup.named_volumes: "*" lets every named volume without a container go, databases too; name a pattern`))
	}
	return errors.Join(errs...)
}

// policy is the section as package plan has it. The config must be valid.
func (c Config) policy() plan.Policy {
	p := plan.Policy{
		Interval: c.Interval, High: float64(c.High) / 100, Low: float64(c.Low) / 100, VolumeGrace: c.VolumeGrace,
		StoppedContainers: c.StoppedContainers, Images: c.Images, Protect: compile(c.Protect), NamedVolumes: compile(c.NamedVolumes),
		Pressure: plan.Pressure{VolumeGrace: c.Pressure.VolumeGrace, ImageGrace: c.Pressure.ImageGrace, KeepFailed: c.Pressure.KeepFailed, Most: c.Pressure.Most},
	}
	for _, s := range c.Pressure.Steps {
		p.Pressure.Steps = append(p.Pressure.Steps, plan.Step(s))
	}
	return p
}

func compile(list []string) []glob.Pattern {
	var all []glob.Pattern
	for _, text := range list {
		p, err := glob.Compile(text)
		if err != nil {
			panic("cleanup: " + err.Error() + ": " + text) // Validate has seen it
		}
		all = append(all, p)
	}
	return all
}

// Percent is a part of a whole. In configuration it is written as 80%.
type Percent float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Percent) UnmarshalText(text []byte) error {
	number, ok := strings.CutSuffix(strings.TrimSpace(string(text)), "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(f >= 0 && f <= 100) { // nor NaN
		return fmt.Errorf("%q is not a part: write it as 80%%", text)
	}
	*p = Percent(f)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%" }
