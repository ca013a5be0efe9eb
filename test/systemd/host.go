package systemd

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Start is one start of the stand-in for the ECS agent: what its two readers made of ecs.config.
type Start struct{ File, Systemd map[string]string }

// Starts lists all starts of the agent on this machine.
func (m *Machine) Starts() []Start {
	m.t.Helper()
	var out []Start
	for line := range strings.Lines(m.Sh("cat /var/lib/ecs/starts 2>/dev/null || true")) {
		var s Start
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			m.t.Fatalf("%q: %v", line, err)
		}
		out = append(out, s)
	}
	return out
}

// The units of a container instance, as far as they have to do with each other, after those of Amazon Linux 2023.
const (
	ecsUnit = `[Unit]
Description=Amazon Elastic Container Service - container agent
Wants=docker.service
PartOf=docker.service
After=docker.service
After=cloud-final.service
[Service]
Type=simple
Restart=on-failure
RestartPreventExitStatus=5
RestartSec=10s
EnvironmentFile=-/etc/ecs/ecs.config
ExecStart=/usr/libexec/ecsagent
[Install]
WantedBy=multi-user.target
`
	dockerUnit = `[Unit]
Description=Docker Application Container Engine
After=network-online.target cloud-final.service
Wants=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
`
	finalUnit = `[Unit]
Description=Execute cloud user/final scripts
After=network-online.target
Wants=network-online.target
[Service]
Type=oneshot
ExecStart=/usr/libexec/cloud-final
RemainAfterExit=yes
TimeoutSec=0
KillMode=process
[Install]
WantedBy=multi-user.target
`
	// cloud-final runs user data that is a script once per instance, and keeps the marks by which others know.
	final = `#!/bin/sh
id=$(cat /srv/imds/meta-data_instance-id)
mkdir -p /var/lib/cloud/instances/$id/sem /run/cloud-init
ln -sfn /var/lib/cloud/instances/$id /var/lib/cloud/instance
echo "{\"v1\":{\"instance_id\":\"$id\"}}" >/run/cloud-init/instance-data.json
sem=/var/lib/cloud/instance/sem/config_scripts_user
[ -e $sem ] && exit 0
touch $sem
cp /srv/imds/user-data /var/lib/cloud/instance/user-data.txt
case $(head -c 2 /srv/imds/user-data) in '#!') cp /srv/imds/user-data /run/user-data; chmod 700 /run/user-data; /run/user-data;; esac
exit 0
`
	imdsUnit = `[Unit]
Description=EC2 instance metadata service
DefaultDependencies=no
Before=network-online.target
[Service]
ExecStart=/usr/libexec/ecsagent imds
[Install]
WantedBy=sysinit.target
`
	asksThere = "[Service]\nEnvironment=AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8254\n"
)

// Instance are the files of a container instance with this user data: fairlead and its units from this tree, stand-ins for the rest.
// Units that enable names are enabled, as systemctl does.
func Instance(t testing.TB, userData string, enable ...string) []File {
	t.Helper()
	Image(t) // where there can be none, nothing need be built
	const module, units = "github.com/fairlead/fairlead", "/usr/lib/systemd/system/"
	agent := Build(t, module+"/test/ecsagent")
	files := []File{
		{Path: "/usr/bin/fairlead", From: Build(t, module+"/cmd/fairlead"), Mode: 0o755},
		{Path: "/usr/libexec/ecsagent", From: agent, Mode: 0o755},
		{Path: "/usr/libexec/cloud-final", Text: final, Mode: 0o755},
		{Path: "/srv/imds/user-data", Text: userData},
		{Path: "/srv/imds/meta-data_instance-id", Text: "i-0123456789abcdef0"},
		{Path: "/etc/ecs/ecs.config"},
		{Path: "/var/lib/ecs/data/.keep"},
		{Path: units + "ecs.service", Text: ecsUnit},
		{Path: units + "docker.service", Text: dockerUnit},
		{Path: units + "cloud-final.service", Text: finalUnit},
		{Path: units + "imds.service", Text: imdsUnit},
		{Path: "/etc/systemd/system/fairlead-render.service.d/imds.conf", Text: asksThere},
		{Path: "/etc/systemd/system/fairlead.service.d/imds.conf", Text: asksThere},
		{Path: "/etc/environment", Text: "AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:8254\n"},
	}
	for _, name := range []string{"fairlead-render.service", "fairlead.service", "fairlead.socket"} {
		files = append(files, File{Path: units + name, From: filepath.Join("..", "..", "systemd", name)})
	}
	for _, name := range append([]string{"ecs.service", "docker.service", "cloud-final.service", "imds.service"}, enable...) {
		text := ""
		for _, f := range files {
			if f.Path == units+name {
				if text = f.Text; f.From != "" {
					text = read(t, f.From)
				}
			}
		}
		for line := range strings.Lines(text) {
			if by, ok := strings.CutPrefix(strings.TrimSpace(line), "WantedBy="); ok {
				for _, target := range strings.Fields(by) {
					files = append(files, File{Path: "/etc/systemd/system/" + target + ".wants/" + name, Link: units + name})
				}
			}
		}
	}
	return files
}
