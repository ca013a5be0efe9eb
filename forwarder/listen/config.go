package listen

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/fairlead/fairlead/internal/document"
)

// Config is the `sources.listen` section of the configuration.
type Config struct {
	TCP       string          `yaml:"tcp"`        // host:port; empty: none
	Unix      string          `yaml:"unix"`       // path of the socket; empty: none
	SharedKey document.Secret `yaml:"shared_key"` // empty: no handshake
}

// DefaultConfig listens for clients of this host.
func DefaultConfig() Config {
	return Config{TCP: "127.0.0.1:24224", Unix: "/run/fairlead/fluent.sock"}
}

// maxSocketPath is what fits into sockaddr_un, less the end and the suffix of the temporary name.
const maxSocketPath = 90

// Validate names the first key that is wrong, its value and what would be accepted. The key itself is never told.
func (c Config) Validate() error {
	if c.TCP != "" {
		_, port, err := net.SplitHostPort(c.TCP)
		if err != nil {
			return fmt.Errorf("sources.listen.tcp: %q is not host:port (as 127.0.0.1:24224, or \"\" for none)", c.TCP)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("sources.listen.tcp: %q has the port %q: need a number up to 65535 (Fluentd's own is 24224)", c.TCP, port)
		}
	}
	switch {
	case c.Unix == "":
	case !filepath.IsAbs(c.Unix):
		return fmt.Errorf("sources.listen.unix: %q is not an absolute path (\"\" for none)", c.Unix)
	case len(c.Unix) > maxSocketPath:
		return fmt.Errorf("sources.listen.unix: %q has %d bytes, a socket's path may have %d", c.Unix, len(c.Unix), maxSocketPath)
	}
	return nil
}
