// Package instance tells what EC2 and cloud-init know of this instance: user data, id and region.
package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// IMDS asks the instance metadata service, version 2. AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_EC2_METADATA_DISABLED are
// honoured as in every AWS tool; proxies never are.
type IMDS struct {
	api  *imds.Client
	wait time.Duration // between attempts
}

// NewIMDS makes a client; it asks nothing yet.
func NewIMDS() *IMDS {
	client := &http.Client{Transport: &http.Transport{
		Proxy:               nil, // link-local: a proxy would ask its own host
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     5 * time.Second,
	}}
	state := imds.ClientDefaultEnableState
	if strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		state = imds.ClientDisabled
	}
	return &IMDS{wait: time.Second, api: imds.New(imds.Options{
		HTTPClient:        client,
		Endpoint:          os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
		EnableFallback:    aws.FalseTernary, // without a token anything on the host could be asked to fetch for others
		ClientEnableState: state,
		Retryer:           aws.NopRetryer{}, // ask goes on as long as it may
	})}
}

// ErrOff says that there is no metadata service to ask: it is switched off, here or for this instance.
var ErrOff = errors.New("the metadata service is off")

// maxUserData bounds the answer; EC2 allows 16 KiB.
const maxUserData = 1 << 20

// UserData answers the user data; nothing if the instance has none. As long as ctx allows, it asks again: at boot the
// service may be late.
func (c *IMDS) UserData(ctx context.Context) ([]byte, error) {
	return ask(ctx, c, func(ctx context.Context) ([]byte, error) {
		out, err := c.api.GetUserData(ctx, &imds.GetUserDataInput{})
		if err != nil {
			return nil, err
		}
		defer out.Content.Close()
		return io.ReadAll(io.LimitReader(out.Content, maxUserData))
	})
}

// Metadata answers an item below /latest/meta-data/; nothing if it is not there.
func (c *IMDS) Metadata(ctx context.Context, path string) (string, error) {
	text, err := ask(ctx, c, func(ctx context.Context) ([]byte, error) {
		out, err := c.api.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
		if err != nil {
			return nil, err
		}
		defer out.Content.Close()
		return io.ReadAll(io.LimitReader(out.Content, maxUserData))
	})
	return string(text), err
}

func ask(ctx context.Context, c *IMDS, once func(context.Context) ([]byte, error)) ([]byte, error) {
	var last error
	for {
		text, err := once(ctx)
		if err == nil {
			return text, nil
		}
		if ctx.Err() != nil && last != nil {
			err = last // that time is up says less
		}
		last = err
		switch status := statusOf(err); {
		case status == http.StatusNotFound:
			return nil, nil
		case status == http.StatusForbidden:
			return nil, fmt.Errorf("%w for this instance or process (403; to switch it on: aws ec2 modify-instance-metadata-options --http-endpoint enabled)", ErrOff)
		case strings.Contains(err.Error(), "access disabled"):
			return nil, fmt.Errorf("%w: AWS_EC2_METADATA_DISABLED is true", ErrOff)
		}
		t := time.NewTimer(c.wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("ask the metadata service: %w", explain(err))
		case <-t.C:
		}
	}
}

var statusCode = regexp.MustCompile(`StatusCode: ([0-9]{3})`)

// statusOf is the HTTP status that the error speaks of, 0 if none. The SDK hides what came of the request for a token.
func statusOf(err error) int {
	var refused *smithyhttp.ResponseError
	if errors.As(err, &refused) {
		return refused.HTTPStatusCode()
	}
	if m := statusCode.FindStringSubmatch(err.Error()); m != nil {
		status, _ := strconv.Atoi(m[1]) // three digits
		return status
	}
	return 0
}

// explain says what a silent service means.
func explain(err error) error {
	var timeout interface{ Timeout() bool }
	switch status := statusOf(err); {
	case status != 0:
		return fmt.Errorf("it answers %d", status)
	case strings.Contains(err.Error(), "deadline exceeded"), errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("no answer (not an EC2 instance; or in a container with a hop limit of 1: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	return err
}
