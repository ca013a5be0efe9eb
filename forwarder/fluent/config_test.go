package fluent

import (
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // in the error; empty: valid
	}{
		{"default", func(*Config) {}, ""},
		{"addresses", func(c *Config) { c.To = []string{"a:24224", "10.0.0.1:1", "[2001:db8::1]:65535"} }, ""},
		{"no port", func(c *Config) { c.To = []string{"logs.internal"} }, `forward.to: "logs.internal" is not host:port`},
		{"no host", func(c *Config) { c.To = []string{":24224"} }, `forward.to: ":24224" names no host`},
		{"port 0", func(c *Config) { c.To = []string{"a:0"} }, "from 1 to 65535"},
		{"port too large", func(c *Config) { c.To = []string{"a:70000"} }, `has the port "70000"`},
		{"named port", func(c *Config) { c.To = []string{"a:fluentd"} }, "from 1 to 65535"},
		{"TLS", func(c *Config) { c.To = []string{"tls://a:24224"} }, `has the scheme "tls"`},
		{"scheme", func(c *Config) { c.To = []string{"tcp://a:24224"} }, "without a scheme"},
		{"blank", func(c *Config) { c.To = []string{" a:24224"} }, "host that cannot be"},
		{"twice", func(c *Config) { c.To = []string{"a:1", "b:1", "a:1"} }, `"a:1" is there twice`},
		{"heartbeat", func(c *Config) { c.Heartbeat = 0 }, "forward.heartbeat: 0s is too short, need at least 1s"},
		{"ack timeout", func(c *Config) { c.AckTimeout = -time.Second }, "forward.ack_timeout: -1s"},
		{"connect timeout", func(c *Config) { c.ConnectTimeout = time.Millisecond }, "need at least 100ms"},
		{"age", func(c *Config) { c.MaxConnectionAge = time.Second }, "need at least 10s (or 0: no limit)"},
		{"no age", func(c *Config) { c.MaxConnectionAge = 0 }, ""},
		{"no grace", func(c *Config) { c.Grace = 0 }, ""},
		{"grace", func(c *Config) { c.Grace = -1 }, "forward.grace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			err := cfg.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
