package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
)

// client signs and sends requests for one object.
type client struct {
	http     *http.Client
	cfg      aws.Config
	region   string
	endpoint string // from the environment; empty: AWS
	bucket   string
	key      string
}

func newClient(ctx context.Context, bucket, key string) (*client, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEC2IMDSRegion(), config.WithEC2IMDSClientEnableState(imds.ClientDefaultEnableState))
	if err != nil {
		return nil, fmt.Errorf("find region and credentials: %w", err)
	}
	c := &client{cfg: cfg, region: cfg.Region, bucket: bucket, key: key, endpoint: os.Getenv("AWS_ENDPOINT_URL_S3")}
	if c.endpoint == "" {
		c.endpoint = os.Getenv("AWS_ENDPOINT_URL")
	}
	if c.region == "" {
		if c.endpoint == "" {
			return nil, errors.New("no region known (set AWS_REGION, or let the metadata service be reached)")
		}
		c.region = "us-east-1"
	}
	c.http = &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *client) address(query url.Values) (string, error) {
	base := c.endpoint
	if base == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(c.region, "cn-") {
			domain += ".cn"
		}
		base = "https://s3." + c.region + "." + domain
	}
	path := "/" + c.bucket
	if c.key != "" {
		path += "/" + c.key
	}
	u, err := url.Parse(strings.TrimSuffix(base, "/") + (&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return "", fmt.Errorf("the address of S3: %w", err)
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String(), nil
}

// refusedError is an answer of S3 that is no yes.
type refusedError struct {
	status        int
	code, message string
}

func (e *refusedError) Error() string {
	text := e.code
	if e.message != "" {
		text += ": " + e.message
	}
	switch e.code {
	case "AccessDenied", "AllAccessDisabled":
		text += " (the role of the instance needs s3:PutObject, s3:AbortMultipartUpload and, to resume, s3:ListMultipartUploadParts on it and s3:ListBucketMultipartUploads on the bucket)"
	case "NoSuchBucket":
		text += " (is it spelled right, and in this account?)"
	}
	return text
}

// passing tells of a fault that another attempt may not meet.
func passing(err error) bool {
	var r *refusedError
	if errors.As(err, &r) {
		return r.status >= 500 || r.status == http.StatusTooManyRequests || r.status == http.StatusRequestTimeout || r.code == "RequestTimeout" || r.code == "BadDigest"
	}
	return !errors.Is(err, context.Canceled)
}

// do sends one signed request and answers its head and at most 1 MiB of its body. A bucket in another region says so, and is asked there.
func (c *client) do(ctx context.Context, method string, query url.Values, head http.Header, body []byte) (http.Header, []byte, error) {
	for again := true; ; again = false {
		answer, text, err := c.once(ctx, method, query, head, body)
		if answer != nil && again {
			if region := answer.Get("X-Amz-Bucket-Region"); err != nil && region != "" && region != c.region {
				c.region = region
				continue
			}
		}
		return answer, text, err
	}
}

func (c *client) once(ctx context.Context, method string, query url.Values, head http.Header, body []byte) (http.Header, []byte, error) {
	address, err := c.address(query)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, values := range head {
		r.Header[name] = values
	}
	credentials, err := c.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, nil, errors.New("no credentials (give the instance a role)")
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, credentials, r, hash, "s3", c.region, time.Now()); err != nil {
		return nil, nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address holds the upload's id and is long
		}
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return answer.Header, nil, err
	}
	var fault struct {
		XMLName       xml.Name
		Code, Message string
	}
	broken := xml.Unmarshal(text, &fault) != nil
	switch {
	case answer.StatusCode/100 == 2 && fault.XMLName.Local != "Error": // completing may fail with 200
		return answer.Header, text, nil
	case broken || fault.Code == "":
		return answer.Header, nil, &refusedError{status: answer.StatusCode, code: answer.Status}
	case answer.StatusCode/100 == 2:
		return answer.Header, nil, &refusedError{http.StatusInternalServerError, fault.Code, fault.Message}
	}
	return answer.Header, nil, &refusedError{answer.StatusCode, fault.Code, strings.ReplaceAll(fault.Message, "\n", " ")}
}
