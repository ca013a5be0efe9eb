package secrets

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// stores speaks the wire formats of SSM, Secrets Manager and KMS (JSON 1.1) and of S3 (REST).
func stores(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/") {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	var in map[string]any
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in)
	refuse := func(code string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"no such thing"}`, code)
	}
	switch target := r.Header.Get("X-Amz-Target"); {
	case target == "AmazonSSM.GetParameter" && in["Name"] == "/slow":
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
	case target == "AmazonSSM.GetParameter" && in["Name"] == "/cluster" && in["WithDecryption"] == true:
		fmt.Fprint(w, `{"Parameter":{"Name":"/cluster","Value":"blue"}}`)
	case target == "AmazonSSM.GetParameter" && in["Name"] == "/secret":
		refuse("AccessDeniedException")
	case target == "AmazonSSM.GetParameter":
		refuse("ParameterNotFound")
	case target == "secretsmanager.GetSecretValue" && in["SecretId"] == "app":
		fmt.Fprint(w, `{"Name":"app","SecretString":"hunter2"}`)
	case target == "TrentService.Decrypt" && in["CiphertextBlob"] == base64.StdEncoding.EncodeToString([]byte("packed")):
		fmt.Fprintf(w, `{"Plaintext":%q}`, base64.StdEncoding.EncodeToString([]byte("plain")))
	case r.Method == http.MethodGet && r.URL.Path == "/bucket/a b/auth.json":
		fmt.Fprint(w, `{"x":1}`)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/far/") && !strings.Contains(r.Header.Get("Authorization"), "/eu-north-1/s3/"):
		w.Header().Set("X-Amz-Bucket-Region", "eu-north-1")
		w.WriteHeader(http.StatusMovedPermanently)
		fmt.Fprint(w, `<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>`)
	case strings.HasPrefix(r.URL.Path, "/far/"):
		fmt.Fprint(w, "north")
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/large/"):
		fmt.Fprint(w, strings.Repeat("x", maxValue+1))
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
	default:
		refuse("UnknownOperationException")
	}
}

func TestLookup(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(stores))
	defer s.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": s.URL, "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"} {
		t.Setenv(name, value)
	}
	var store Store
	for _, c := range []struct{ kind, name, want, fault string }{
		{"ssm", "/cluster", "blue", ""},
		{"ssm", "/none", "", "ParameterNotFound: no such thing"},
		{"ssm", "/secret", "", "the role of the instance needs leave to read it"},
		{"secretsmanager", "app", "hunter2", ""},
		{"kms", base64.StdEncoding.EncodeToString([]byte("packed")), "plain", ""},
		{"kms", "not base64!", "", "not base64"},
		{"s3", "s3://bucket/a b/auth.json", `{"x":1}`, ""},
		{"s3", "s3://far/x", "north", ""},
		{"s3", "s3://other/x", "", "AccessDenied: Access Denied (the role"},
		{"s3", "s3://large/x", "", "a setting may have"},
		{"s3", "bucket/x", "", "write s3://BUCKET/KEY"},
		{"vault", "x", "", "no such store"},
	} {
		got, err := store.Lookup(context.Background(), c.kind, c.name)
		if got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s %s: %q, %v; want %q, %s", c.kind, c.name, got, err, c.want, c.fault)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := store.Lookup(ctx, "ssm", "/slow"); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("a store that does not answer: %v", err)
	}
}
