package agent

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/klauspost/compress/gzip"
)

// A bundle goes straight to S3, with nothing left on disk; where S3 refuses it says what is missing, and a file that is there stays.
func TestBundleUpload(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("support"); err != nil {
		t.Fatal(err)
	}
	var refuses atomic.Bool
	h := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuses.Load() {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
			return
		}
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_S3": server.URL, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	root, dir := t.TempDir(), t.TempDir()
	t.Chdir(dir)
	path := filepath.Join(root, "var/log/ecs/ecs-agent.log")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := Bundle{Source: Source{Path: filepath.Join(dir, "none.yaml")}, Upload: "s3://support/of/web/", Deadline: 10 * time.Second, root: root, docker: filepath.Join(root, "none.sock")}
	out, err := b.Make(t.Context(), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, ok := strings.CutPrefix(out.File, "s3://support/of/web/collect-")
	if !ok || strings.Contains(key, "/") {
		t.Fatalf("it went to %s", out.File)
	}
	o, err := backend.GetObject("support", strings.TrimPrefix(out.File, "s3://support/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Contents.Close()
	z, err := gzip.NewReader(o.Contents)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Contains(text, []byte("a line\n")) || !bytes.Contains(text, []byte("manifest.json")) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("on disk: %v", left)
	}
	refuses.Store(true)
	if _, err := b.Make(t.Context(), t.Context()); err == nil || !strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(err.Error(), "needs s3:PutObject") {
		t.Errorf("%v", err)
	}
	b.Output = filepath.Join(dir, "x.tgz")
	if _, err := b.Make(t.Context(), t.Context()); err == nil || !strings.Contains(err.Error(), "to go on: fairlead bundle --upload s3://support/of/web/ "+b.Output) {
		t.Errorf("%v", err)
	}
	refuses.Store(false)
	if at, err := UploadBundle(t.Context(), b.Output, b.Upload, func(string) {}); err != nil || at != "s3://support/of/web/x.tgz" {
		t.Errorf("%s, %v", at, err)
	}
}
