package ecsconfig

import (
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

// Validate checks what the daemon goes by. What is wrong with a setting is said when it is rendered, and of that one alone: for a misspelt
// name the instance must not lose its cluster.
func (c Config) Validate() error {
	if c.Restart != Auto && c.Restart != Never {
		return fmt.Errorf("ecs.restart: %q is unknown, use auto or never", c.Restart)
	}
	return nil
}
