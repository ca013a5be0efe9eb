package fluent

import (
	"strings"
	"testing"
	"time"
)

// to sets the addresses.
func to(addresses ...string) func(*Config) {
	return func(c *Config) {
		for _, a := range addresses {
			c.To = append(c.To, Endpoint{Address: a})
		}
	}
}

func both(a, b func(*Config)) func(*Config) { return func(c *Config) { a(c); b(c) } }

func TestConfigValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string // in the error; empty: valid
	}{
		{"default", func(*Config) {}, ""},
		{"addresses", to("a:24224", "10.0.0.1:1", "[2001:db8::1]:65535"), ""},
		{"no port", to("logs.internal"), `forward.to[0]: "logs.internal" is not host:port`},
		{"no host", to(":24224"), `forward.to[0]: ":24224" names no host`},
		{"port 0", to("a:0"), "from 1 to 65535"},
		{"port too large", to("a:70000"), `has the port "70000"`},
		{"named port", to("a:fluentd"), "from 1 to 65535"},
		{"TLS", to("tls://a:24224"), ""},
		{"TLS files", both(to("tls://a:1"), func(c *Config) { c.TLS = TLS{CA: "/ca", Cert: "/c", Key: "/k"} }), ""},
		{"TLS file", func(c *Config) { c.TLS.CA = "ca.pem" }, `forward.tls.ca: "ca.pem" is not an absolute path`},
		{"certificate without key", func(c *Config) { c.TLS.Cert = "/c" }, "forward.tls.cert: is set without forward.tls.key"},
		{"key without certificate", func(c *Config) { c.TLS.Key = "/k" }, "forward.tls.key: is set without forward.tls.cert"},
		{"TLS by SRV", to("tls+srv://_f._tcp.x"), "set forward.tls.server_name"},
		{"TLS by SRV, with a name", both(to("tls+srv://_f._tcp.x"), func(c *Config) { c.TLS.ServerName = "x" }), ""},
		{"key", func(c *Config) { c.SharedKey, c.Username, c.Password = "k", "u", "p" }, ""},
		{"user without key", func(c *Config) { c.Username = "u" }, "forward.username: is set without forward.shared_key"},
		{"password without user", func(c *Config) { c.SharedKey, c.Password = "k", "p" }, "forward.password: is set without forward.username"},
		{"scheme", to("tcp://a:24224"), `has the scheme "tcp": write host:port`},
		{"SRV", to("srv://logs.internal", "_fluentd._tcp.logs.internal"), ""},
		{"SRV with a port", to("_fluentd._tcp.logs.internal:24224"), "is no SRV name"},
		{"SRV of an address", to("srv://10.0.0.1"), "is no SRV name"},
		{"no address", func(c *Config) { c.To = []Endpoint{{Address: "a:1"}, {Weight: 5}} }, "forward.to[1]: an endpoint without an address"},
		{"weight", func(c *Config) { c.To = []Endpoint{{Address: "a:1", Weight: 1001}} }, "forward.to[0].weight: 1001 is no weight"},
		{"standby", func(c *Config) { c.To = []Endpoint{{Address: "a:1"}, {Address: "b:1", Standby: true}} }, ""},
		{"standbys only", func(c *Config) { c.To = []Endpoint{{Address: "a:1", Standby: true}} }, "forward.to: every endpoint is a standby"},
		{"blank", to(" a:24224"), "host that cannot be"},
		{"twice", to("a:1", "b:1", "A:1"), `forward.to[2]: "A:1" is there twice`},
		{"SRV twice", to("srv://_f._tcp.x", "_f._tcp.x"), "there twice"},
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
