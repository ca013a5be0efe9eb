package agent

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/ecsconfig"
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
