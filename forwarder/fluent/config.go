package fluent

import (
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/internal/document"
)

// Config is the `forward` section of the configuration.
type Config struct {
	To               []Endpoint      `yaml:"to"` // all entries are one destination
	Heartbeat        time.Duration   `yaml:"heartbeat"`
	AckTimeout       time.Duration   `yaml:"ack_timeout"`
	ConnectTimeout   time.Duration   `yaml:"connect_timeout"`
	TLS              TLS             `yaml:"tls"`        // for the endpoints with tls://
	SharedKey        document.Secret `yaml:"shared_key"` // of the receiver's <security> section; empty: it has none
	Username         document.Secret `yaml:"username"`
	Password         document.Secret `yaml:"password"`
	Compress         string          `yaml:"compress"`           // none, gzip or zstd: how frames are sealed from now on
	MaxConnectionAge time.Duration   `yaml:"max_connection_age"` // 0: connections do not age
	ResolveEvery     time.Duration   `yaml:"resolve_every"`      // 0: names are resolved only to connect
	Grace            time.Duration   `yaml:"grace"`              // for the caller: how long Run goes on after the stop
}

// DefaultConfig has no destination: without one, nothing is forwarded and the daemon says so.
func DefaultConfig() Config {
	return Config{
		Compress:         formNone,
		Heartbeat:        20 * time.Second,
		AckTimeout:       30 * time.Second,
		ConnectTimeout:   5 * time.Second,
		MaxConnectionAge: 15 * time.Minute,
		ResolveEvery:     30 * time.Second,
		Grace:            10 * time.Second,
	}
}

// Validate names the first key that cannot be used, its value, and what is accepted.
func (c Config) Validate() error {
	if err := validEndpoints(c.To); err != nil {
		return err
	}
	if err := validForm(c.Compress); err != nil {
		return err
	}
	if err := c.validSecurity(); err != nil {
		return err
	}
	for _, d := range []struct {
		key        string
		value, min time.Duration
		orZero     string
	}{
		{"heartbeat", c.Heartbeat, time.Second, ""},
		{"ack_timeout", c.AckTimeout, time.Second, ""},
		{"connect_timeout", c.ConnectTimeout, 100 * time.Millisecond, ""},
		{"max_connection_age", c.MaxConnectionAge, 10 * time.Second, " (or 0: no limit)"},
		{"resolve_every", c.ResolveEvery, time.Second, " (or 0: only to connect)"},
		{"grace", c.Grace, 0, ""},
	} {
		if d.value < d.min && (d.value != 0 || d.orZero == "") {
			return fmt.Errorf("forward.%s: %v is too short, need at least %v%s", d.key, d.value, d.min, d.orZero)
		}
	}
	return nil
}

func (c Config) validSecurity() error {
	if err := c.TLS.validate(); err != nil {
		return err
	}
	for i, e := range c.To {
		if t, err := parseAddress(e.Address); err == nil && t.tls && t.srv && c.TLS.ServerName == "" {
			return fmt.Errorf("forward.to[%d]: %q takes the receivers' names from DNS, which must not say whom to trust: "+
				"set forward.tls.server_name to a name that their certificates share", i, e.Address)
		}
	}
	switch {
	case c.Username != "" && c.SharedKey == "":
		return errors.New("forward.username: is set without forward.shared_key, which every <security> section has")
	case c.Password != "" && c.Username == "":
		return errors.New("forward.password: is set without forward.username")
	}
	return nil
}

// Check judges what Validate cannot without touching the host: the files that the configuration names.
func (c Config) Check() error {
	if _, err := c.TLS.load(); err != nil && c.usesTLS() {
		return err
	}
	return nil
}

// Doubts are what is valid and most likely not meant.
func (c Config) Doubts() error {
	if c.TLS != (TLS{}) && len(c.To) > 0 && !c.usesTLS() {
		return errors.New("forward.tls: is set, but no address in forward.to begins with tls://, so nothing is encrypted")
	}
	return nil
}

func (c Config) usesTLS() bool {
	for _, e := range c.To {
		if t, err := parseAddress(e.Address); err == nil && t.tls {
			return true
		}
	}
	return false
}
