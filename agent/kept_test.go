package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// amazon speaks the dialects of the metadata service and of SSM.
type amazon struct {
	userData atomic.Value // string; empty: none
	refuses  atomic.Bool  // SSM
}

func (a *amazon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-Amz-Target") == "AmazonSSM.GetParameter":
		var in struct{ Name string }
		text, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(text, &in)
		if a.refuses.Load() || in.Name != "/fluentd/key" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"not allowed"}`)
			return
		}
		fmt.Fprint(w, `{"Parameter":{"Name":"/fluentd/key","Value":"hunter2"}}`)
	case r.URL.Path == "/latest/api/token":
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		fmt.Fprint(w, "token")
	case r.URL.Path == "/latest/user-data" && r.Header.Get("X-Aws-Ec2-Metadata-Token") == "token" && a.userData.Load() != "":
		fmt.Fprint(w, a.userData.Load())
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// What user data says to the daemon reaches it, survives everything but its own end, and is shown to nobody.
func TestKeptUserData(t *testing.T) {
	host, source := below(t, map[string]string{"etc/ecs/ecs.config": "", "fairlead.yaml": ""})
	state := filepath.Join(host.root, "state")
	if err := os.WriteFile(source.Path, []byte("state: {dir: "+state+"}\nforward: {to: [\"a:1\"], grace: 1s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	aws := &amazon{}
	h := httptest.NewServer(aws)
	defer h.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": h.URL, "AWS_EC2_METADATA_SERVICE_ENDPOINT": h.URL, "AWS_EC2_METADATA_DISABLED": "false", "AWS_ACCESS_KEY_ID": "AKID",
		"AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_MAX_ATTEMPTS": "1"} {
		t.Setenv(name, value)
	}
	reloads := 0
	render := func() (Rendered, string) {
		t.Helper()
		r := Rendering{Source: source, Output: host.file(), host: host, reload: func(context.Context) error { reloads++; return nil }}
		out, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done, err := r.Apply(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Join(done, "\n")
		for _, f := range out.Findings {
			said += "\n" + f.String()
		}
		if strings.Contains(said, "hunter2") {
			t.Errorf("the secret is shown:\n%s", said)
		}
		return out, said
	}
	loads := func(what, to, key string) {
		t.Helper()
		l := source.Load()
		f := l.Config.Forwarder.Forward
		if !l.OK() || len(f.To) != 1 || f.To[0].String() != to || string(f.SharedKey) != key {
			t.Errorf("%s: the daemon would forward to %v with the key %q, want %s and %q; %v", what, f.To, string(f.SharedKey), to, key, l.Findings)
		}
	}
	loads("before", "a:1", "")

	const part = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: application/vnd.fairlead+yaml\n\n%s\n--B--\n"
	aws.userData.Store(fmt.Sprintf(part, "forward:\n  to: [\"b:2\"]\n  shared_key: {ssm: /fluentd/key}\necs: {settings: {ECS_CLUSTER: blue}}"))
	render()
	loads("rendered", "b:2", "hunter2")
	if reloads != 1 {
		t.Errorf("%d reloads, want 1", reloads)
	}
	if info, err := os.Stat(keptPath(state)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what is kept: %v, %v", info.Mode(), err)
	}
	withEnv := source
	withEnv.Environ = []string{"FAIRLEAD_FORWARD_TO=env:3"}
	if to := withEnv.Load().Config.Forwarder.Forward.To; len(to) != 1 || to[0].String() != "env:3" {
		t.Errorf("the environment counts more than user data, and it is sent to %v", to)
	}
	if _, said := render(); reloads != 1 {
		t.Errorf("reloaded though nothing changed:\n%s", said)
	}

	aws.refuses.Store(true)
	if _, said := render(); !strings.Contains(said, "warning: forward.shared_key: {ssm: /fluentd/key}: AccessDeniedException: not allowed (the role of the instance needs leave to read it); the former value stays") {
		t.Error(said)
	}
	loads("the store refuses", "b:2", "hunter2")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if out, said := render(); out.Unread == nil || !strings.Contains(said, "what it said to fairlead when it was read last still counts") || !strings.Contains(string(out.Text), "ECS_CLUSTER=blue") {
		t.Errorf("%s\n%s", said, out.Text)
	}
	loads("no metadata service", "b:2", "hunter2")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")

	// The same of a setting of the agent: its former value is the file's.
	aws.refuses.Store(false)
	aws.userData.Store(fmt.Sprintf(part, "ecs: {settings: {ECS_ENGINE_AUTH_TYPE: docker, ECS_ENGINE_AUTH_DATA: {r: {username: u, password: {ssm: /fluentd/key}}}}}"))
	if out, _ := render(); !out.Secret || !strings.Contains(string(out.Text), `ECS_ENGINE_AUTH_DATA={"r":{"username":"u","password":"hunter2"}}`) {
		t.Errorf("the file:\n%s", out.Text)
	}
	if info, err := os.Stat(host.file()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("with a secret: %v, %v", info.Mode(), err)
	}
	aws.refuses.Store(true)
	if out, said := render(); len(out.Changes) > 0 || len(out.Missing) > 0 || !strings.Contains(said, "error: ECS_ENGINE_AUTH_DATA: {ssm: /fluentd/key}: AccessDeniedException: not allowed (the role of the instance needs leave to read it); the former value stays") {
		t.Errorf("changes %v, missing %v\n%s", out.Changes, out.Missing, said)
	}
	aws.userData.Store(fmt.Sprintf(part, "forward:\n  to: [\"b:2\"]\n  shared_key: {ssm: /fluentd/key}\necs: {settings: {ECS_CLUSTER: blue}}"))
	aws.refuses.Store(false)
	render()

	// A part that cannot be used does not take the place of one that could.
	aws.userData.Store(fmt.Sprintf(part, "forward: {too: [\"c:3\"]}\necs: {settings: {ECS_CLUSTER: green}}"))
	out, said := render()
	if !out.Invalid || !strings.Contains(said, "user-data:7:11: error: forward.too: unknown key") || !strings.Contains(string(out.Text), "ECS_CLUSTER=green") {
		t.Errorf("%s\n%s", said, out.Text)
	}
	loads("not valid", "b:2", "hunter2")
	aws.userData.Store(fmt.Sprintf(part, "forward: {to: [\"c:3\"], shared_key: {ssm: /other}}"))
	if out, said := render(); len(out.Missing) != 1 || out.Missing[0] != "{ssm: /other}" {
		t.Errorf("missing %v\n%s", out.Missing, said)
	}
	if l := source.Load(); l.OK() || !strings.Contains(fmt.Sprint(l.Findings), "not looked up yet") {
		t.Errorf("a key that is not there: %v", l.Findings)
	}

	aws.userData.Store("")
	render()
	loads("no user data any more", "a:1", "")
	if _, err := os.Stat(keptPath(state)); !os.IsNotExist(err) {
		t.Errorf("it is still kept: %v", err)
	}

	for text, want := range map[string]string{`{"machine":"another","user_data":[{"Text":"Zm9yd2FyZDoge3RvOiBbIng6MSJdfQ=="}]}`: "of another machine", "{": "damaged"} {
		if err := os.WriteFile(keptPath(state), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		loads(want, "a:1", "")
		if l := source.Load(); len(l.Findings) != 1 || !strings.Contains(l.Findings[0].String(), want) {
			t.Errorf("findings %v, want %s", l.Findings, want)
		}
	}
}
