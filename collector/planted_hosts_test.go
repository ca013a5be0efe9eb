package collector

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/collector/redact"
)

// hostFiles are files of hosts as people have them; what is between « and » is secret. A text that begins with gzip:, base64: or both is packed so.
var hostFiles = map[string]string{
	"/etc/ecs/ecs.config": `ECS_CLUSTER=blue
# the old one: password=«Summer-is-23»
ECS_ENGINE_AUTH_TYPE=docker
ECS_ENGINE_AUTH_DATA={"https://index.docker.io/v1/":
  {"username":"bob",
   "password":"«Blue-Lagoon»","email":"bob@example.com"}}
HTTP_PROXY=bob:«Green-Lagoon»@proxy.local:3128
HTTPS_PROXY=http://bob:«Gr%40y-Lagoon»@proxy.local:3128
ECS_INSTANCE_ATTRIBUTES={"stack":"blue","db_password":"«Red-Lagoon»"}
ECS_LOG_OPTS={"splunk-token":"«11223344-aaaa-bbbb-cccc-ddddeeeeffff»"}
export MY_OWN=«opal»
my_pin=«4711x»
AWS_SECRET_ACCESS_KEY="«wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"
`,
	"/var/lib/ecs/ecs.config":   "ECS_ENGINE_AUTH_DATA={\"r\": \\\n {\"auth\": \\\n \"«Ym9iOlB1cnBsZS1MYWdvb24=»\"}}\nECS_CLUSTER=blue\n",
	"/etc/ecs/ecs.config.json":  `{"Cluster":"blue","EngineAuthData":{"r":{"auth":"«Ym9iOk9jaHJlLUxhZ29vbg==»"}},"Password":["«Two-Lagoons»"]}`,
	"/root/.docker/config.json": `{"auths":{"registry.local":{"auth":"Ym9iOkhpZGRlbi1DYXZl"}}}`,
	"/root/.netrc":              "machine git.local login bob password «Quiet-Cave»\n",
	"/root/.aws/credentials":    "[default]\naws_secret_access_key = «short/Key+1»\n",
	"/etc/sysconfig/docker":     "OPTIONS=\"--default-ulimit nofile=1024:4096 --cluster-store-opt token=«Loud-Cave»\"\nhttp_proxy='bob:«Deep-Cave»@10.0.0.1:3128'\n",
	"/etc/docker/daemon.json":   "{\"log-driver\": \"splunk\", \"log-opts\": {\"splunk-token\": \"«Open-Cave»\",}, \"proxies\": {\"http-proxy\": \"http://bob:«Dark-Cave»@p:1\"}}",
	"/var/log/ecs/ecs-agent.log": `level=info time=2026-11-21T09:15:36Z msg="pulled with Quiet-Cave" module=x.go
level=error time=2026-11-21T09:15:37Z msg="Error: Get \"https://bob:«Wide-Cave»@registry.local/v2/\": EOF" module=x.go
level=info time=2026-11-21T09:15:38Z msg="Configuration: {\"auth\": {\"r\": {\"password\": [\"«Cold-Cave»\"]}}}" module=x.go
level=warn time=2026-11-21T09:15:39Z msg="creds &{«ASIAIOSFODNN7EXAMPLE» «wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXA1PLEKY» }" module=x.go
`,
	"/var/log/ecs/exec/web/session-«ghp_16C7e42F292c6912E7710c838347Ae178B4a».log": "a session\n",
	"/var/log/ecs/service_connect/password=«Lost-Cave».log":                        "an envoy\n",
	"/var/log/ecs/service_connect/of-Quiet-Cave.log":                               "an envoy\n",
	"/var/log/ecs/broken.log.gz":                                                   "gzip:cut:password=«Half-Cave»\n" + strings.Repeat("and on it goes\n", 50),
	"/var/log/ecs/two.log.gz":                                                      "gzip:gzip+:password=«First-Cave»\n\x00password=«Second-Cave»\n",
	"/var/log/messages": `Nov 21 10:00:00 ip-10-0-0-1 app[12]: settings:
Nov 21 10:00:00 ip-10-0-0-1 app[12]:   database:
Nov 21 10:00:00 ip-10-0-0-1 app[12]:     password: |
Nov 21 10:00:00 ip-10-0-0-1 app[12]:       «Tall-Tree»
Nov 21 10:00:00 ip-10-0-0-1 app[12]:     name: shop
Nov 21 10:00:00 ip-10-0-0-1 app[12]: passphrase: «correct horse battery»
Nov 21 10:00:00 ip-10-0-0-1 sudo[12]: bob : TTY=pts/0 ; COMMAND=/usr/bin/mysql -uroot -p'«Small-Tree»' shop
Nov 21 10:00:00 ip-10-0-0-1 app[12]: #033[31mpassword=«Bent-Tree»#033[0m
Nov 21 10:00:00 ip-10-0-0-1 app[12]: hidden "Hidden-Cave" is «SGlkZGVuLUNhdmU=» or «Hidden-Cave»
`,
	"/var/log/cloud-init-output.log": "+ echo «Slim-Tree-9»\n+ docker login -u bob --password-stdin registry.local\n++ aws ssm get-parameter --name x\n+ DB_PASS=«Old-Tree»\n+ mysql -h db -u root '-p«New-Tree»'\n" +
		"+ echo 'ECS_ENGINE_AUTH_DATA={\"r\":{\"auth\":\"«Ym9iOkRyeS1UcmVl»\"}}'\n+ curl -u 'bob:«Wet Tree»' https://x\nA temporary password is generated for root@localhost: «kX(3jd8s;2»\n",
	"/var/lib/cloud/instance/user-data.txt": "gzip:base64:" + `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/cloud-config

#cloud-config
password: «Round-Stone»
chpasswd:
  list: |
    root:«Grey-Stone»
write_files:
- path: /root/.pgpass
  content: |
    db:5432:shop:bob:«Moss-Stone»
- path: /etc/app.yml
  encoding: b64
  content: ` + "cGFzc3dvcmQ6IEJhc2UtU3RvbmUK" + `
- name: DB_PASSWORD
  value: «Flat-Stone»
--b
Content-Type: text/x-shellscript
Content-Transfer-Encoding: base64

` + base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\necho Warm-Stone | docker login -u bob --password-stdin\ncat > /x <<EOF\n<?php define('DB_PASSWORD', 'Cool-Stone');\nEOF\n")) + `
--b--
`,
	"/proc/cmdline": "root=/dev/xvda1 app.password=«Long-Line» ds=nocloud;s=http://bob:«Next-Line»@h/\n",
}

// alsoSecret stand in the files in another form only.
var alsoSecret = []string{"Hidden-Cave", "Base-Stone", "Warm-Stone", "Cool-Stone", "Purple-Lagoon", "Ochre-Lagoon", "Dry-Tree"}

func TestPlantedHosts(t *testing.T) {
	root := t.TempDir()
	var all []planted
	unmark := strings.NewReplacer("«", "", "»", "")
	mark := func(where, text string) string {
		for _, part := range strings.Split(text, "«")[1:] {
			secret, _, _ := strings.Cut(part, "»")
			all = append(all, planted{where, kind{"a secret", text, secret}})
		}
		return unmark.Replace(text)
	}
	for name, text := range hostFiles {
		plain := mark(name, text)
		name = mark(name, name)
		rest, twice := strings.CutPrefix(plain, "gzip:gzip+:")
		rest, cut := strings.CutPrefix(rest, "gzip:cut:")
		rest, both := strings.CutPrefix(rest, "gzip:base64:")
		b := []byte(rest)
		switch {
		case twice:
			first, second, _ := strings.Cut(rest, "\x00")
			b = append(gzipped(t, []byte(first)), gzipped(t, []byte(second))...)
		case cut:
			b = gzipped(t, b)
			b = b[:len(b)-9]
		case both:
			b = []byte(base64.StdEncoding.EncodeToString(gzipped(t, b)))
		}
		write(t, root, name, b)
	}
	for _, s := range alsoSecret {
		all = append(all, planted{"another form", kind{s, s, s}})
	}
	// A container with secrets in all its parts, and with a log that has them in pieces.
	pem := key(99)
	id := strings.Repeat("a", 64)
	write(t, root, "/var/lib/docker/containers/"+id+"/config.v2.json", mustJSON(t, map[string]any{
		"ID": id, "Name": mark("name", "/web-«ghp_26C7e42F292c6912E7710c838347Ae178B4a»"), "Path": "sh", "State": map[string]any{"Running": true, "Error": mark("error", "exec \"app --db-password «Lone-Star»\": not found"),
			"Health": map[string]any{"Log": []any{map[string]any{"Output": mark("health", "curl: (22) http://bob:«Bright-Star»@localhost/ 401\n\"token\":\n\"«Faint-Star»\"\n")}}}},
		"Args": []string{"-c", mark("args", "mysql -uapp -p'«Dark-Star»' shop; echo \"$X\"")},
		"Config": map[string]any{
			"Env":         []string{"KEY=" + pem, mark("env", "DB_PASS=«Known-Star»"), mark("env", "COLOUR=«Blue-Star»"), mark("env", "JAVA_TOOL_OPTIONS=-Dx.password=«Java-Star» -Xmx1g")},
			"Cmd":         []string{"rabbitmqctl", "add_user", "bob", mark("cmd", "«Wild-Star»")},
			"Entrypoint":  []string{"sh", "-c", mark("entrypoint", "redis-server --requirepass «Calm-Star» --port 1")},
			"Labels":      map[string]any{"com.amazonaws.ecs.cluster": "blue", "traefik.auth": mark("label", "bob:«$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/»"), "note": mark("label", "«Any-Star»")},
			"Healthcheck": map[string]any{"Test": []string{"CMD-SHELL", mark("healthcheck", "mysqladmin ping -uroot -p\"«Cold-Star»\"")}},
		},
	}))
	var log bytes.Buffer
	record := func(text string) {
		log.Write(mustJSON(t, map[string]any{"log": text, "stream": "stdout", "time": "2026-11-21T09:11:33.888075547Z"}))
		log.WriteByte('\n')
	}
	for l := range strings.Lines(pem) {
		record(l)
		if !strings.HasPrefix(l, "-----") {
			all = append(all, planted{"a key in a log", kind{"a line of a key", l, strings.TrimSpace(l)}})
		}
	}
	mark("a log in pieces", "«Split-Moon»")
	record(strings.Repeat("x", 16<<10-14) + " password=Split")
	record("-Moon\n")
	for _, l := range []string{"Known-Star was used", "cfg: {\"a\":{\"secret\" : {\"value\":\"«Half-Moon»\"}}}", "password: «a whole moon of words»", "secret: |", "  «Full-Moon»", "end",
		"Please use the following password to proceed to installation:", "", "«5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e»", "GET /x?X-Amz-Security-Token=«IQoJb3JpZ2lu%2FX»&X-Amz-Signature=«abcdef0123456789»"} {
		record(mark("container log", l) + "\n")
	}
	write(t, root, "/var/lib/docker/containers/"+id+"/"+id+"-json.log", log.Bytes())
	// Secrets that lie over the boundaries of whatever is read at once.
	var edges bytes.Buffer
	for n := 1; n <= 4; n++ {
		for edges.Len() < n*64<<10-90 {
			edges.WriteString("level=info msg=\"nothing of note\"\n")
		}
		edges.WriteString(strings.Repeat(" ", n*64<<10-edges.Len()-10-n) + mark("an edge", fmt.Sprintf("password=«Edge-of-Sea-%d»", n)) + "\n")
	}
	write(t, root, "/var/log/ecs/edges.log", edges.Bytes())

	unit := mark("unit", `# /etc/systemd/system/docker.service.d/proxy.conf
[Service]
Environment="HTTP_PROXY=http://bob:«Slow-River»@p:3128" 'API_TOKEN=«Fast-River»' \
   "DB_PASSWORD=«with \" a River»" PLAIN=«Dry-River»
SetCredential=db:«Wide-River»
ExecStart=/usr/bin/dockerd --cluster-store-opt kv.secret=«Cold-River» -H fd://
ExecStartPre=/bin/sh -c 'echo «Warm-River» | docker login -u bob --password-stdin'
`)
	diff := []byte(mark("diff", "--- /etc/ecs/ecs.config\n+++ /etc/ecs/ecs.config\n ECS_CLUSTER=blue\n-MY_OWN=«slate»\n+MY_OWN=«flint»\n"))
	failure := fmt.Errorf("run x: exit status 1: %s", mark("an error", "cannot connect to amqp://bob:«Grim-Reef»@mq with Quiet-Cave"))
	o := Options{Root: root, Docker: filepath.Join(root, "none.sock"), Introspection: "http://127.0.0.1:1", Deadline: 30 * time.Second, MaxBytes: 64 << 20, Format: "zstd", hurry: true,
		ECSKey: func(name string) (bool, bool) {
			known := map[string]bool{"ECS_CLUSTER": true, "HTTP_PROXY": true, "HTTPS_PROXY": true, "ECS_INSTANCE_ATTRIBUTES": true, "ECS_LOG_OPTS": true, "ECS_ENGINE_AUTH_TYPE": true}
			return known[name] || name == "ECS_ENGINE_AUTH_DATA", !known[name]
		},
		Given: []Given{
			{Path: "ecs-agent/ecs.config.diff", Within: time.Second, Gather: func(context.Context) ([]byte, error) { return diff, nil }},
			{Path: "fails.txt", Within: time.Second, Gather: func(context.Context) ([]byte, error) { return nil, failure }},
		}}
	var out bytes.Buffer
	if _, err := Run(context.Background(), o, &out); err != nil {
		t.Fatal(err)
	}
	members := unpacked(t, "zstd", out.Bytes())
	b := newBundleFor(t, o)
	members["unit"] = string(b.unit("unit", []byte(unit)))
	search(t, members, all)
	for name, want := range map[string]string{
		"ecs-agent/ecs.config": "ECS_CLUSTER=blue\n", "ecs-agent/ecs.config.diff": " ECS_CLUSTER=blue\n", "ecs_agent_logs/edges.log": "nothing of note", "ecs_agent_logs/two.log": "password=REDACTED",
		"var_log/messages": "ip-10-0-0-1 app[12]:     name: shop\n", "user-data.txt": "path: /root/.pgpass", "unit": "--cluster-store-opt", "network/hosts": "",
	} {
		if !strings.Contains(members[name], want) {
			t.Errorf("%s has no %q:\n%s", name, want, members[name])
		}
	}
}

// newBundleFor makes a bundle of which nothing is gathered.
func newBundleFor(t *testing.T, o Options) *bundle {
	t.Helper()
	return &bundle{o: o, left: 1 << 20, redactor: redact.New(redact.Options{Key: []byte("x")}), pace: newPace(time.Now(), 0)}
}
