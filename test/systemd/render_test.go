package systemd

import (
	"maps"
	"strings"
	"testing"
	"time"
)

const article = `#!/bin/bash
echo ECS_CLUSTER=sandbox >> /etc/ecs/ecs.config
echo ECS_AVAILABLE_LOGGING_DRIVERS=["fluentd\"] >> /etc/ecs/ecs.config
`

// fairlead runs the program in the machine as root does, with a limit that only a deadlock reaches.
func (m *Machine) fairlead(args ...string) (string, int) {
	return m.Try(append([]string{"env", "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8254", "timeout", "60", "/usr/bin/fairlead"}, args...)...)
}

func (m *Machine) agentPID() string { return m.Property("ecs.service", "MainPID") }

// answers waits until the agent has registered.
func (m *Machine) answers() {
	m.t.Helper()
	m.Until("the agent answers", func() bool {
		_, code := m.Try("/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/51678")
		return code == 0
	})
}

func wants(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}

// The boot of an instance with the user data that this began with: the agent starts once, and right.
func TestBoot(t *testing.T) {
	t.Parallel()
	m := Boot(t, append(Instance(t, article, "fairlead-render.service", "fairlead.service", "fairlead.socket"),
		File{Path: "/etc/fairlead/fairlead.yaml", Text: "ecs: {settings: {ECS_LOGLEVEL: debug}}\nhealth: {listen: \"\"}\n"}))
	want := map[string]string{"ECS_CLUSTER": "sandbox", "ECS_AVAILABLE_LOGGING_DRIVERS": `["fluentd"]`, "ECS_LOGLEVEL": "debug"}
	check := func(boots int) {
		t.Helper()
		starts := m.Starts()
		if len(starts) != boots {
			t.Fatalf("%d starts of the agent in %d boots", len(starts), boots)
		}
		if s := starts[boots-1]; !maps.Equal(s.File, want) || !maps.Equal(s.Systemd, want) {
			t.Errorf("the agent was started with\n%v, by systemd's reading\n%v, want\n%v", s.File, s.Systemd, want)
		}
		if got := m.Property("fairlead-render.service", "Result"); got != "success" {
			t.Errorf("fairlead-render.service: %s\n%s", got, m.Journal("fairlead-render.service"))
		}
		if text := m.Sh("journalctl --no-pager -b | grep -i 'ordering cycle' || true"); text != "" {
			t.Error(text)
		}
		if got := strings.TrimSpace(m.Sh("systemctl --failed --no-legend --plain")); got != "" {
			t.Errorf("failed: %s", got)
		}
	}
	check(1)
	wants(t, "the journal", m.Journal("fairlead-render.service"), "user-data:3:37: error: shell syntax error", "wrote /etc/ecs/ecs.config: ECS_AVAILABLE_LOGGING_DRIVERS set, ECS_LOGLEVEL set",
		"the ECS agent does not run: it reads the file when it starts")
	if out := m.Sh("systemd-analyze verify --man=no fairlead-render.service fairlead.service fairlead.socket 2>&1 || true"); strings.Contains(out, "fairlead") {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}

	m.Reboot()
	check(2)
	wants(t, "the journal", m.Journal("fairlead-render.service"), "/etc/ecs/ecs.config is right as it stands")
}

// A script in user data that installs fairlead, as the documentation has it: nothing waits for itself.
func TestInstalledByUserData(t *testing.T) {
	t.Parallel()
	m := Boot(t, Instance(t, `#!/bin/bash
export AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8254
echo ECS_CLUSTER=blue >> /etc/ecs/ecs.config
systemctl enable fairlead-render
timeout 45 fairlead render >/srv/out 2>&1; echo render $? >/srv/codes
timeout 45 systemctl enable --now fairlead; echo enable $? >>/srv/codes
`))
	if got := m.Sh("cat /srv/codes"); got != "render 0\nenable 0\n" {
		t.Errorf("%s%s", got, m.Sh("cat /srv/out"))
	}
	if s := m.Starts(); len(s) != 1 || s[0].File["ECS_CLUSTER"] != "blue" {
		t.Errorf("starts of the agent: %v", s)
	}
	for _, unit := range []string{"fairlead.service", "fairlead-render.service"} {
		if got := m.Property(unit, "ActiveState"); got != "active" {
			t.Errorf("%s is %s", unit, got)
		}
	}
}

