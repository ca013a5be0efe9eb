package metadata

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	config = `{"StreamConfig":{},"State":{"Running":true,"Pid":17},"ID":"X","Path":"nginx","Args":["-g"],"Config":{"Hostname":"h",
"Env":["PASSWORD=secret"],"Image":"nginx:1.27","Labels":{"com.amazonaws.ecs.cluster":"prod","com.amazonaws.ecs.container-name":"nginx",
"com.amazonaws.ecs.task-arn":"arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba98","com.amazonaws.ecs.task-definition-family":"web",
"com.amazonaws.ecs.task-definition-version":"12","team":"shop"}},"Image":"sha256:1","Name":"/ecs-web-12-nginx-0123","Driver":"overlay2"}`
	hostConfig = `{"Binds":null,"LogConfig":{"Type":"json-file","Config":{"max-size":"10m"}},"NetworkMode":"bridge"}`
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("ab", 32))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadContainer(t *testing.T) {
	c, err := ReadContainer(folder(t, map[string]string{"config.v2.json": config, "hostconfig.json": hostConfig}))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != strings.Repeat("ab", 32) || c.ShortID() != "abababababab" || c.Name != "/ecs-web-12-nginx-0123" || c.Image != "nginx:1.27" ||
		c.Driver != "json-file" || c.Labels["team"] != "shop" || c.Pause() {
		t.Errorf("%+v", c)
	}
	want := ECS{"prod", "arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba98", "web", "12", "nginx"}
	if got := c.ECS(); got != want || got.TaskDefinition() != "web:12" || got.TaskID() != "fedcba98" {
		t.Errorf("%+v, %q, %q", got, got.TaskDefinition(), got.TaskID())
	}
}

func TestReadContainerBroken(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"none":       {},
		"empty":      {"config.v2.json": ""},
		"cut":        {"config.v2.json": config[:200]},
		"no name":    {"config.v2.json": `{"ID":"X"}`},
		"wrong kind": {"config.v2.json": `{"Name":7}`},
	} {
		if c, err := ReadContainer(folder(t, files)); err == nil || c.ID == "" || !strings.Contains(err.Error(), "config.v2.json") {
			t.Errorf("%s: %+v, %v, want an error that names the file", name, c, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the environment: %v", name, err)
		}
	}
	// Without a readable hostconfig.json all but the driver is known.
	for _, host := range []string{"", "{", "[]", `{"LogConfig":7}`} {
		c, err := ReadContainer(folder(t, map[string]string{"config.v2.json": `{"Name":"/a","Config":null}`, "hostconfig.json": host}))
		if err != nil || c.Name != "/a" || c.Driver != "" || c.ECS() != (ECS{}) || c.ECS().TaskDefinition() != "" || c.ECS().TaskID() != "" {
			t.Errorf("hostconfig %q: %+v, %v", host, c, err)
		}
	}
}

func TestPause(t *testing.T) {
	for image, want := range map[string]bool{"amazon/amazon-ecs-pause:0.1.0": true, "amazon/amazon-ecs-agent:latest": false, "pause": false} {
		if got := (Container{Image: image}).Pause(); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
	if !(Container{Image: "x", Labels: map[string]string{labelName: "~internal~ecs~pause"}}).Pause() {
		t.Error("the label does not tell")
	}
}

// FuzzConfig writes a configuration as Docker does, among other keys, and reads back what was written.
func FuzzConfig(f *testing.F) {
	f.Add("/web", "nginx:1.27", "com.amazonaws.ecs.cluster", "prod", `{"Name":"/x"}`)
	f.Add("/\u2028", "", "", "", config)
	f.Fuzz(func(t *testing.T, name, image, key, value, raw string) {
		var c Container
		_ = c.config([]byte(raw)) // anything may stand in the file
		c.hostConfig([]byte(raw))
		if name == "" || !utf8.ValidString(name+image+key+value) {
			t.Skip()
		}
		text, err := json.Marshal(map[string]any{"State": map[string]any{"Name": raw}, "Name": name, "Image": "sha256:1",
			"Config": map[string]any{"Image": image, "Env": []string{raw}, "Labels": map[string]string{key: value}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.config(text); err != nil || c.Name != name || c.Image != image || len(c.Labels) != 1 || c.Labels[key] != value {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	})
}
