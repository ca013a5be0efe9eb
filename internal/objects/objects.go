// Package objects is S3 as far as it is used here: it signs requests, asks a bucket where it is, tries again what may pass, and reads what
// S3 says is wrong. The SDK's client (service/s3 v1.114.8) would add 1.2 MB to the program, which then is larger than it may be.
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
	"strconv"
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
	XMLName       xml.Name
	Code, Message string
	status        int
}

func (f *FaultError) Error() string {
	text := f.Code
	if f.Message != "" {
		text += ": " + strings.ReplaceAll(f.Message, "\n", " ")
	}
	if f.Code == "NoSuchBucket" {
		text += " (is it spelled right, and in this account?)"
	}
	return text
}

// IsNone says that there is no such object.
func IsNone(err error) bool {
	var f *FaultError
	return errors.As(err, &f) && f.status == http.StatusNotFound && f.Code != "NoSuchBucket"
}

// IsDenied says that the role may not do it. To try it again is of no use until the role has changed.
func IsDenied(err error) bool {
	var f *FaultError
	return errors.As(err, &f) && f.status == http.StatusForbidden && !f.stale()
}

// stale says that S3 does not know the credentials, or not any more: the role of the instance may have changed before they expire.
func (f *FaultError) stale() bool {
	return f.Code == "ExpiredToken" || f.Code == "InvalidToken" || f.Code == "TokenRefreshRequired" || f.Code == "InvalidAccessKeyId"
}

// Passes tells of a fault that another attempt may not meet.
func Passes(err error) bool {
	var f *FaultError
	if !errors.As(err, &f) {
		return true
	}
	return f.stale() || f.status >= 500 || f.status == http.StatusTooManyRequests || f.status == http.StatusRequestTimeout || f.Code == "RequestTimeout" || f.Code == "BadDigest"
}

// Store is S3 with the credentials of its configuration. A bucket in another region than the configured one says where it is.
type Store struct {
	cfg aws.Config

	mu      sync.Mutex // guards what follows
	regions map[string]string
	skew    time.Duration // of S3's clock to ours, once it was too much
}

// New makes a store. AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL are honoured as in every AWS tool.
func New(cfg aws.Config) *Store { return &Store{cfg: cfg, regions: map[string]string{}} }

const (
	attempts   = 4
	firstPause = 200 * time.Millisecond
	maxAnswer  = 4 << 20 // bytes of what is read whole: 1,000 keys take 300 KiB
)

// Request is one that can be made again.
type Request struct {
	Method string
	Place  Place // without a key: the bucket
	Query  url.Values
	Header http.Header
	Hash   string // SHA-256 of the body in hex; empty: there is none
	Size   int64
	Open   func() io.Reader // of the body, from its beginning
	Within time.Duration    // of each attempt; 0: it ends with the context, or when nothing moves any more
}

// Again says after which pause a request is made again that failed for the nth time in a way that may pass; ok: false: not any more.
type Again func(n int, err error) (pause time.Duration, ok bool)

// aFewTimes is for who has something else to do.
func aFewTimes(n int, _ error) (time.Duration, bool) { return firstPause << (n - 1), n < attempts }

// Put writes an object of size bytes, which open reads, each time from the beginning. S3 has checked the content when it returns.
func (s *Store) Put(ctx context.Context, p Place, size int64, open func() io.Reader) error {
	sum := sha256.New()
	if n, err := io.Copy(sum, open()); err != nil {
		return fmt.Errorf("put %s: read what is to be written: %w", p, err)
	} else if n != size {
		return fmt.Errorf("put %s: there are %d bytes to be written, not %d", p, n, size)
	}
	_, _, err := s.Do(ctx, Request{Method: http.MethodPut, Place: p, Hash: hex.EncodeToString(sum.Sum(nil)), Size: size, Open: open}, aFewTimes)
	if err != nil {
		return fmt.Errorf("put %s: %w", p, Hint(err, "s3:PutObject on it"))
	}
	return nil
}

// Get reads an object. The answer is to be closed.
func (s *Store) Get(ctx context.Context, p Place) (io.ReadCloser, error) {
	answer, _, err := s.try(ctx, Request{Method: http.MethodGet, Place: p}, aFewTimes, false)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", p, Hint(err, "s3:GetObject on it"))
	}
	return answer.Body, nil
}

