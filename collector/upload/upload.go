// Package upload streams an object into S3 in parts, so that nothing of it has to be on disk, and goes on where a former upload of a
// file stopped.
package upload

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/fairlead/fairlead/internal/objects"
)

const (
	// partBytes is the size of all parts but the last: S3 wants at least 5 MiB. It is the memory that an upload takes.
	partBytes = 8 << 20
	maxParts  = 10_000
	// patience is how long a part is tried again while nothing gets through.
	patience = 2 * time.Minute
)

// Upload is an object on its way. It is for one goroutine.
type Upload struct {
	ctx    context.Context // of all requests: a writer has no other way to be told
	s3     *objects.Store
	place  objects.Place
	id     string // of the multipart upload; empty until the first part is full
	buf    []byte // the part being filled
	parts  []part
	said   func(text string)
	wait   time.Duration // before the first further attempt
	closed bool
}

type part struct {
	Number int    `xml:"PartNumber"`
	ETag   string `xml:"ETag"`
}

// New begins an upload; nothing is sent yet. said is told when a part has to be sent again; nil: nobody is.
func New(ctx context.Context, place objects.Place, said func(string)) (*Upload, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEC2IMDSRegion(), config.WithEC2IMDSClientEnableState(imds.ClientDefaultEnableState))
	if err != nil {
		return nil, fmt.Errorf("find region and credentials: %w", err)
	}
	if said == nil {
		said = func(string) {}
	}
	return &Upload{ctx: ctx, s3: objects.New(cfg), place: place, said: said, wait: time.Second}, nil
}

// Write implements io.Writer. It waits while a part is sent.
func (u *Upload) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if u.buf == nil {
			u.buf = make([]byte, 0, partBytes)
		}
		take := min(len(p), partBytes-len(u.buf))
		u.buf = append(u.buf, p[:take]...)
		p = p[take:]
		if len(u.buf) == partBytes {
			if err := u.send(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func md5Of(b []byte) []byte {
	sum := md5.Sum(b) // what S3 compares with, against damage and not against anybody
	return sum[:]
}

// send sends the part that is in the buffer.
func (u *Upload) send() error {
	if len(u.parts) >= maxParts {
		return fmt.Errorf("upload %s: more than %d parts", u.place, maxParts)
	}
	if u.id == "" {
		if err := u.begin(); err != nil {
			return err
		}
	}
	number := len(u.parts) + 1
	head := http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(md5Of(u.buf))}}
	query := url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {u.id}}
	answer, _, err := u.try(fmt.Sprintf("part %d", number), http.MethodPut, query, head, u.buf)
	if err != nil {
		return err
	}
	u.parts = append(u.parts, part{number, answer.Get("ETag")})
	u.buf = u.buf[:0]
	return nil
}

func (u *Upload) begin() error {
	_, text, err := u.try("begin", http.MethodPost, url.Values{"uploads": {""}}, http.Header{"Content-Type": {"application/octet-stream"}}, nil)
	if err != nil {
		return err
	}
	var answer struct {
		ID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(text, &answer); err != nil || answer.ID == "" {
		return fmt.Errorf("upload %s: S3 gave no id for it", u.place)
	}
	u.id = answer.ID
	return nil
}

// try sends a request until it gets through, as long as there is hope.
func (u *Upload) try(what, method string, query url.Values, head http.Header, body []byte) (http.Header, []byte, error) {
	began := time.Now()
	answer, text, err := u.s3.Do(u.ctx, u.request(method, query, head, body), func(n int, err error) (time.Duration, bool) {
		if time.Since(began) > patience {
			return 0, false
		}
		pause := min(u.wait<<min(n-1, 10), 15*time.Second)
		u.said(fmt.Sprintf("upload: %s: %v; again in %v", what, err, pause.Round(time.Millisecond)))
		return pause, true
	})
	if err != nil {
		err = objects.Hint(err, "s3:PutObject, s3:AbortMultipartUpload and, to resume, s3:ListMultipartUploadParts on it and s3:ListBucketMultipartUploads on the bucket")
		return nil, nil, fmt.Errorf("upload %s: %s: %w", u.place, what, err)
	}
	return answer, text, nil
}

// request is one for the object.
func (u *Upload) request(method string, query url.Values, head http.Header, body []byte) objects.Request {
	sum := sha256.Sum256(body)
	return objects.Request{Method: method, Place: u.place, Query: query, Header: head, Hash: hex.EncodeToString(sum[:]), Size: int64(len(body)),
		Open: func() io.Reader { return bytes.NewReader(body) }, Within: time.Minute}
}

// ask is try for what can be done without.
func (u *Upload) ask(ctx context.Context, q objects.Request) ([]byte, error) {
	_, text, err := u.s3.Do(ctx, q, func(int, error) (time.Duration, bool) { return 0, false })
	return text, err
}

// Close sends what is left and makes it an object. What is small is sent as one.
func (u *Upload) Close() error {
	if u.closed {
		return nil
	}
	u.closed = true
	if u.id == "" {
		head := http.Header{"Content-Md5": {base64.StdEncoding.EncodeToString(md5Of(u.buf))}}
		_, _, err := u.try("the object", http.MethodPut, nil, head, u.buf)
		return err
	}
	if len(u.buf) > 0 {
		if err := u.send(); err != nil {
			return err
		}
	}
	body, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Parts   []part   `xml:"Part"`
	}{Parts: u.parts})
	if err != nil {
		return err
	}
	_, _, err = u.try("complete", http.MethodPost, url.Values{"uploadId": {u.id}}, nil, body)
	return err
}

