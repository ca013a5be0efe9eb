// Package fault tells an operator in a line why AWS did not do what it was asked, and a caller what to do about it. The SDK's own errors name
// the layers they have passed, and only then what happened.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Code is what AWS calls the fault, as "ThrottlingException"; nothing if AWS did not answer.
func Code(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() == unknown {
		return ""
	}
	return api.ErrorCode()
}

// unknown is the code that the SDK gives to an answer without any.
const unknown = "UnknownError"

// IsDenied says that the role may not make the call. To make it again is of no use until the role has changed.
func IsDenied(err error) bool {
	switch Code(err) {
	case "AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation": // JSON, XML, and what older services say
		return true
	}
	return false
}

// IsStale says that AWS does not know the credentials, or not any more. Others may be had by now.
func IsStale(err error) bool {
	switch Code(err) {
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "ExpiredTokenException", "ExpiredToken", "InvalidToken":
		return true
	}
	return false
}

// Plain is an error of the SDK in the words that an operator can act on: one line, and err below it.
func Plain(err error) error {
	if err == nil {
		return nil
	}
	return &plainError{err, words(err)}
}

type plainError struct {
	err  error
	text string
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

func words(err error) string {
	var api smithy.APIError
	var answer *smithyhttp.ResponseError
	var missing *aws.MissingRegionError
	text := err.Error()
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case Code(err) != "":
		errors.As(err, &api)
		text = api.ErrorCode() + ": " + api.ErrorMessage()
	case errors.As(err, &missing):
		return "no region known (set AWS_REGION, or let the metadata service be reached)"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time (is there a way to the service: NAT, VPC endpoint, proxy?)"
	case has("no EC2 IMDS role found"), has("failed to refresh cached credentials"):
		return "no credentials (give the instance a role)"
	case has("Invalid region"), has("invalid region"), has("Missing Region"), has("ec2imds: GetRegion"):
		return "no region known (set AWS_REGION, or let the metadata service be reached)"
	case errors.As(err, &answer) && answer.HTTPStatusCode() >= http.StatusBadRequest:
		return fmt.Sprintf("%d %s, and no word of AWS (is a proxy between?)", answer.HTTPStatusCode(), http.StatusText(answer.HTTPStatusCode()))
	default:
		const sent = "request send failed, "
		if i := strings.LastIndex(text, sent); i >= 0 {
			text = text[i+len(sent):]
		}
	}
	return strings.ReplaceAll(text, "\n", " ")
}
