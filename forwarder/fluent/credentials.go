package fluent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// TLS is the `forward.tls` section: what to show to the receivers of tls:// endpoints, and whom to believe.
type TLS struct {
	CA         string `yaml:"ca"`   // file of the CAs that may sign a receiver's certificate; empty: those of the system
	Cert       string `yaml:"cert"` // file of our own certificate, with those between it and the CA
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"` // the name in the receiver's certificate; empty: the host of the endpoint
}

func (t TLS) validate() error {
	for _, f := range []struct{ key, path string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
		if f.path != "" && !filepath.IsAbs(f.path) {
			return fmt.Errorf("forward.tls.%s: %q is not an absolute path", f.key, f.path)
		}
	}
	switch {
	case t.Cert != "" && t.Key == "":
		return errors.New("forward.tls.cert: is set without forward.tls.key: a certificate is of no use without its private key")
	case t.Key != "" && t.Cert == "":
		return errors.New("forward.tls.key: is set without forward.tls.cert: name the certificate as well")
	}
	return nil
}

// load reads the files. Its errors name the key of the file that is wrong.
func (t TLS) load() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		DynamicRecordSizingDisabled: true} // it would begin with records of one packet: good for a page, a cost for a stream
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("forward.tls.ca: cannot read %s: %w", t.CA, cause(err))
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("forward.tls.ca: %s holds no certificate: it is to be PEM, -----BEGIN CERTIFICATE-----", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := os.ReadFile(t.Cert)
		if err != nil {
			return nil, fmt.Errorf("forward.tls.cert: cannot read %s: %w", t.Cert, cause(err))
		}
		key, err := os.ReadFile(t.Key)
		if err != nil {
			return nil, fmt.Errorf("forward.tls.key: cannot read %s: %w", t.Key, cause(err))
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("forward.tls.key: %s does not go with %s: %w", t.Key, t.Cert, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// cause is the cause of a file error without the path, which stands before it already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if path == "" || err != nil {
		return stamp{}
	}
	s := stamp{modified: info.ModTime(), size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// credentials are the TLS settings and what their files held when they were last right.
type credentials struct {
	TLS

	mu      sync.Mutex // guards all below: several addresses may be tried side by side
	stamps  [3]stamp
	loaded  *tls.Config // nil: the files were never right
	reading outage
}

// current reads the files again if one has changed. While the new ones are wrong, as in the middle of a renewal, what they
// held before stays in use.
func (c *credentials) current(log *slog.Logger, now time.Time) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamps := [3]stamp{stampOf(c.CA), stampOf(c.Cert), stampOf(c.Key)} // before reading: what changes meanwhile is read again
	if c.loaded != nil && stamps == c.stamps {
		return c.loaded, nil
	}
	loaded, err := c.load()
	switch {
	case err == nil:
		if c.loaded != nil {
			log.Info("TLS files have changed and were read again", "ca", c.CA, "cert", c.Cert)
		}
		c.loaded, c.stamps = loaded, stamps
		c.reading.ended(log, now)
	case c.loaded != nil:
		c.reading.failed(log, now, slog.String("err", err.Error()))
	default:
		return nil, &setupError{err}
	}
	return c.loaded, nil
}
