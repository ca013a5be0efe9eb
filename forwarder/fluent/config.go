package fluent

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config is the `forward` section of the configuration.
type Config struct {
	To               []string      `yaml:"to"` // host:port of Fluentd; all entries are one destination
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
	seen := make(map[string]bool, len(c.To))
	for _, to := range c.To {
		if err := validAddress(to); err != nil {
			return fmt.Errorf("forward.to: %q %w", to, err)
		}
		if seen[to] {
			return fmt.Errorf("forward.to: %q is there twice, name each address once", to)
		}
		seen[to] = true
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

// validAddress returns what is wrong with an entry of `to`, as the end of a sentence that begins with it.
func validAddress(to string) error {
	if scheme, _, ok := strings.Cut(to, "://"); ok {
		return fmt.Errorf("has the scheme %q: only plain TCP is supported, written host:port without a scheme", scheme)
	}
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return fmt.Errorf("is not host:port (as logs.internal:24224 or [2001:db8::1]:24224)")
	}
	if host == "" {
		return fmt.Errorf("names no host: write host:port (as 127.0.0.1:24224)")
	}
	if strings.ContainsAny(host, " \t/@") {
		return fmt.Errorf("has a host that cannot be: write host:port (as logs.internal:24224)")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("has the port %q: need a number from 1 to 65535 (Fluentd's own is 24224)", port)
	}
	return nil
}
