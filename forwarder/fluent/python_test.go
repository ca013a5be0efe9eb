package fluent

import (
	"bufio"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startPython starts testdata/receiver.py and returns its port.
func (r *secureRig) startPython(args ...string) (port string, said *logText) {
	r.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		r.Skip("no python3 for an independent receiver")
	}
	cmd := exec.Command("python3", append([]string{"testdata/receiver.py"}, args...)...)
	said = &logText{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		r.Errorf("%v: %s", err, said)
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(said, lines)
	}()
	r.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-copied
		_ = cmd.Wait()
	})
	return strings.TrimSpace(line), said
}

// A receiver that shares nothing with us, neither TLS nor digests nor MessagePack, takes what we send.
func TestIndependentReceiver(t *testing.T) {
	for _, c := range []struct {
		name     string
		tls      bool
		clientCA bool
		args     []string // key, user, password
		change   func(*secureRig, *Sender)
		want     string // in what it says, or in our error
		denied   bool
	}{
		{"TLS", true, false, []string{"", "", ""}, func(*secureRig, *Sender) {}, "test 3 text", false},
		{"key, user, TLS and gzip", true, true, []string{"the key", "u", "schlüssel"}, func(r *secureRig, s *Sender) {
			withKey(s)
			s.client.User.Name, s.client.User.Password = "u", "schlüssel"
			s.credentials.Cert, s.credentials.Key, s.cfg.Compress = r.cert, r.keyFile, formGzip
		}, "test 3 gzip", false},
		{"key alone", false, false, []string{"the key", "", ""}, func(_ *secureRig, s *Sender) { withKey(s) }, "test 3 text", false},
		{"another key", false, false, []string{"another key", "", ""}, func(_ *secureRig, s *Sender) { withKey(s) }, "make forward.shared_key", true},
		{"another password", false, false, []string{"the key", "u", "p"}, func(_ *secureRig, s *Sender) { withKey(s) }, "username/password mismatch", true},
		{"no key here", false, false, []string{"the key", "", ""}, func(*secureRig, *Sender) {}, "set forward.shared_key", true},
		{"no client certificate", true, true, []string{"", "", ""}, func(*secureRig, *Sender) {}, "set forward.tls.cert and forward.tls.key", true},
		{"no client certificate, key", true, true, []string{"the key", "", ""}, func(_ *secureRig, s *Sender) { withKey(s) }, "set forward.tls.cert and forward.tls.key", true},
		{"no TLS there", false, false, []string{"", "", ""}, func(r *secureRig, s *Sender) {
			s.peers[0].tls = true
			s.cfg.ConnectTimeout = 300 * time.Millisecond
		}, "write its address without tls://", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newSecureRig(t)
			cert, key := r.ca.Issue(time.Hour, "127.0.0.1")
			r.put(r.cert, cert)
			r.put(r.keyFile, key)
			args, scheme := c.args, ""
			if c.tls {
				ca := ""
				if c.clientCA {
					ca = r.caFile
				}
				args, scheme = append(args, r.cert, r.keyFile, ca), "tls://"
			}
			port, said := r.startPython(args...)
			if c.want == "test 3 gzip" {
				r.addPacked(formGzip, 40, 3, 500)
				r.addPacked(formGzip, 5, 3, 100_000)
			} else {
				r.add(40, 3, 500)
				r.add(5, 3, 100_000)
			}
			r.start(func(s *Sender) { r.trusting(s); c.change(r, s) }, scheme+"127.0.0.1:"+port)
			if c.denied {
				r.until("it is said", func() bool { return strings.Contains(r.s.Status().LastError, c.want) })
			} else {
				r.until("all is acked", func() bool { return r.s.Status().AckedEvents == int64(r.lines) })
				if n := strings.Count(said.String(), c.want); n != 45 {
					t.Errorf("%d messages %q, want 45:\n%s", n, c.want, tail(said.String()))
				}
			}
			if strings.Contains(said.String(), "Traceback") {
				t.Error(tail(said.String()))
			}
			r.stop()
		})
	}
}
