package fault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

// What the SDK's client makes of answers, and of none.
func TestPlain(t *testing.T) {
	known := credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", "")
	none := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("failed to refresh cached credentials, no EC2 IMDS role found")
	})
	for name, c := range map[string]struct {
		status       int // 0: nobody listens; 1: there is no answer
		body         string
		region       string
		credentials  aws.CredentialsProvider
		denied       bool
		code, expect string
	}{
		"denied": {400, `{"__type":"com.amazon.coral.service#AccessDeniedException","message":"no\nway"}`, "eu-west-1", known,
			true, "AccessDeniedException", "AccessDeniedException: no way"},
		"throttled": {400, `{"__type":"ThrottlingException","message":"Rate exceeded"}`, "eu-west-1", known,
			false, "ThrottlingException", "ThrottlingException: Rate exceeded"},
		"typed":          {400, `{"__type":"ClientException","message":"no such instance"}`, "eu-west-1", known, false, "ClientException", "ClientException: no such instance"},
		"page":           {502, "<html>", "eu-west-1", known, false, "", "502 Bad Gateway, and no word of AWS (is a proxy between?)"},
		"empty":          {503, "", "eu-west-1", known, false, "", "503 Service Unavailable, and no word of AWS (is a proxy between?)"},
		"broken":         {200, "<html>", "eu-west-1", known, false, "", "deserialization failed"},
		"silent":         {1, "", "eu-west-1", known, false, "", "no answer in time (is there a way to the service: NAT, VPC endpoint, proxy?)"},
		"refused":        {0, "", "eu-west-1", known, false, "", "connection refused"},
		"no credentials": {200, "{}", "eu-west-1", none, false, "", "no credentials (give the instance a role)"},
		"no region":      {200, "{}", "", known, false, "", "no region known (set AWS_REGION, or let the metadata service be reached)"},
	} {
		t.Run(name, func(t *testing.T) {
			within := time.Minute
			if c.status == 1 {
				within = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.status == 1 {
					_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection is not seen
					<-r.Context().Done()
					return
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			if c.status == 0 {
				server.Close()
			}
			cfg := aws.Config{Region: c.region, Credentials: c.credentials}
			if c.region != "" {
				cfg.BaseEndpoint = &server.URL
			}
			_, err := ecs.NewFromConfig(cfg, func(o *ecs.Options) { o.Retryer = aws.NopRetryer{} }).ListTasks(ctx, &ecs.ListTasksInput{})
			plain := Plain(err)
			if plain == nil || !errors.Is(plain, err) {
				t.Fatalf("%v is not below %v", err, plain)
			}
			if Code(plain) != c.code || IsDenied(plain) != c.denied || !strings.Contains(plain.Error(), c.expect) || strings.ContainsAny(plain.Error(), "\r\n") {
				t.Errorf("%q, code %q, denied %t; want %q", plain, Code(plain), IsDenied(plain), c.expect)
			}
		})
	}
	if Plain(nil) != nil || IsDenied(nil) || Code(nil) != "" {
		t.Error("no error is one")
	}
}
