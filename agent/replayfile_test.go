package agent

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/fairlead/fairlead/internal/objects"
)

// An image FROM scratch has no /tmp: what is fetched from S3 goes to the state's folder, and leaves nothing there.
func TestReplayWithoutTmp(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "records") }))
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_S3", server.URL)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir+"/none")
	r := Replay{store: objects.New(aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKID", "key", "")})}
	r.Config.State.Dir = dir
	f, err := r.open(t.Context(), "s3://logs/spilled/a.seg")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, 7)
	if _, err := f.ReadAt(text, 0); err != nil && err != io.EOF || string(text) != "records" { //nolint:errorlint // as ReadAt gives it
		t.Errorf("%q, %v", text, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
