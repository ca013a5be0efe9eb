package fluent

import (
	"fmt"
	"time"
)

// Config is the `forward` section of the configuration.
type Config struct {
	To               []Endpoint    `yaml:"to"` // all entries are one destination
	Heartbeat        time.Duration `yaml:"heartbeat"`
	AckTimeout       time.Duration `yaml:"ack_timeout"`
	ConnectTimeout   time.Duration `yaml:"connect_timeout"`
	MaxConnectionAge time.Duration `yaml:"max_connection_age"` // 0: connections do not age
	Grace            time.Duration `yaml:"grace"`              // for the caller: how long Run goes on after the stop
}

// DefaultConfig has no destination: without one, nothing is forwarded and the daemon says so.
func DefaultConfig() Config {
	return Config{
		Heartbeat:        20 * time.Second,
		AckTimeout:       30 * time.Second,
		ConnectTimeout:   5 * time.Second,
		MaxConnectionAge: 15 * time.Minute,
		Grace:            10 * time.Second,
	}
}

// Validate names the first key that cannot be used, its value, and what is accepted.
func (c Config) Validate() error {
	if err := validEndpoints(c.To); err != nil {
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
		{"grace", c.Grace, 0, ""},
	} {
		if d.value < d.min && (d.value != 0 || d.orZero == "") {
			return fmt.Errorf("forward.%s: %v is too short, need at least %v%s", d.key, d.value, d.min, d.orZero)
		}
	}
	return nil
}
