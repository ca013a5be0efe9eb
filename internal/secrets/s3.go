package secrets

import (
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

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// object gets an object with one signed request. The SDK's S3 client does no more here, and makes the program 5 MB larger.
func (s *Store) object(ctx context.Context, uri string) (string, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, key, _ := strings.Cut(rest, "/")
	if !ok || bucket == "" || key == "" {
		return "", errors.New("not an object: write s3://BUCKET/KEY")
	}
	text, region, err := s.getObject(ctx, bucket, key, s.cfg.Region)
	if region != "" && region != s.cfg.Region { // the bucket says where it is
		text, _, err = s.getObject(ctx, bucket, key, region)
	}
	return text, err
}

// getObject answers the object, or the region that the bucket is in.
func (s *Store) getObject(ctx context.Context, bucket, key, region string) (text, elsewhere string, err error) {
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
	u, err := url.Parse(strings.TrimSuffix(base, "/") + (&url.URL{Path: "/" + bucket + "/" + key}).EscapedPath())
	if err != nil {
		return "", "", fmt.Errorf("the address of S3: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", "", err
	}
	credentials, err := s.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return "", "", err
	}
	nothing := sha256.Sum256(nil)
	hash := hex.EncodeToString(nothing[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(ctx, credentials, r, hash, "s3", region, time.Now()); err != nil {
		return "", "", err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return "", "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(answer.Body, maxValue+1))
		return string(body), "", err
	}
	elsewhere = answer.Header.Get("X-Amz-Bucket-Region")
	var fault struct{ Code, Message string }
	if err := xml.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&fault); err != nil || fault.Code == "" {
		return "", elsewhere, errors.New(answer.Status)
	}
	hint := ""
	if fault.Code == "AccessDenied" {
		hint = " (the role of the instance needs s3:GetObject on it)"
	}
	return "", elsewhere, fmt.Errorf("%s: %s%s", fault.Code, strings.ReplaceAll(fault.Message, "\n", " "), hint)
}
