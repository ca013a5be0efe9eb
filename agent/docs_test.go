package agent

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/internal/size"
)

// The examples of the documentation say what the page says they do, and nothing is to be said against them.
func TestDocumentedUserData(t *testing.T) {
	page, err := os.ReadFile("../docs/userdata.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```(mime|yaml|sh|hcl|yaml-cfn)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) != 5 {
		t.Fatalf("%d examples, want 5", len(examples))
	}
	for _, e := range examples {
		text := e[2]
		switch e[1] { // what the tools make of the template
		case "hcl", "yaml-cfn":
			i := strings.Index(text, "#cloud-config")
			start := strings.LastIndexByte(text[:i], '\n') + 1
			body, _, _ := strings.Cut(text[start:], "  EOT\n")
			body = strings.ReplaceAll("\n"+body, "\n"+text[start:i], "\n")[1:]
			text = regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllString(body, "blue")
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "user-data")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := Rendering{Source: Source{Path: filepath.Join(dir, "none.yaml")}, UserData: file, Output: filepath.Join(dir, "ecs.config")}
		out, err := r.Plan(t.Context())
		if err != nil || len(out.Findings) > 0 {
			t.Errorf("%s: %v, %v", e[1], err, out.Findings)
		}
		got := ecsconfig.Effective(out.Text)
		if len(got) != 3 || got["ECS_CLUSTER"] != "blue" || got["ECS_AVAILABLE_LOGGING_DRIVERS"] != `["json-file","awslogs","fluentd"]` || got["ECS_INSTANCE_ATTRIBUTES"] != `{"stack":"prod"}` {
			t.Errorf("%s: %v", e[1], got)
		}
	}
}

// The task definition of docs/sidecar.md configures the daemon, and nothing is to be said against it.
func TestDocumentedSidecar(t *testing.T) {
	page, err := os.ReadFile("../docs/sidecar.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```json\n")
	text, _, _ = strings.Cut(text, "```")
	var task struct {
		ContainerDefinitions []struct {
			Name        string
			Environment []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal([]byte(text), &task); err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, c := range task.ContainerDefinitions {
		for _, e := range c.Environment {
			environ = append(environ, e.Name+"="+e.Value)
		}
	}
	l := Source{Path: filepath.Join(t.TempDir(), "none.yaml"), Environ: environ}.Load()
	if !l.OK() || len(l.Findings) > 0 {
		t.Fatal(l.Findings)
	}
	got := l.Config.Forwarder
	if f := got.Sources.Files; len(f) != 1 || f[0].MaxBytes != 3*size.GiB || !f[0].DeleteAcked || got.Sources.Containers.Enabled || len(got.Sources.Journal.Units) > 0 ||
		got.Spool.Dir != "/logs/.fairlead/spool" || len(got.Forward.To) != 1 {
		t.Errorf("configured: %+v", got)
	}
}
