package systemd

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// status is what the daemon says of itself, as far as it matters here.
type status struct {
	PID    int `json:"pid"`
	Config struct {
		Files   []string `json:"files"`
		Refused string   `json:"refused"`
	} `json:"config"`
	Forwarder *struct {
		Sources []any `json:"sources"`
	} `json:"forwarder"`
}

func (m *Machine) status() (s status) {
	m.t.Helper()
	m.Until("the daemon answers", func() bool {
		out, code := m.Try("fairlead", "status", "--json")
		return code == 0 && json.Unmarshal([]byte(out), &s) == nil
	})
	return s
}

// The daemon starts without waiting for user data, is told of it, and has it from then on.
func TestDaemon(t *testing.T) {
	t.Parallel()
	const userData = "#cloud-config\nfairlead:\n  forward: {to: [\"127.0.0.1:1\"], shared_key: hunter2, grace: 500ms}\n  ecs: {settings: {ECS_CLUSTER: blue}}\n"
	m := Boot(t, Instance(t, userData, "fairlead-render.service", "fairlead.service", "fairlead.socket"))
	configured := func(what string) status {
		t.Helper()
		var s status
		m.Until(what+": the daemon forwards", func() bool { s = m.status(); return s.Forwarder != nil })
		if !slices.Contains(s.Config.Files, "user-data") || s.Config.Refused != "" {
			t.Errorf("%s: %+v", what, s.Config)
		}
		if got := m.Property("fairlead.service", "ActiveState") + " " + m.Property("fairlead.service", "NRestarts"); got != "active 0" {
			t.Errorf("%s: fairlead.service is %s\n%s", what, got, m.Journal("fairlead.service"))
		}
		return s
	}
	configured("first boot")
	wants(t, "the journal of render", m.Journal("fairlead-render.service"), "told the daemon what user data now says to it")
	if strings.Contains(m.Sh("journalctl --no-pager -b"), "hunter2") {
		t.Error("the secret is in the journal")
	}
	if got := strings.TrimSpace(m.Sh("stat -c '%a %U' /var/lib/fairlead /var/lib/fairlead/user-data.json /run/fairlead/fairlead.sock /run/fairlead/fluent.sock | tr '\\n' ' '")); got != "700 root 600 root 600 root 660 root" {
		t.Errorf("modes: %s", got)
	}
	if got := m.Property("fairlead.service", "WatchdogUSec"); got != "1min" {
		t.Errorf("watchdog %s", got)
	}

	// Killed, it is started again, and whoever connects meanwhile waits instead of being refused.
	m.Run("systemctl", "kill", "-s", "KILL", "fairlead.service")
	m.Run("/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/24224")
	m.Until("the daemon is there again", func() bool { return m.Property("fairlead.service", "ActiveState") == "active" })
	if s := m.status(); s.Forwarder == nil {
		t.Errorf("after a kill: %+v", s.Config)
	}

	// Reload and reboot without a metadata service to ask.
	m.Run("systemctl", "mask", "--now", "imds.service")
	m.Sh("mkdir -p /etc/fairlead && echo 'record: {id: true}' >/etc/fairlead/fairlead.yaml")
	m.Run("systemctl", "reload", "fairlead.service")
	m.Until("the file is taken", func() bool { return slices.Contains(m.status().Config.Files, "/etc/fairlead/fairlead.yaml") })
	m.Sh("mkdir -p /etc/systemd/system/fairlead-render.service.d && printf '[Service]\\nEnvironment=AWS_EC2_METADATA_DISABLED=true\\n' >/etc/systemd/system/fairlead-render.service.d/off.conf")
	m.Reboot()
	configured("second boot")
	if s := m.Starts(); s[len(s)-1].File["ECS_CLUSTER"] != "blue" {
		t.Errorf("the agent started with %v", s)
	}
}
