package objects

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// serve runs an S3 with the bucket logs. before may answer a request in its stead.
func serve(t *testing.T, before func(http.ResponseWriter, *http.Request) bool) *Store {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("logs"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1") // of all services; that of S3 comes first
	t.Setenv("AWS_ENDPOINT_URL_S3", server.URL)
	return New(aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "key", "")})
}

func put(t *testing.T, s *Store, uri, text string) error {
	t.Helper()
	p, err := Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return s.Put(t.Context(), p, int64(len(text)), func() io.Reader { return strings.NewReader(text) })
}

func get(t *testing.T, s *Store, uri string) (string, error) {
	t.Helper()
	p, err := Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	body, err := s.Get(t.Context(), p)
	if err != nil {
		return "", err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

func TestPutGetList(t *testing.T) {
	s := serve(t, nil)
	for _, name := range []string{"spill/i-1/a b+ü.seg", "spill/i-2/x.seg", "other"} {
		if err := put(t, s, "s3://logs/"+name, "text of "+name); err != nil {
			t.Fatal(err)
		}
		if got, err := get(t, s, "s3://logs/"+name); err != nil || got != "text of "+name {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := put(t, s, "s3://logs/empty", ""); err != nil {
		t.Error(err)
	}
	all, err := s.List(t.Context(), Place{"logs", "spill/"})
	if err != nil || fmt.Sprint(all) != "[s3://logs/spill/i-1/a b+ü.seg s3://logs/spill/i-2/x.seg]" {
		t.Errorf("list: %v, %v", all, err)
	}
	if _, err := get(t, s, "s3://logs/none"); !IsNone(err) || IsDenied(err) || !strings.Contains(err.Error(), "get s3://logs/none: NoSuchKey") {
		t.Errorf("none: %v", err)
	}
	if err := put(t, s, "s3://nowhere/x", "x"); err == nil || IsNone(err) || !strings.Contains(err.Error(), "NoSuchBucket") {
		t.Errorf("no bucket: %v", err)
	}
	if err := s.Put(t.Context(), Place{"logs", "x"}, 5, func() io.Reader { return strings.NewReader("four") }); err == nil {
		t.Error("an object shorter than said was written")
	}
}

// Listings come in pages.
func TestListPages(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Query().Get("continuation-token") {
		case "":
			fmt.Fprint(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a+/=</NextContinuationToken><Contents><Key>p/</Key></Contents><Contents><Key>p/1</Key></Contents></ListBucketResult>`)
		case "a+/=":
			fmt.Fprint(w, `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/2</Key></Contents></ListBucketResult>`)
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
		return true
	})
	if all, err := s.List(t.Context(), Place{"logs", "p/"}); err != nil || fmt.Sprint(all) != "[s3://logs/p/1 s3://logs/p/2]" {
		t.Errorf("%v, %v", all, err)
	}
}

// A bucket elsewhere says where; that is asked once.
func TestRegion(t *testing.T) {
	asked := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		asked++
		if strings.Contains(r.Header.Get("Authorization"), "/eu-north-1/s3/") {
			return false
		}
		w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
		w.WriteHeader(http.StatusMovedPermanently)
		fmt.Fprint(w, `<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>`)
		return true
	})
	for range 2 {
		if err := put(t, s, "s3://logs/x", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 3 {
		t.Errorf("%d requests, want 3", asked)
	}
}

// What passes is tried again, with the whole content; what does not is not.
func TestRetries(t *testing.T) {
	fail := 3
	asked := 0
	var how func(http.ResponseWriter)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if asked++; asked <= fail {
			how(w)
			return true
		}
		return false
	})
	text := strings.Repeat("x", 100_000)
	how = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
	}
	if err := put(t, s, "s3://logs/x", text); err != nil || asked != 4 {
		t.Errorf("%d requests, %v", asked, err)
	}
	asked, fail = 0, 1
	how = func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	if err := put(t, s, "s3://logs/x", text); err != nil || asked != 2 {
		t.Errorf("a connection that was cut: %d requests, %v", asked, err)
	}
	if got, err := get(t, s, "s3://logs/x"); err != nil || got != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	asked, fail = 0, 100
	how = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code><Message>Access
Denied</Message></Error>`)
	}
	if err := put(t, s, "s3://logs/x", text); !IsDenied(err) || asked != 1 || err.Error() != "put s3://logs/x: AccessDenied: Access Denied (the role of the instance needs s3:PutObject on it)" {
		t.Errorf("denied: %d requests, %v", asked, err)
	}
	asked = 0
	how = func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Put(ctx, Place{"logs", "x"}, 1, func() io.Reader { return bytes.NewReader([]byte("x")) }); err == nil || asked != 1 {
		t.Errorf("no time: %d requests, %v", asked, err)
	}
}

// A host whose clock is off is told the time by S3, once.
func TestClockOff(t *testing.T) {
	asked := 0
	now := time.Now().Add(-3 * time.Hour)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		asked++
		if at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date")); err == nil && at.Sub(now).Abs() < 15*time.Minute {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>RequestTimeTooSkewed</Code><Message>too large</Message></Error>`)
		return true
	})
	for _, want := range []int{2, 3} {
		if err := put(t, s, "s3://logs/x", "x"); err != nil || asked != want {
			t.Errorf("%d requests, want %d: %v", asked, want, err)
		}
	}
}

// What begins with 200 may end with an error, which may pass.
func TestLateError(t *testing.T) {
	asked := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		if asked++; asked == 1 {
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>InternalError</Code><Message>again, please</Message></Error>`)
			return true
		}
		return false
	})
	if err := put(t, s, "s3://logs/x", "x"); err != nil || asked != 2 {
		t.Errorf("%d requests, %v", asked, err)
	}
}

// A connection of which nothing comes any more is given up, and the request made again; one on which something moves is not, however slow.
func TestStalls(t *testing.T) {
	old := stallAfter
	stallAfter = 300 * time.Millisecond
	defer func() { stallAfter = old }()
	var asked atomic.Int64
	released := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		n := asked.Add(1)
		switch {
		case r.Method == http.MethodGet: // slower than that in all
			for range 5 {
				fmt.Fprint(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(100 * time.Millisecond)
			}
			return true
		case n == 1:
			select {
			case <-r.Context().Done():
			case <-released:
			}
			return true
		}
		return false
	})
	defer close(released)
	if err := put(t, s, "s3://logs/x", strings.Repeat("x", 100_000)); err != nil || asked.Load() != 2 {
		t.Errorf("%d requests, %v", asked.Load(), err)
	}
	if got, err := get(t, s, "s3://logs/x"); err != nil || got != "xxxxx" {
		t.Errorf("%q, %v", got, err)
	}
}

// Credentials that S3 does not know, or not any more, are asked for anew.
func TestStale(t *testing.T) {
	for _, k := range []struct {
		code   string
		status int
	}{{"ExpiredToken", http.StatusBadRequest}, {"InvalidAccessKeyId", http.StatusForbidden}} {
		asked, found := 0, 0
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
			if asked++; asked == 1 {
				w.WriteHeader(k.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", k.code)
				return true
			}
			w.WriteHeader(http.StatusOK)
			return true
		})
		s.cfg.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			found++
			return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "key"}, nil
		}))
		if err := put(t, s, "s3://logs/x", "x"); err != nil || asked != 2 || found != 2 {
			t.Errorf("%s: %d requests, credentials found %d times, %v", k.code, asked, found, err)
		}
	}
}

// Where S3 is, by region and what the environment asks for.
func TestEndpoint(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	old := http.DefaultTransport
	defer func() { http.DefaultTransport = old }()
	host := ""
	http.DefaultTransport = roundTrip(func(r *http.Request) (*http.Response, error) {
		host = r.URL.Host
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}}, nil
	})
	for _, k := range []struct{ region, fips, want string }{
		{"eu-west-1", "", "s3.eu-west-1.amazonaws.com"}, {"cn-north-1", "", "s3.cn-north-1.amazonaws.com.cn"},
		{"us-gov-west-1", "true", "s3-fips.us-gov-west-1.amazonaws.com"}, {"us-iso-east-1", "", "s3.us-iso-east-1.c2s.ic.gov"},
		{"us-isob-east-1", "", "s3.us-isob-east-1.sc2s.sgov.gov"}, {"eusc-de-east-1", "", "s3.eusc-de-east-1.amazonaws.eu"},
	} {
		t.Setenv("AWS_USE_FIPS_ENDPOINT", k.fips)
		s := New(aws.Config{Region: k.region, Credentials: credentials.NewStaticCredentialsProvider("AKID", "key", "")})
		if err := put(t, s, "s3://logs/x", "x"); err != nil || host != k.want {
			t.Errorf("%s: %s, %v, want %s", k.region, host, err, k.want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestParse(t *testing.T) {
	for uri, want := range map[string]Place{"s3://b/k/l": {"b", "k/l"}, "s3://b": {"b", ""}, "s3://b/": {"b", ""}} {
		if got, err := Parse(uri); err != nil || got != want {
			t.Errorf("%s: %v, %v", uri, got, err)
		}
	}
	for _, bad := range []string{"", "b/k", "s3://", "s3:///k", "http://b/k", "s3://a b/k"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q was taken for %v", bad, got)
		}
	}
	if got := (Place{"b", "p"}).Under("i/x").String() + " " + (Place{"b", ""}).Under("x").String() + " " + (Place{"b", "p/"}).Under("x").String(); got != "s3://b/p/i/x s3://b/x s3://b/p/x" {
		t.Error(got)
	}
}
