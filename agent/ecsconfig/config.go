package ecsconfig

import (
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/internal/document"
)

// Config is the `ecs` section.
type Config struct {
	Settings document.Settings `yaml:"settings"`
	Restart  string            `yaml:"restart"` // auto or never
}

// DefaultConfig declares nothing.
func DefaultConfig() Config { return Config{Restart: Auto} }

// When the agent is started again after a change.
const (
	Auto  = "auto"
	Never = "never"
)

// Validate checks what does not depend on the agent's own table: that a setting is of use is said when it is rendered.
func (c Config) Validate() error {
	var errs []error
	if c.Restart != Auto && c.Restart != Never {
		errs = append(errs, fmt.Errorf("ecs.restart: %q is unknown, use auto or never", c.Restart))
	}
	for _, s := range c.Settings {
		if !keyish.MatchString(s.Key) {
			errs = append(errs, fmt.Errorf("ecs.settings: %q cannot be the name of a setting: use letters, digits and _", clip(s.Key)))
		}
	}
	return errors.Join(errs...)
}
