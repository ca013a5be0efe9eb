package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/fairlead/fairlead/internal/objects"
)

// An image FROM scratch has no /tmp: what is fetched from S3 goes to the state's folder, and leaves nothing there.
func TestReplayWithoutTmp(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "records") }))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_S3", server.URL)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir+"/none")
	r := Replay{store: objects.New(aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "key", "")})}
	r.Config.State.Dir = dir
	f, err := r.open(t.Context(), "s3://logs/spilled/a.seg")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, 7)
	if _, err := f.ReadAt(text, 0); err != nil && err != io.EOF || string(text) != "records" {
		t.Errorf("%q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// A daemon that starts has its spool soon: it is waited for. One that has none, as it forwards nowhere, is not.
func TestReplayWaitsForTheDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked, soon, closed := 0, 3, false
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var done Replayed
		if r.Method == http.MethodPost {
			asked++
			done.Soon = asked <= soon
			done.Closed = done.Soon || closed
		}
		_ = json.NewEncoder(w).Encode(done)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	c := Client{Socket: socket}
	if open, err := c.opens(t.Context()); !open || err != nil || asked != 4 {
		t.Errorf("%v, %v after %d requests", open, err, asked)
	}
	asked, soon, closed = 0, 0, true
	if open, err := c.opens(t.Context()); open || err != nil || asked != 1 {
		t.Errorf("%v, %v after %d requests", open, err, asked)
	}
}
