package test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/script"
)

// window shows of the engine one container alone, and lets nothing else be removed: what is on this machine beside is not for a test to clean up.
func window(t *testing.T, id *string) (host string) {
	t.Helper()
	socket := strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if socket == "" {
		socket = "/var/run/docker.sock"
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "docker"}) },
		FlushInterval: -1, // events
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}},
	}
	path := filepath.Join(bed.dir, "window.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/volumes"):
			_, _ = w.Write([]byte(`{"Volumes": [], "Warnings": null}`))
		case strings.HasSuffix(r.URL.Path, "/images/json"):
			_, _ = w.Write([]byte("[]"))
		case strings.HasSuffix(r.URL.Path, "/containers/json"):
			r.URL.RawQuery = url.Values{"all": {"1"}, "filters": {`{"id": ["` + *id + `"]}`}}.Encode()
			forward.ServeHTTP(w, r)
		case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/containers/"+*id):
			forward.ServeHTTP(w, r)
		default:
			t.Errorf("%s %s is asked of the engine", r.Method, r.URL)
			http.Error(w, "not through here", http.StatusForbidden)
		}
	})}}
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return "unix://" + path
}

// gcItem is one of `fairlead gc --json`.
type gcItem struct {
	Kind, ID, Reason, Action string
	Bytes                    int64
}

// gc asks the daemon for a pass.
func (d *daemon) gc() (items []gcItem) {
	d.t.Helper()
	cmd := exec.Command(bed.fairlead, "gc", "--json", "--config", d.config)
	cmd.Env = lab.Environment()
	out, err := cmd.Output()
	var report struct {
		Items          []gcItem
		Errors         []string
		ReclaimedBytes *int64 `json:"reclaimed_bytes"`
	}
	if jerr := json.Unmarshal(out, &report); err != nil || jerr != nil || len(report.Errors) > 0 || report.ReclaimedBytes == nil {
		d.t.Fatalf("fairlead gc: %v, %v\n%s", err, jerr, out)
	}
	return report.Items
}

// TestCleanUpAfterDelivery has a stopped container go under pressure, but not before Fluentd has all of its log, and has Fluentd told of it.
func TestCleanUpAfterDelivery(t *testing.T) {
	var id string
	host := window(t, &id)
	r := newRig(t, newOurReceiver, daemonConfig{containers: true,
		more: "cleanup: {high: 0.01%, low: 0.01%, stopped_containers: 1s, pressure: {steps: [containers]}}\n"})
	t.Setenv("DOCKER_HOST", host)
	ours := r.receiver.(*ourReceiver)
	c := r.launch("stopped", writerOptions{out: script.Bare, groups: 20, rate: 0})
	id = c.id
	c.wait()
	r.receiver.kill()
	r.faults++
	r.daemon.start()
	r.caughtUp()
	var item gcItem
	becomes := func(action, reason string) {
		t.Helper()
		err := poll(t.Context(), 3*time.Minute, func() bool { // the engine may have started just now
			for _, item = range r.daemon.gc() {
				if item.ID == c.id && item.Action == action && strings.Contains(item.Reason, reason) {
					return true
				}
			}
			time.Sleep(500 * time.Millisecond)
			return false
		})
		if err != nil {
			t.Fatalf("%+v, want %s: %s: %v\nstatus: %s", item, action, reason, err, r.daemon.status())
		}
	}
	becomes("wait", "its log is not delivered: ")
	r.receiver.start()
	becomes("remove", "stopped")
	if item.Kind != "container" || item.Bytes == 0 {
		t.Errorf("%+v", item)
	}
	if _, err := os.Stat(filepath.Join(bed.logs, c.id)); !os.IsNotExist(err) {
		t.Errorf("the container is still there: %v", err)
	}
	var told map[string]any
	if err := poll(t.Context(), time.Minute, func() bool {
		ours.mu.Lock()
		defer ours.mu.Unlock()
		if len(ours.doings) > 0 {
			told = ours.doings[0]
		}
		return told != nil
	}); err != nil || told["kind"] != "container" || told["id"] != c.id || told["reason"] != item.Reason || told["step"] != "containers" {
		t.Errorf("told %v, %v", told, err)
	}
	m, err := r.daemon.metrics(t.Context())
	if err != nil || m[`fairlead_cleanup_removed_total{kind="container"}`] != 1 || m["fairlead_cleanup_reclaimed_bytes_total"] != float64(item.Bytes) {
		t.Errorf("removed %v, %v bytes, want 1 and %d: %v", m[`fairlead_cleanup_removed_total{kind="container"}`], m["fairlead_cleanup_reclaimed_bytes_total"], item.Bytes, err)
	}
	r.finish()
}
