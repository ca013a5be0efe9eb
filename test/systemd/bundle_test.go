package systemd

import (
	"encoding/json"
	"strings"
	"testing"
)

// The support bundle of a machine with systemd: units, their environment and the journal are in it, and no secret is. Debug logging of the
// ECS agent goes on, and at the next boot ecs.config is again as it was.
func TestBundle(t *testing.T) {
	t.Parallel()
	const userData = "#!/bin/bash\necho ECS_CLUSTER=blue >> /etc/ecs/ecs.config\nexport DB_PASSWORD=Zq7userdata91\n"
	files := append(Instance(t, userData, "fairlead.service"), File{Path: "/etc/systemd/system/fairlead.service.d/env.conf", Text: "[Service]\nEnvironment=\"GREETING=Zq7 some words 92\" APP_TOKEN=Zq7unit93\n"})
	m := Boot(t, files)
	m.Sh("echo 'login with password=Zq7journal94 failed' | systemd-cat -t app")
	m.Sh("echo 'again Zq7journal94 and Zq7unit93' | systemd-cat -t app")
	m.status()
	out := m.Sh("cd /tmp && fairlead bundle --output /tmp/b.tgz 2>/dev/null")
	if !strings.Contains(out, "/tmp/b.tgz") || strings.TrimSpace(m.Sh("stat -c %a /tmp/b.tgz")) != "600" {
		t.Errorf("%s", out)
	}
	m.Sh("mkdir /tmp/x && tar xzf /tmp/b.tgz -C /tmp/x")
	if found, code := m.Try("grep", "-rl", "Zq7", "/tmp/x"); code != 1 {
		t.Errorf("secrets came out into:\n%s", found)
	}
	read := func(name string) string { return m.Sh("cat /tmp/x/collect/*/" + name) }
	wants(t, "the journal", read("system.log"), "login with password=REDACTED-", "again REDACTED-")
	wants(t, "the unit", read("fairlead/fairlead.service"), "ExecStart=/usr/bin/fairlead run", "GREETING=REDACTED-", "APP_TOKEN=REDACTED-")
	wants(t, "the services", read("services.txt"), "fairlead.service")
	wants(t, "ecs.config", read("ecs-agent/ecs.config"), "ECS_CLUSTER=")
	wants(t, "the status", read("fairlead/status.json"), `"pid"`)
	wants(t, "the metrics", read("fairlead/metrics.txt"), "fairlead_")
	var manifest struct {
		Sources []struct{ Source, Outcome, Why string }
	}
	if err := json.Unmarshal([]byte(read("manifest.json")), &manifest); err != nil {
		t.Fatal(err)
	}
	for _, s := range manifest.Sources {
		if s.Outcome == "timed out" || s.Outcome == "failed" && s.Source != "metadata service" {
			t.Errorf("%s: %s: %s", s.Source, s.Outcome, s.Why)
		}
	}

	before := m.Sh("cat /etc/ecs/ecs.config")
	wants(t, "debug on", m.Run("fairlead", "bundle", "debug", "on"), "the ECS agent logs debug")
	wants(t, "ecs.config", m.Sh("cat /etc/ecs/ecs.config"), "ECS_LOGLEVEL=debug")
	m.Reboot()
	m.Until("ecs.config is as it was", func() bool { return m.Sh("cat /etc/ecs/ecs.config") == before })
}
