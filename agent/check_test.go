package agent

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// What the configuration names on this host is looked at by `fairlead check` and before a reload, not at the start.
func TestCheckTLSFiles(t *testing.T) {
	ca := receiver.NewAuthority("test")
	cert, key := ca.Issue(time.Hour, "client")
	_, other := ca.Issue(time.Hour, "client")
	dir := write(t, map[string]string{"ca.pem": string(ca.PEM()), "empty.pem": "", "cert.pem": string(cert), "key.pem": string(key), "other.pem": string(other)})
	for _, c := range []struct{ name, yaml, want string }{
		{"right", "forward:\n  to: [tls://a:1]\n  tls: {ca: DIR/ca.pem, cert: DIR/cert.pem, key: DIR/key.pem}\n", ""},
		{"system roots", "forward: {to: [tls://a:1]}\n", ""},
		{"no CA file", "forward:\n  to: [tls://a:1]\n  tls: {ca: DIR/none.pem}\n",
			"f.yaml:3:9: error: forward.tls.ca: cannot read DIR/none.pem: no such file or directory\n"},
		{"empty CA", "forward:\n  to: [tls://a:1]\n  tls:\n    ca: DIR/empty.pem\n",
			"f.yaml:4:5: error: forward.tls.ca: DIR/empty.pem holds no certificate: it is to be PEM, -----BEGIN CERTIFICATE-----\n"},
		{"no certificate file", "forward: {to: [tls://a:1], tls: {cert: DIR/none, key: DIR/key.pem}}\n",
			"f.yaml:1:34: error: forward.tls.cert: cannot read DIR/none: no such file or directory\n"},
		{"another key", "forward: {to: [tls://a:1], tls: {cert: DIR/cert.pem, key: DIR/other.pem}}\n",
			"error: forward.tls.key: DIR/other.pem does not go with DIR/cert.pem: tls: private key does not match public key\n"},
		{"a folder", "forward: {to: [tls://a:1], tls: {ca: DIR}}\n", "f.yaml:1:34: error: forward.tls.ca: cannot read DIR: is a directory\n"},
		{"not used", "forward:\n  to: [a:1]\n  tls: {ca: DIR/ca.pem}\n",
			"f.yaml:3:9: warning: forward.tls: is set, but no address in forward.to begins with tls://, so nothing is encrypted\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := write(t, map[string]string{"f.yaml": strings.ReplaceAll(c.yaml, "DIR", dir)})
			s := Source{Path: filepath.Join(at, "f.yaml")}
			got := strings.ReplaceAll(findings(s.Check(), at), dir, "DIR")
			if c.want == "" && got != "" || !strings.HasSuffix(got, c.want) || strings.Count(got, "\n") > 1 {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if l := s.Load(); !l.OK() {
				t.Errorf("at the start: %v", l.Findings)
			}
		})
	}
}