// A running agent is restarted where it sees a change, and only there.
func TestRestart(t *testing.T) {
	t.Parallel()
	m := Boot(t, append(Instance(t, "#!/bin/sh\necho ECS_CLUSTER=blue >> /etc/ecs/ecs.config\n", "fairlead-render.service"),
		File{Path: "/etc/fairlead/fairlead.yaml"}))
	m.answers()
	set := func(text string) { m.Put(File{Path: "/etc/fairlead/fairlead.yaml", Text: text}) }
	before := m.agentPID()
	same := func() {
		t.Helper()
		if now := m.agentPID(); now != before {
			t.Errorf("the agent was restarted: process %s, before %s", now, before)
		}
	}
	restarted := func() {
		t.Helper()
		now := m.agentPID()
		if now == before || now == "0" {
			t.Errorf("the agent was not restarted: process %s", now)
		}
		before = now
	}

	out, code := m.fairlead("render")
	if wants(t, "nothing changed: render", out, "right as it stands"); code != 0 {
		t.Errorf("exit code %d", code)
	}
	same()
	m.Sh("echo '# a=comment' >> /etc/ecs/ecs.config; sed -i 's/^ECS/  ECS/' /etc/ecs/ecs.config")
	if out, code = m.fairlead("render"); code != 0 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	same()

	set("ecs: {settings: {ECS_LOGLEVEL: warn}}")
	if out, code = m.fairlead("render", "--restart", "never"); code != 0 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	wants(t, "told never: render", out, "not restarted (never)")
	same()

	set("ecs: {settings: {ECS_LOGLEVEL: error}}")
	begun := time.Now()
	out, code = m.fairlead("render")
	if wants(t, "changed: render", out, "ECS_LOGLEVEL changed", "was restarted and answers: Amazon ECS Agent - v1.105.0 (stand-in), cluster blue"); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("restarted and registered in %s", time.Since(begun).Round(time.Millisecond))
	restarted()

	// The cluster of a registered instance stays, and so does the rest of the file.
	set("ecs: {settings: {ECS_LOGLEVEL: error, ECS_CLUSTER: green}}")
	out, code = m.fairlead("render")
	if wants(t, "another cluster: render", out, "registered in the cluster blue"); code != 1 {
		t.Errorf("another cluster: exit code %d", code)
	}
	same()
	if text := m.Sh("cat /etc/ecs/ecs.config"); !strings.Contains(text, "ECS_CLUSTER=blue\n") {
		t.Errorf("the file:\n%s", text)
	}
	set("ecs: {settings: {ECS_LOGLEVEL: error}}")

	// From its own unit, which the agent is ordered after: to wait for the agent would be to wait for itself.
	set("ecs: {settings: {ECS_LOGLEVEL: crit}}")
	begun = time.Now()
	m.Run("timeout", "45", "systemctl", "restart", "fairlead-render.service")
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("systemctl restart fairlead-render took %s", took)
	}
	wants(t, "the journal", m.Journal("fairlead-render.service"), "starts again when fairlead-render.service has ended")
	m.Until("the agent has a new process", func() bool { pid := m.agentPID(); return pid != before && pid != "0" })
	restarted()
	m.answers()

	// While cloud-final runs a script that calls render, the agent cannot start: render must not wait for it.
	set("ecs: {settings: {ECS_LOGLEVEL: debug}}")
	m.Put(File{Path: "/usr/libexec/cloud-final", Mode: 0o755, Text: "#!/bin/sh\n/usr/bin/timeout 45 /usr/bin/fairlead render >/tmp/out 2>&1\necho $? >/tmp/code\n"},
		File{Path: "/etc/systemd/system/cloud-final.service.d/imds.conf", Text: asksThere})
	m.Run("systemctl", "daemon-reload")
	m.Run("timeout", "60", "systemctl", "restart", "cloud-final.service")
	if got := strings.TrimSpace(m.Sh("cat /tmp/code")); got != "0" {
		t.Errorf("render in user data: exit code %s\n%s", got, m.Sh("cat /tmp/out"))
	}
	wants(t, "render in user data", m.Sh("cat /tmp/out"), "starts again when cloud-final.service has ended")
	m.Until("the agent has a new process", func() bool { pid := m.agentPID(); return pid != before && pid != "0" })
	restarted()
	m.answers()

	// Without D-Bus it goes through systemctl: the address of the bus is wrong for fairlead alone, and systemd's own socket is away.
	set("ecs: {settings: {ECS_LOGLEVEL: info}}")
	m.Sh("mkdir -p /opt/bin && printf '#!/bin/sh\\nunset DBUS_SYSTEM_BUS_ADDRESS\\necho \"$@\" >>/tmp/systemctl\\nexec /usr/bin/systemctl \"$@\"\\n' >/opt/bin/systemctl && chmod 755 /opt/bin/systemctl && mv /run/systemd/private /run/systemd/away")
	out = m.Sh("PATH=/opt/bin:$PATH AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8254 DBUS_SYSTEM_BUS_ADDRESS=unix:path=/none timeout 60 fairlead render 2>&1")
	wants(t, "without D-Bus: render", out, "was restarted and answers")
	wants(t, "systemctl", m.Sh("cat /tmp/systemctl"), "--no-block restart ecs.service", "show --property")
	m.Sh("mv /run/systemd/away /run/systemd/private")
	restarted()

	// Under upstart, whose commands stand-ins play.
	set("ecs: {settings: {ECS_LOGLEVEL: warn}}")
	m.Sh(`systemctl stop ecs; cd /opt/bin
printf '#!/bin/sh\necho "start $1" >>/tmp/upstart; /usr/libexec/ecsagent >/dev/null 2>&1 & echo $! >/tmp/pid; echo "$1 start/running, process $(cat /tmp/pid)"\n' >start
printf '#!/bin/sh\necho "stop $1" >>/tmp/upstart; kill $(cat /tmp/pid); rm /tmp/pid; echo "$1 stop/waiting"\n' >stop
printf '#!/bin/sh\n[ -e /tmp/pid ] && echo "$1 start/running, process $(cat /tmp/pid)" || echo "$1 stop/waiting"\n' >status
chmod 755 *; mkdir -p /etc/init; touch /etc/init/ecs.conf; ./start ecs`)
	m.answers()
	out = m.Sh("mv /run/systemd/system /run/systemd/hidden; PATH=/opt/bin:$PATH AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8254 timeout 60 fairlead render 2>&1; mv /run/systemd/hidden /run/systemd/system; /opt/bin/stop ecs")
	wants(t, "under upstart: render", out, "was restarted and answers")
	wants(t, "upstart", m.Sh("cat /tmp/upstart"), "start ecs\nstop ecs\nstart ecs\n")

	// An agent that ends for good is not waited for.
	set("ecs: {settings: {ECS_LOGLEVEL: info}}")
	m.Sh("rm -rf /var/lib/ecs/data; systemctl stop ecs; sed -i s/ECS_CLUSTER=.*/ECS_CLUSTER=refused/ /etc/ecs/ecs.config; systemctl start ecs; sleep 0.3; echo ECS_LOGLEVEL=crit >> /etc/ecs/ecs.config")
	out, code = m.fairlead("render")
	wants(t, "the agent does not run: render", out, "the ECS agent has failed")
	if code != 0 {
		t.Errorf("the agent does not run: exit code %d\n%s", code, out)
	}
}
