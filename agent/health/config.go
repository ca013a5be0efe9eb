package health

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
)

// Config is the `health` section.
type Config struct {
	Listen      string        `yaml:"listen"`       // host:port of the status page, /metrics, /healthz and /readyz; empty: none
	DockerProbe time.Duration `yaml:"docker_probe"` // how often Docker and the ECS agent are asked; 0: never
	NodeMetrics bool          `yaml:"node_metrics"` // node_*; false where node_exporter runs as well
	WebConfig   string        `yaml:"web_config"`   // file of the Prometheus exporter-toolkit: TLS and basic auth; empty: neither
}

// DefaultConfig serves on all addresses, as exporters do: what it shows is no secret, and changes nothing.
func DefaultConfig() Config {
	return Config{Listen: ":9778", DockerProbe: 30 * time.Second, NodeMetrics: true}
}

// The engine answers each call within minProbe or counts as hung, so it is not to be asked more often.
const (
	minProbe = 5 * time.Second
	maxProbe = time.Hour
)

// Validate checks what can be judged without touching the host.
func (c Config) Validate() error {
	var errs []error
	if c.Listen != "" {
		if err := checkListen(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("health.listen: %w", err))
		}
	}
	if c.DockerProbe != 0 && (c.DockerProbe < minProbe || c.DockerProbe > maxProbe) {
		errs = append(errs, fmt.Errorf("health.docker_probe: %s is not between %s and %s (0 for never)", c.DockerProbe, minProbe, maxProbe))
	}
	if c.WebConfig != "" && !filepath.IsAbs(c.WebConfig) {
		errs = append(errs, fmt.Errorf("health.web_config: %q is not an absolute path", c.WebConfig))
	}
	return errors.Join(errs...)
}

// Check judges the file that web_config names.
func (c Config) Check() error {
	if c.WebConfig == "" {
		return nil
	}
	if err := web.Validate(c.WebConfig); err != nil {
		return fmt.Errorf("health.web_config: %s: %w (its form: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md)", c.WebConfig, err)
	}
	return nil
}

func checkListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not host:port (or :port for all addresses, \"\" for none)", address)
	}
	if _, err := net.LookupPort("tcp", port); err != nil || port == "" {
		return fmt.Errorf("%q has no valid port", address)
	}
	return nil
}
