package upload

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
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

	"github.com/fairlead/fairlead/internal/objects"
)

// store is an S3 of our own. fault is asked before each request whether it is cut in the middle.
type store struct {
	backend *s3mem.Backend
	fault   atomic.Pointer[func(*http.Request) bool]
	parts   atomic.Int64 // that were taken
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{backend: s3mem.New()}
	if err := s.backend.CreateBucket("logs"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(s.backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := s.fault.Load(); f != nil && (*f)(r) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20) // some of it arrives
			panic(http.ErrAbortHandler)
		}
		if r.Method == http.MethodPut && r.URL.Query().Has("partNumber") {
			s.parts.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"} {
		t.Setenv(name, value)
	}
	return s
}

func (s *store) failing(f func(*http.Request) bool) { s.fault.Store(&f) }

func (s *store) object(t *testing.T, key string) []byte {
	t.Helper()
	o, err := s.backend.GetObject("logs", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Contents.Close()
	text, err := io.ReadAll(o.Contents)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestStream(t *testing.T) {
	s := newStore(t)
	for _, n := range []int{0, 100, partBytes, 2*partBytes + 12345} {
		u, err := New(t.Context(), objects.Place{Bucket: "logs", Key: "a b/x.tgz"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := content(n)
		if _, err := io.Copy(struct{ io.Writer }{u}, bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
		if err := u.Close(); err != nil {
			t.Fatal(err)
		}
		if got := s.object(t, "a b/x.tgz"); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d came", n, len(got))
		}
	}
}

// A connection that is cut in the middle of a part costs that part another attempt and nothing else.
func TestCut(t *testing.T) {
	s := newStore(t)
	var cuts atomic.Int64
	s.failing(func(r *http.Request) bool {
		return r.URL.Query().Get("partNumber") == "2" && cuts.Add(1) <= 2
	})
	said := 0
	u, err := New(t.Context(), objects.Place{Bucket: "logs", Key: "x.tgz"}, func(string) { said++ })
	if err != nil {
		t.Fatal(err)
	}
	u.wait = time.Millisecond
	want := content(3 * partBytes)
	if _, err := u.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if got := s.object(t, "x.tgz"); !bytes.Equal(got, want) || said != 2 {
		t.Errorf("%d bytes came, %d cuts were said", len(got), said)
	}
}

// What a former process brought there is not sent again.
func TestResume(t *testing.T) {
	s := newStore(t)
	want := content(4*partBytes + 7)
	path := filepath.Join(t.TempDir(), "x.tgz")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	file := func() *os.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.failing(func(r *http.Request) bool {
		if r.URL.Query().Get("partNumber") == "3" {
			cancel() // the process is killed
			return true
		}
		return false
	})
	if _, err := File(ctx, objects.Place{Bucket: "logs", Key: "p/x.tgz"}, file(), nil); err == nil {
		t.Fatal("it was not cut")
	}
	s.failing(func(*http.Request) bool { return false })
	before := s.parts.Load()
	spared, err := File(t.Context(), objects.Place{Bucket: "logs", Key: "p/x.tgz"}, file(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.object(t, "p/x.tgz"); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came", len(got))
	}
	if spared != 2*partBytes || s.parts.Load()-before != 3 {
		t.Errorf("%d bytes spared, %d parts sent", spared, s.parts.Load()-before)
	}
}

func TestRefused(t *testing.T) {
	newStore(t)
	u, err := New(t.Context(), objects.Place{Bucket: "nowhere", Key: "x.tgz"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err == nil || !strings.Contains(err.Error(), "NoSuchBucket") || !strings.Contains(err.Error(), "s3://nowhere/x.tgz") {
		t.Errorf("%v", err)
	}
}
