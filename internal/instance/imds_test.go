package instance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// service speaks the metadata service's dialect: version 2 alone.
type service struct {
	mu     sync.Mutex
	tokens int
	token  string // the one that is good
	fail   []int  // statuses of the next answers, first to last
	asked  int
	text   string // user data; empty: none
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fail) > 0 {
		status := s.fail[0]
		s.fail = s.fail[1:]
		if status == http.StatusUnauthorized {
			s.token = "" // expired
		}
		w.WriteHeader(status)
		return
	}
	if r.URL.Path == "/latest/api/token" {
		if r.Method != http.MethodPut || r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if r.Header.Get("X-Forwarded-For") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.tokens++
		s.token = fmt.Sprintf("token-%d", s.tokens)
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		fmt.Fprint(w, s.token)
		return
	}
	if s.token == "" || r.Header.Get("X-Aws-Ec2-Metadata-Token") != s.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.asked++
	switch {
	case r.URL.Path == "/latest/user-data" && s.text != "":
		w.Header().Set("Content-Type", "application/octet-stream")
		fmt.Fprint(w, s.text)
	case r.URL.Path == "/latest/meta-data/instance-id":
		fmt.Fprint(w, "i-1")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestIMDS(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // never used
	for _, c := range []struct {
		name, text string
		fail       []int
		want       string
	}{
		{"there", "#!/bin/bash\n", nil, "#!/bin/bash\n"},
		{"none", "", nil, ""},
		{"late", "x", []int{500, 503, 500, 500, 503, 500, 500, 500}, "x"},
		{"token expired", "x", []int{401}, "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &service{text: c.text, fail: c.fail}
			h := httptest.NewServer(s)
			defer h.Close()
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", h.URL)
			client := NewIMDS()
			client.wait = 10 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			got, err := client.UserData(ctx)
			if err != nil || string(got) != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
			if id, err := client.Metadata(ctx, "instance-id"); err != nil || id != "i-1" {
				t.Errorf("instance-id %q, %v", id, err)
			}
		})
	}
}

// At boot nobody may listen yet.
func TestIMDSNotThereYet(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+address)
	client := NewIMDS()
	client.wait = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.UserData(ctx); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
	server := &http.Server{Handler: &service{text: "x", fail: []int{503}}, ReadHeaderTimeout: time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		time.Sleep(300 * time.Millisecond) // late, that is what is tested
		if l, err := net.Listen("tcp", address); err == nil {
			_ = server.Serve(l)
		}
	}()
	defer func() { _ = server.Close(); <-served }()
	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if got, err := client.UserData(ctx); err != nil || string(got) != "x" {
		t.Errorf("late: %q, %v", got, err)
	}
}

// A token that is never taken is not asked for for ever, and 400 is no reason to give up at once.
func TestIMDSRefuses(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusBadRequest, http.StatusInternalServerError} {
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/latest/api/token" {
				w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
				fmt.Fprint(w, "token")
				return
			}
			w.WriteHeader(status)
		}))
		t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", h.URL)
		client := NewIMDS()
		client.wait = 10 * time.Millisecond
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		_, err := client.UserData(ctx)
		cancel()
		h.Close()
		if err == nil || errors.Is(err, ErrOff) || !strings.Contains(err.Error(), "metadata service") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestIMDSOff(t *testing.T) {
	h := httptest.NewServer(&service{fail: []int{403, 403, 403, 403, 403, 403}})
	defer h.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", h.URL)
	if _, err := NewIMDS().UserData(context.Background()); !errors.Is(err, ErrOff) {
		t.Errorf("switched off for the instance: %v", err)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if _, err := NewIMDS().UserData(context.Background()); !errors.Is(err, ErrOff) {
		t.Errorf("switched off here: %v", err)
	}
}

func TestIMDSSilent(t *testing.T) {
	stop := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer h.Close()
	defer close(stop)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", h.URL)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := NewIMDS().UserData(ctx); err == nil || !strings.Contains(err.Error(), "hop limit") {
		t.Errorf("a service that does not answer: %v", err)
	}
}

func TestCloudInit(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := CloudInit{Root: root}
	if text, _, err := c.UserData(); text != nil || err != nil {
		t.Errorf("without cloud-init: %q, %v", text, err)
	}
	put("var/lib/cloud/instances/i-0abc/user-data.txt", "mine")
	if err := os.Symlink("/var/lib/cloud/instances/i-0abc", filepath.Join(root, "var/lib/cloud/instance")); err != nil {
		t.Fatal(err)
	}
	// As on a host, but below the root.
	if err := os.Remove(filepath.Join(root, "var/lib/cloud/instance")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("instances/i-0abc", filepath.Join(root, "var/lib/cloud/instance")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.UserData(); err == nil {
		t.Error("nothing says which instance this is, and the copy was taken")
	}
	put("run/cloud-init/instance-data.json", `{"v1":{"instance_id":"i-0abc"}}`)
	if text, _, err := c.UserData(); string(text) != "mine" || err != nil {
		t.Errorf("%q, %v, want mine", text, err)
	}
	put("sys/devices/virtual/dmi/id/board_asset_tag", "i-0def\n")
	if _, _, err := c.UserData(); err == nil || !strings.Contains(err.Error(), "AMI") {
		t.Errorf("another instance's copy: %v", err)
	}
	put("sys/devices/virtual/dmi/id/board_asset_tag", "i-0abc\n")
	if c.ScriptsRan() {
		t.Error("the scripts have not run")
	}
	put("var/lib/cloud/instances/i-0abc/sem/config_scripts_user", "")
	if !c.ScriptsRan() {
		t.Error("the scripts have run")
	}
}
