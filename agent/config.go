package agent

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/fairlead/fairlead/agent/drain"
	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/cleanup"
	"github.com/fairlead/fairlead/collector"
	"github.com/fairlead/fairlead/forwarder"
)

// DefaultPath is where the configuration is looked for; it need not be there.
const DefaultPath = "/etc/fairlead/fairlead.yaml"

// Config is the whole configuration, each part owned by the package it configures. Only this package and cmd know it whole.
type Config struct {
	Forwarder forwarder.Config `yaml:",inline"`
	State     State            `yaml:"state"`
	ECS       ecsconfig.Config `yaml:"ecs"`
	Drain     drain.Config     `yaml:"drain"`
	Cleanup   cleanup.Config   `yaml:"cleanup"`
	Health    health.Config    `yaml:"health"`
	Bundle    collector.Config `yaml:"bundle"`
	Control   Control          `yaml:"control"`
}

// State is the `state` section: where the daemon keeps what must survive it.
type State struct {
	Dir string `yaml:"dir"`
}

// Control is the `control` section.
type Control struct {
	Socket string `yaml:"socket"` // empty: none
}

// DefaultConfig works unset, but for a destination: it is for the operator to name.
func DefaultConfig() Config {
	return Config{
		Forwarder: forwarder.DefaultConfig(),
		State:     State{Dir: "/var/lib/fairlead"},
		ECS:       ecsconfig.DefaultConfig(),
		Drain:     drain.DefaultConfig(),
		Cleanup:   cleanup.DefaultConfig(),
		Health:    health.DefaultConfig(),
		Bundle:    collector.DefaultConfig(),
		Control:   Control{Socket: "/run/fairlead/fairlead.sock"},
	}
}

// complete fills in what follows from other keys.
func (c *Config) complete() {
	if c.Forwarder.Spool.Dir == "" {
		c.Forwarder.Spool.Dir = filepath.Join(c.State.Dir, "spool")
	}
	if c.Bundle.Dir == "" {
		c.Bundle.Dir = filepath.Join(c.State.Dir, "bundles")
	}
}

// maxSocketPath is what fits into sockaddr_un, less the end and the suffix of the temporary name.
const maxSocketPath = 90

// Validate checks everything that can be judged without touching the host. Each message begins with the path of its key.
func (c Config) Validate() error {
	var errs []error
	if !filepath.IsAbs(c.State.Dir) {
		errs = append(errs, fmt.Errorf("state.dir: %q is not an absolute path", c.State.Dir))
	}
	switch s := c.Control.Socket; {
	case s == "":
	case !filepath.IsAbs(s):
		errs = append(errs, fmt.Errorf("control.socket: %q is not an absolute path", s))
	case len(s) > maxSocketPath:
		errs = append(errs, fmt.Errorf("control.socket: %q has %d bytes, a socket's path may have %d", s, len(s), maxSocketPath))
	}
	return errors.Join(append(errs, c.Health.Validate(), c.ECS.Validate(), c.Cleanup.Validate(), c.Drain.Validate(), c.Bundle.Validate(), c.Forwarder.Validate())...)
}

// Check judges what Validate cannot: the files that the configuration names.
func (c Config) Check() error { return errors.Join(c.Forwarder.Forward.Check(), c.Health.Check()) }

// Doubts are what is valid and most likely not meant.
func (c Config) Doubts() error { return errors.Join(c.Forwarder.Forward.Doubts(), c.Cleanup.Doubts()) }
