package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// metadataService speaks version 2 alone, as EC2's does where it is told to. It answers an id.
func metadataService(t *testing.T, id string) (asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "token")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/latest/meta-data/instance-id":
			asked.Add(1)
			fmt.Fprint(w, id)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	return asked
}

// The id is asked for beside the start and then in each event, at once after the next start, and not at all where it is not wanted.
func TestInstanceInEvents(t *testing.T) {
	asked := metadataService(t, "i-0123456789abcdef0")
	dir := t.TempDir()
	log := filepath.Join(dir, "a.log")
	config := func(instance bool) string {
		return fmt.Sprintf("forward: {to: [\"127.0.0.1:1\"], grace: 10ms}\nrecord: {instance: %v}\nsources: {containers: {enabled: false}, files: [{path: %s, tag: app}]}\n", instance, log)
	}
	d := start(t, config(false))
	d.get(t, "/healthz", 200, "true")
	w := watch(t, d, "")
	say(t, log, "not wanted\n")
	if e := w.next(t); e.Field("ec2_instance_id") != nil {
		t.Errorf("not wanted: %s", e.Record())
	}
	if asked.Load() != 0 {
		t.Error("it is asked for and not wanted")
	}
	if err := os.WriteFile(filepath.Join(d.dir, "f.yaml"), []byte(config(true)), 0o600); err != nil {
		t.Fatal(err)
	}
	hup(t)
	for n, deadline := 0, time.Now().Add(10*time.Second); ; n++ {
		say(t, log, fmt.Sprintf("wanted %d\n", n))
		if string(w.next(t).Field("ec2_instance_id")) == "i-0123456789abcdef0" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no id in the events")
		}
	}
	d.stop()
	w.end(t)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(d.dir, "s")); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not stop")
		}
	}
	if i := newInstanceID(slog.New(slog.DiscardHandler)); i.want(filepath.Join(d.dir, "state")) != "i-0123456789abcdef0" {
		t.Error("the next life does not have the id at once")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// An AMI made of an instance carries the id of that instance along; it is not the id of another.
func TestInstanceOfAnotherMachine(t *testing.T) {
	state := t.TempDir()
	machine := func(uuid string) *instanceID {
		i := newInstanceID(slog.New(slog.DiscardHandler))
		i.root = t.TempDir()
		if uuid != "" {
			path := filepath.Join(i.root, "sys/class/dmi/id/product_uuid")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(uuid+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return i
	}
	if err := machine("ec2aaaaa").keep(state, "i-0123456789abcdef0"); err != nil {
		t.Fatal(err)
	}
	for uuid, want := range map[string]string{"ec2aaaaa": "i-0123456789abcdef0", "ec2bbbbb": "", "": ""} {
		if got := machine(uuid).want(state); got != want {
			t.Errorf("machine %q: got %q, want %q", uuid, got, want)
		}
	}
	for _, text := range []string{"", "{", `{"instance_id":"i-x","machine":"product_uuid ec2aaaaa"}`, `{"instance_id":"i-0123456789abcdef0"}`} {
		if err := os.WriteFile(instancePath(state), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, uuid := range []string{"ec2aaaaa", ""} {
			if got := machine(uuid).want(state); got != "" {
				t.Errorf("%q on %q: got %q", text, uuid, got)
			}
		}
	}
	unknown := machine("")
	if err := unknown.keep(state, "i-0123456789abcdef0"); err != nil || unknown.want(state) != "" {
		t.Errorf("a machine that nothing tells from others: %v", err)
	}
}

// Without a service there is one line in the log, and the end is not held up.
func TestNoInstance(t *testing.T) {
	metadataService(t, "<html>a captive portal</html>")
	var b strings.Builder
	if id, err := askInstance(t.Context(), time.Minute); err == nil || !strings.Contains(err.Error(), "which is no instance id") {
		t.Errorf("%q, %v", id, err)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	i := newInstanceID(slog.New(slog.NewTextHandler(&b, nil)))
	i.root = t.TempDir()
	i.want(t.TempDir())
	i.run(t.Context(), func(id string) { t.Errorf("told %q", id) }) // returns: nobody will answer
	if n := strings.Count(b.String(), "\n"); n != 1 || !strings.Contains(b.String(), "record.instance") {
		t.Errorf("log:\n%s", b.String())
	}

	hold := make(chan struct{})
	reached := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{}; <-hold }))
	defer s.Close()
	defer close(hold)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	silent := newInstanceID(slog.New(slog.NewTextHandler(io.Discard, nil)))
	silent.root = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	silent.want(t.TempDir())
	go func() { defer close(ended); silent.run(ctx, func(string) {}) }()
	<-reached
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("a silent service holds up the end")
	}
}
