// Package objects reads and writes objects of S3. It signs one request a call; the SDK's client for S3 would do no more here, and make the
// program 5 MB larger.
package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Place is where an object is, or, with a key that ends in a slash or is empty, where objects are.
type Place struct{ Bucket, Key string }

// Parse reads s3://BUCKET/KEY. The key may be empty.
func Parse(uri string) (Place, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, key, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" || strings.ContainsAny(bucket, " \t?#%:@") {
		return Place{}, fmt.Errorf("%q is no place in S3: write s3://BUCKET/KEY", uri)
	}
	return Place{bucket, key}, nil
}

func (p Place) String() string { return "s3://" + p.Bucket + "/" + p.Key }

// Under is the place of name below p.
func (p Place) Under(name string) Place {
	if p.Key != "" && !strings.HasSuffix(p.Key, "/") {
		p.Key += "/"
	}
	p.Key += name
	return p
}

// FaultError is what S3 answered instead: its code, as AccessDenied, and its words.
type FaultError struct {
	Code, Message string
	status        int
}

func (f *FaultError) Error() string {
	if f.Message == "" {
		return f.Code
	}
	return f.Code + ": " + strings.ReplaceAll(f.Message, "\n", " ")
}

// IsNone says that there is no such object.
func IsNone(err error) bool {
	var f *FaultError
	return errors.As(err, &f) && f.status == http.StatusNotFound && f.Code != "NoSuchBucket"
}

// IsDenied says that the role may not do it. To try it again is of no use until the role has changed.
func IsDenied(err error) bool {
	var f *FaultError
	return errors.As(err, &f) && f.status == http.StatusForbidden
}

// Store is S3 with the credentials of its configuration. A bucket in another region than the configured one says where it is.
type Store struct {
	cfg aws.Config

	mu      sync.Mutex // guards regions
	regions map[string]string
}

// New makes a store. AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL are honoured as in every AWS tool.
func New(cfg aws.Config) *Store { return &Store{cfg: cfg, regions: map[string]string{}} }

const (
	attempts   = 4
	firstPause = 200 * time.Millisecond
	maxList    = 4 << 20 // bytes of an answer to List: 1,000 keys take 300 KiB
)

// Put writes an object of size bytes, which open reads, each time from the beginning. S3 has checked the content when it returns.
func (s *Store) Put(ctx context.Context, p Place, size int64, open func() io.Reader) error {
	sum := sha256.New()
	if n, err := io.Copy(sum, open()); err != nil {
		return fmt.Errorf("put %s: read what is to be written: %w", p, err)
	} else if n != size {
		return fmt.Errorf("put %s: there are %d bytes to be written, not %d", p, n, size)
	}
	answer, err := s.do(ctx, p.Bucket, request{method: http.MethodPut, key: p.Key, hash: hex.EncodeToString(sum.Sum(nil)), size: size, open: open})
	if err != nil {
		return fmt.Errorf("put %s: %w", p, hint(err, "s3:PutObject"))
	}
	return answer.Body.Close()
}

// Get reads an object. The answer is to be closed.
func (s *Store) Get(ctx context.Context, p Place) (io.ReadCloser, error) {
	answer, err := s.do(ctx, p.Bucket, request{method: http.MethodGet, key: p.Key})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", p, hint(err, "s3:GetObject"))
	}
	return answer.Body, nil
}

// List answers the objects below a place, by name.
func (s *Store) List(ctx context.Context, p Place) ([]Place, error) {
	var all []Place
	query := url.Values{"list-type": {"2"}, "prefix": {p.Key}}
	for {
		answer, err := s.do(ctx, p.Bucket, request{method: http.MethodGet, query: query})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", p, hint(err, "s3:ListBucket"))
		}
		var page struct {
			Contents              []struct{ Key string }
			IsTruncated           bool
			NextContinuationToken string
		}
		err = xml.NewDecoder(io.LimitReader(answer.Body, maxList)).Decode(&page)
		_ = answer.Body.Close() // read to its end, or of no use
		if err != nil {
			return nil, fmt.Errorf("list %s: read the answer: %w", p, err)
		}
		for _, c := range page.Contents {
			if !strings.HasSuffix(c.Key, "/") { // what consoles show as a folder
				all = append(all, Place{p.Bucket, c.Key})
			}
		}
		if !page.IsTruncated || page.NextContinuationToken == "" {
			return all, nil
		}
		query.Set("continuation-token", page.NextContinuationToken)
	}
}

func hint(err error, action string) error {
	if IsDenied(err) {
		return fmt.Errorf("%w (the role of the instance needs %s on it)", err, action)
	}
	return err
}

// request is one that can be made again.
type request struct {
	method, key string
	query       url.Values
	hash        string // SHA-256 of the body in hex; empty: there is none
	size        int64
	open        func() io.Reader
}

// do makes a request until it succeeds, S3 says no, or it was tried often enough.
func (s *Store) do(ctx context.Context, bucket string, q request) (*http.Response, error) {
	pause := firstPause
	for n := 1; ; n++ {
		region := s.region(bucket)
		answer, elsewhere, err := s.once(ctx, bucket, region, q)
		if err == nil {
			return answer, nil
		}
		if elsewhere != "" && elsewhere != region && n < attempts { // the bucket says where it is
			s.mu.Lock()
			s.regions[bucket] = elsewhere
			s.mu.Unlock()
			continue
		}
		var f *FaultError
		if n >= attempts || ctx.Err() != nil || errors.As(err, &f) && f.status < 500 && f.status != http.StatusTooManyRequests && f.Code != "RequestTimeout" {
			return nil, err
		}
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, err
		case <-t.C:
		}
		pause *= 2
	}
}

func (s *Store) region(bucket string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.regions[bucket]; r != "" {
		return r
	}
	return s.cfg.Region
}

// once makes a request in a region. With an error it answers the region that the bucket is in, if S3 said so.
func (s *Store) once(ctx context.Context, bucket, region string, q request) (answer *http.Response, elsewhere string, err error) {
	base := os.Getenv("AWS_ENDPOINT_URL_S3")
	if base == "" {
		base = os.Getenv("AWS_ENDPOINT_URL")
	}
	if base == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			domain += ".cn"
		}
		base = "https://s3." + region + "." + domain
	}
	u, err := url.Parse(strings.TrimSuffix(base, "/") + (&url.URL{Path: "/" + bucket + "/" + q.key}).EscapedPath())
	if err != nil {
		return nil, "", fmt.Errorf("the address of S3: %w", err)
	}
	u.RawQuery = strings.ReplaceAll(q.query.Encode(), "+", "%20") // as signatures have it
	var body io.Reader
	if q.open != nil && q.size > 0 {
		body = q.open()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		return nil, "", err
	}
	r.ContentLength = q.size
	hash := q.hash
	if hash == "" {
		nothing := sha256.Sum256(nil)
		hash = hex.EncodeToString(nothing[:])
	}
	credentials, err := s.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, credentials, r, hash, "s3", region, time.Now()); err != nil {
		return nil, "", err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if answer, err = client.Do(r); err != nil {
		return nil, "", err
	}
	if answer.StatusCode == http.StatusOK {
		return answer, "", nil
	}
	defer answer.Body.Close()
	f := &FaultError{status: answer.StatusCode}
	if err := xml.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(f); err != nil || f.Code == "" {
		f.Code, f.Message = answer.Status, ""
	}
	return nil, answer.Header.Get("X-Amz-Bucket-Region"), f
}