// Abort has S3 forget the parts, which cost money as long as they are kept. The upload cannot be resumed then.
func (u *Upload) Abort() {
	if u.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), 5*time.Second)
	defer cancel()
	_, _ = u.ask(ctx, u.request(http.MethodDelete, url.Values{"uploadId": {u.id}}, nil, nil)) // a lifecycle rule of the bucket does it else
	u.id = ""
}

// File uploads a file. Parts that a former attempt brought there are not sent again. It answers how many bytes were spared so.
func File(ctx context.Context, place objects.Place, f *os.File, said func(string)) (spared int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	u, err := New(ctx, place, said)
	if err != nil {
		return 0, err
	}
	if info.Size() < partBytes {
		if _, err := io.Copy(u, f); err != nil {
			return 0, err
		}
		return 0, u.Close()
	}
	there, err := u.resume()
	if err != nil { // no leave to list: from the beginning then
		u.said(fmt.Sprintf("upload: a former one is not looked for: %v", err))
	}
	buf := make([]byte, partBytes)
	for {
		n, err := io.ReadFull(f, buf)
		if n == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return spared, err
		}
		number := len(u.parts) + 1
		if etag := there[number]; strings.Trim(etag, `"`) == hex.EncodeToString(md5Of(buf[:n])) {
			u.parts = append(u.parts, part{number, etag})
			spared += int64(n)
			continue
		}
		u.buf = append(u.buf[:0], buf[:n]...)
		if err := u.send(); err != nil {
			return spared, err
		}
	}
	return spared, u.Close()
}

// resume looks for an unfinished upload of this object and answers its parts by number.
func (u *Upload) resume() (map[int]string, error) {
	ctx, cancel := context.WithTimeout(u.ctx, 20*time.Second)
	defer cancel()
	all := u.request(http.MethodGet, url.Values{"uploads": {""}, "prefix": {u.place.Key}}, nil, nil)
	all.Place.Key = ""
	text, err := u.ask(ctx, all)
	if err != nil {
		return nil, err
	}
	var list struct {
		Uploads []struct {
			Key string
			ID  string `xml:"UploadId"`
		} `xml:"Upload"`
	}
	if err := xml.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("the list of uploads: %w", err)
	}
	for _, o := range list.Uploads {
		if o.Key == u.place.Key {
			u.id = o.ID // the newest is last
		}
	}
	there := map[int]string{}
	if u.id == "" {
		return there, nil
	}
	for marker := 0; ; {
		text, err := u.ask(ctx, u.request(http.MethodGet, url.Values{"uploadId": {u.id}, "part-number-marker": {strconv.Itoa(marker)}}, nil, nil))
		if err != nil {
			u.id = ""
			return nil, err
		}
		var answer struct {
			More  bool   `xml:"IsTruncated"`
			Next  int    `xml:"NextPartNumberMarker"`
			Parts []part `xml:"Part"`
		}
		if err := xml.Unmarshal(text, &answer); err != nil {
			u.id = ""
			return nil, fmt.Errorf("the list of parts: %w", err)
		}
		for _, p := range answer.Parts {
			there[p.Number] = p.ETag
		}
		if !answer.More || answer.Next <= marker {
			return there, nil
		}
		marker = answer.Next
	}
}