// List answers the objects below a place, by name.
func (s *Store) List(ctx context.Context, p Place) ([]Place, error) {
	var all []Place
	query := url.Values{"list-type": {"2"}, "prefix": {p.Key}}
	for {
		_, text, err := s.Do(ctx, Request{Method: http.MethodGet, Place: Place{Bucket: p.Bucket}, Query: query}, aFewTimes)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", p, Hint(err, "s3:ListBucket on it"))
		}
		var page struct {
			Contents              []struct{ Key string }
			IsTruncated           bool
			NextContinuationToken string
		}
		if err := xml.Unmarshal(text, &page); err != nil {
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

// Hint adds to a denial what the role would need.
func Hint(err error, actions string) error {
	var f *FaultError
	if errors.As(err, &f) && (f.Code == "AccessDenied" || f.Code == "AllAccessDisabled") {
		return fmt.Errorf("%w (the role of the instance needs %s)", err, actions)
	}
	return err
}

// Do makes a request until it succeeds, S3 says no, or again does. It answers the head and the text of the answer.
func (s *Store) Do(ctx context.Context, q Request, again Again) (http.Header, []byte, error) {
	answer, text, err := s.try(ctx, q, again, true)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close() // it was read already
	return answer.Header, text, nil
}

// try is Do. The body of what it does not read whole is to be closed.
func (s *Store) try(ctx context.Context, q Request, again Again, whole bool) (*http.Response, []byte, error) {
	moved := 0
	for n := 1; ; {
		answer, text, corrected, err := s.once(ctx, q, whole)
		if err == nil {
			return answer, text, nil
		}
		if corrected && moved < 3 { // the bucket said where it is, or what time it is
			moved++
			continue
		}
		if ctx.Err() != nil || !Passes(err) {
			return nil, nil, err
		}
		var f *FaultError
		if c, ok := s.cfg.Credentials.(*aws.CredentialsCache); ok && errors.As(err, &f) && f.stale() {
			c.Invalidate()
		}
		pause, ok := again(n, err)
		if !ok {
			return nil, nil, err
		}
		n++
		t := time.NewTimer(pause/2 + rand.N(pause+1))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, nil, err
		case <-t.C:
		}
	}
}

// place answers the region a bucket is in, as far as it is known, and how far our clock is off.
func (s *Store) place(bucket string) (region string, skew time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.regions[bucket]; r != "" {
		return r, s.skew
	}
	return s.cfg.Region, s.skew
}

// correct learns from an answer that is an error. It tells whether the request may succeed with what was learned.
func (s *Store) correct(bucket, region string, f *FaultError, answer http.Header) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Code == "RequestTimeTooSkewed" { // the host that something is wrong with may have its clock off
		if at, err := http.ParseTime(answer.Get("Date")); err == nil {
			s.skew = time.Until(at)
			return true
		}
		return false
	}
	elsewhere := answer.Get("X-Amz-Bucket-Region")
	if elsewhere == "" || elsewhere == region {
		return false
	}
	s.regions[bucket] = elsewhere
	return true
}

// once makes a request. corrected: it may succeed now that S3 has told something.
func (s *Store) once(ctx context.Context, q Request, whole bool) (answer *http.Response, text []byte, corrected bool, err error) {
	if q.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Within)
		defer cancel()
	}
	region, skew := s.place(q.Place.Bucket)
	r, err := s.signed(ctx, q, region, skew)
	if err != nil {
		return nil, nil, false, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var w *watched
	if q.Within == 0 {
		r, w = watch(r)
	}
	if answer, err = client.Do(r); err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // who asks names the object; the address is long
		}
		if w != nil {
			w.end()
			err = w.explain(err)
		}
		return nil, nil, false, err
	}
	if w != nil {
		answer.Body = w.over(answer.Body)
	}
	good := answer.StatusCode/100 == 2
	if good && !whole {
		return answer, nil, false, nil
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil && good {
		return nil, nil, false, err
	}
	f := &FaultError{status: answer.StatusCode}
	broken := xml.Unmarshal(text, f) != nil || f.Code == ""
	switch {
	case good && (broken || f.XMLName.Local != "Error"):
		return answer, text, false, nil
	case good: // what takes long, as completing an upload, begins with 200 and may fail all the same
		f.status = http.StatusInternalServerError
	case broken:
		f.Code, f.Message = answer.Status, ""
	}
	return nil, nil, s.correct(q.Place.Bucket, region, f, answer.Header), f
}

// signed is the request for S3 in a region.
func (s *Store) signed(ctx context.Context, q Request, region string, skew time.Duration) (*http.Request, error) {
	base := os.Getenv("AWS_ENDPOINT_URL_S3")
	if base == "" {
		base = os.Getenv("AWS_ENDPOINT_URL")
	}
	if base == "" {
		if region == "" {
			return nil, errors.New("no region known (set AWS_REGION, or let the metadata service be reached)")
		}
		service := "s3"
		if on, _ := strconv.ParseBool(os.Getenv("AWS_USE_FIPS_ENDPOINT")); on {
			service = "s3-fips"
		}
		base = "https://" + service + "." + region + "." + domain(region)
	}
	if region == "" {
		region = "us-east-1"
	}
	u, err := url.Parse(strings.TrimSuffix(base, "/") + (&url.URL{Path: "/" + q.Place.Bucket + "/" + q.Place.Key}).EscapedPath())
	if err != nil {
		return nil, fmt.Errorf("the address of S3: %w", err)
	}
	u.RawQuery = strings.ReplaceAll(q.Query.Encode(), "+", "%20") // as signatures have it
	var body io.Reader
	if q.Open != nil && q.Size > 0 {
		body = q.Open()
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, u.String(), body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = q.Size
	for name, values := range q.Header {
		r.Header[name] = values
	}
	hash := q.Hash
	if hash == "" {
		nothing := sha256.Sum256(nil)
		hash = hex.EncodeToString(nothing[:])
	}
	credentials, err := s.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("no credentials (give the instance a role): %w", err)
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, credentials, r, hash, "s3", region, time.Now().Add(skew)); err != nil {
		return nil, err
	}
	return r, nil
}
