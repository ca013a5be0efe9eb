package health

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Listen = "9778" }, `health.listen: "9778" is not host:port`},
		{func(c *Config) { c.Listen = ":nine" }, `health.listen: ":nine" has no valid port`},
		{func(c *Config) { c.DockerProbe = time.Second }, "health.docker_probe: 1s is not between 5s and 1h0m0s"},
		{func(c *Config) { c.WebConfig = "web.yml" }, `health.web_config: "web.yml" is not an absolute path`},
		{func(c *Config) { c.Listen, c.DockerProbe = "", 0 }, ""},
	} {
		config := DefaultConfig()
		c.change(&config)
		err := config.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte("basic_auth_users: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Config{WebConfig: file}).Check(); err == nil || !strings.HasPrefix(err.Error(), "health.web_config: "+file) {
		t.Errorf("%v", err)
	}
}
