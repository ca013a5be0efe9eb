// Package packaging has the recipes of packages and the examples for images and infrastructure, and tests of those.
package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// checked has fairlead judge user data, and demands the settings of the agent that come of it.
func checked(t *testing.T, program, what, userData string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "user-data")
	if err := os.WriteFile(file, []byte(userData), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(userData) > 16384*3/4 {
		t.Errorf("%s: %d bytes of user data; EC2 takes 16384 in base64", what, len(userData))
	}
	out, err := exec.Command(program, "check", "--json", "--user-data", file).Output()
	if err != nil {
		t.Errorf("%s: fairlead check: %v\n%s", what, err, out)
	}
	var findings []struct{ Severity, Text string }
	if err := json.Unmarshal(out, &findings); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	for _, f := range findings {
		t.Errorf("%s: %s: %s", what, f.Severity, f.Text)
	}
	config := filepath.Join(dir, "ecs.config")
	if out, err := exec.Command(program, "render", "--user-data", file, "--output", config, "--restart", "never").CombinedOutput(); err != nil {
		t.Errorf("%s: fairlead render: %v\n%s", what, err, out)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ECS_CLUSTER=blue\n", "ECS_AVAILABLE_LOGGING_DRIVERS=[\"json-file\",\"fluentd\"]\n"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("%s: ecs.config has no %q:\n%s", what, line, text)
		}
	}
}

func build(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program (-short)")
	}
	program := filepath.Join(t.TempDir(), "fairlead")
	c := exec.Command("go", "build", "-buildvcs=false", "-o", program, "../cmd/fairlead")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The user data of the examples is what fairlead takes without a word.
func TestUserData(t *testing.T) {
	program := build(t)
	t.Run("cloudformation", func(t *testing.T) {
		_, rest, ok := strings.Cut(read(t, "cloudformation/fairlead.yaml"), "Fn::Base64: !Sub |\n")
		if !ok {
			t.Fatal("no user data in the template")
		}
		var b strings.Builder
		for line := range strings.Lines(rest) {
			text, inside := strings.CutPrefix(line, "            ")
			if !inside && line != "\n" {
				break
			}
			b.WriteString(text)
		}
		text := strings.ReplaceAll(b.String(), "${Fluentd}", "fluentd.logs.internal:24224")
		checked(t, program, "cloudformation", regexp.MustCompile(`\$\{[A-Za-z]+\}`).ReplaceAllString(text, "blue"))
	})
	t.Run("terraform", func(t *testing.T) {
		if _, err := exec.LookPath("terraform"); err != nil {
			t.Skip("no terraform here: the module's user data is not rendered")
		}
		dir := t.TempDir()
		for _, name := range []string{"variables.tf", "user_data.tf", "user-data.tftpl"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(read(t, "terraform/"+name)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := exec.Command("terraform", "console", "-var=name=n", "-var=cluster=blue", "-var=ami=ami-1", "-var=vpc_id=vpc-1", `-var=subnets=["s"]`,
			`-var=fluentd=["fluentd.logs.internal:24224","10.0.0.9:24224"]`, `-var=fluentd_cidrs=["10.0.0.0/8"]`, "-var=spill_bucket=spill",
			`-var=settings={ECS_LOGLEVEL="warn"}`)
		c.Dir = dir
		c.Stdin = strings.NewReader("jsonencode(local.user_data)\n")
		out, err := c.Output()
		if err != nil {
			t.Fatalf("terraform console: %v\n%s", err, out)
		}
		var once, text string // console prints the string as a string of its own language, which for this one is JSON's
		if err := json.Unmarshal(out, &once); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := json.Unmarshal([]byte(once), &text); err != nil {
			t.Fatalf("%v: %s", err, once)
		}
		checked(t, program, "terraform", text)
	})
}

// Terraform judges form always, and meaning where it has the provider.
func TestTerraform(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("no terraform here: fmt and validate are not run")
	}
	for _, dir := range []string{"terraform", "packer"} {
		if out, err := exec.Command("terraform", "fmt", "-check", "-diff", dir).Output(); err != nil {
			t.Errorf("terraform fmt %s: %v\n%s", dir, err, out)
		}
	}
	plugins := os.Getenv("TF_PLUGIN_CACHE_DIR")
	if plugins == "" {
		t.Skip("terraform fmt is content; validate needs the AWS provider, in TF_PLUGIN_CACHE_DIR")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("terraform")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-backend=false", "-plugin-dir=" + plugins}, {"validate"}} {
		c := exec.Command("terraform", args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("terraform %s: %v\n%s", args[0], err, out)
		}
	}
}

func TestCloudFormation(t *testing.T) {
	lint, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("no cfn-lint here")
	}
	if out, err := exec.Command(lint, "cloudformation/fairlead.yaml").CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

// The parts of an Image Builder component are those that the service knows.
func TestImageBuilder(t *testing.T) {
	var c struct {
		Name, Description string
		SchemaVersion     any `yaml:"schemaVersion"`
		Parameters        []map[string]struct{ Type, Description string }
		Phases            []struct {
			Name  string
			Steps []struct {
				Name, Action string
				MaxAttempts  int `yaml:"maxAttempts"`
				Inputs       any
			}
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(read(t, "imagebuilder/fairlead.yaml")), &c, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	var phases []string
	for _, p := range c.Phases {
		phases = append(phases, p.Name)
		for _, s := range p.Steps {
			if s.Action != "ExecuteBash" && s.Action != "WebDownload" || s.Name == "" || s.Inputs == nil {
				t.Errorf("step %+v", s)
			}
		}
	}
	if got := strings.Join(phases, " "); got != "build validate test" || len(c.Parameters) != 2 {
		t.Errorf("phases %s, parameters %v", got, c.Parameters)
	}
}

// The task definition: each variable is a key that there is, each mount has its volume.
func TestTaskDefinition(t *testing.T) {
	var d struct {
		ContainerDefinitions []struct {
			Environment []struct{ Name, Value string }
			MountPoints []struct{ SourceVolume, ContainerPath string }
		}
		Volumes []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(read(t, "ecs/daemon.json")), &d); err != nil {
		t.Fatal(err)
	}
	volumes := map[string]bool{}
	for _, v := range d.Volumes {
		volumes[v.Name] = true
	}
	c := exec.Command(build(t), "check")
	c.Env = os.Environ()
	for _, e := range d.ContainerDefinitions[0].Environment {
		c.Env = append(c.Env, e.Name+"="+e.Value)
	}
	for _, m := range d.ContainerDefinitions[0].MountPoints {
		if !volumes[m.SourceVolume] {
			t.Errorf("%s is of volume %q, which there is not", m.ContainerPath, m.SourceVolume)
		}
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("fairlead check: %v\n%s", err, out)
	}
}

// Each alert is explained in the documentation, and no other.
func TestAlertsAreExplained(t *testing.T) {
	page := read(t, "../docs/operations.md")
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(read(t, "prometheus/fairlead.rules.yml"), -1) {
		known[m[1]] = true
		if !strings.Contains(page, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not say what %s means", m[1])
		}
	}
	if len(known) == 0 {
		t.Fatal("no alerts found")
	}
	for _, m := range regexp.MustCompile("`(Fairlead[A-Z]\\w+)`").FindAllStringSubmatch(page, -1) {
		if !known[m[1]] {
			t.Errorf("docs/operations.md speaks of %s, which is no alert", m[1])
		}
	}
}
