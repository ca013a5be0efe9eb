package agent

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/fairlead/fairlead/internal/receiver"
)

// The page, its events, and the metrics in the forms that Prometheus asks for; who watches the page does not hold up the end.
func TestPageAndMetrics(t *testing.T) {
	d := start(t, "")
	d.get(t, "/", 200, "forward.to is not set")
	d.get(t, "/metrics", 200, "fairlead_docker_up")
	d.get(t, "/metrics", 200, `fairlead_health_collector_success{collector="cpu"} 1`)
	d.get(t, "/nothing", 404, "")

	ask := func(path, accept string) *http.Response {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+d.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Encoding", "gzip")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		return answer
	}
	answer := ask("/metrics", "application/openmetrics-text;version=1.0.0")
	if got := answer.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text") || answer.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%q, packed %q", got, answer.Header.Get("Content-Encoding"))
	}
	unpacked, err := gzip.NewReader(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(unpacked); err != nil || !strings.HasSuffix(string(text), "# EOF\n") {
		t.Errorf("%d bytes, %v", len(text), err)
	}

	events := bufio.NewReader(ask("/events", "text/event-stream").Body)
	if line, err := events.ReadString('\n'); err != nil || !strings.HasPrefix(line, "data: ") {
		t.Errorf("%q, %v", line, err)
	}
	started := time.Now()
	d.stop()
	if _, err := io.Copy(io.Discard, events); err == nil && time.Since(started) > 10*time.Second {
		t.Errorf("watched for %s after the stop", time.Since(started))
	}
}

// web_config asks for TLS and a password, can be given and taken away by a reload without losing the port, and a broken one is refused.
func TestWebConfig(t *testing.T) {
	d := start(t, "")
	d.get(t, "/healthz", 200, "")
	ca := receiver.NewAuthority("test")
	cert, key := ca.Issue(time.Hour, "127.0.0.1")
	hash, err := bcrypt.GenerateFromPassword([]byte("pass"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"c.pem": string(cert), "k.pem": string(key),
		"web.yml": "tls_server_config: {cert_file: c.pem, key_file: k.pem}\nbasic_auth_users: {prometheus: " + string(hash) + "}\n",
		"bad.yml": "tls_server_config: {cert_file: none.pem}\n",
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	drop := filepath.Join(d.dir, "conf.d", "y.yaml")
	with := func(file string) {
		t.Helper()
		if err := os.WriteFile(drop, []byte("health: {web_config: "+filepath.Join(d.dir, file)+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		hup(t)
	}
	with("bad.yml")
	d.refuses(t, "not valid")
	d.get(t, "/healthz", 200, "")
	with("web.yml")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true}}
	for password, want := range map[string]int{"pass": 200, "other": 401} {
		var got int
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && got != want; time.Sleep(50 * time.Millisecond) {
			r, err := http.NewRequest(http.MethodGet, "https://"+d.address+"/healthz", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.SetBasicAuth("prometheus", password)
			answer, err := client.Do(r)
			if err != nil {
				continue
			}
			_ = answer.Body.Close()
			got = answer.StatusCode
		}
		if got != want {
			t.Errorf("password %q: %d, want %d", password, got, want)
		}
	}
	if err := os.Remove(drop); err != nil {
		t.Fatal(err)
	}
	hup(t)
	d.get(t, "/healthz", 200, "")
}
