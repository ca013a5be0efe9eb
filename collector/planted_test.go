package collector

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// kind is a secret and a line as it is found in.
type kind struct{ name, line, secret string }

// kinds makes secrets that are new in each place.
func kinds(place int) []kind {
	n := 0
	id := func(length int, alphabet string) string { // the same for the same place, different between them
		n++
		var b strings.Builder
		x := uint64(place*1000+n)*0x9E3779B97F4A7C15 + 12345
		for range length {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			b.WriteByte(alphabet[x%uint64(len(alphabet))])
		}
		return b.String()
	}
	const upper, lower, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
	mixed := func(l int) string { return id(l-3, upper+lower+digits) + "aB3" }
	hexed := func(l int) string { return id(l, "0123456789abcdef") }
	var list []kind
	add := func(name, format, secret string) {
		list = append(list, kind{name, fmt.Sprintf(format, secret), secret})
	}
	add("aws access key", "key %s used", "AKIA"+id(16, upper+"234567"))
	add("aws temporary key", "key %s used", "ASIA"+id(16, upper+"234567"))
	add("aws secret key", "aws_secret_access_key = %s", mixed(40))
	add("aws secret key alone", "saw %s there", mixed(20)+"/"+mixed(19))
	add("aws session token", "AWS_SESSION_TOKEN=%s", "IQoJ"+mixed(120))
	add("presigned url", "GET https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature=%s HTTP/1.1", hexed(64))
	add("jwt", "token is %s end", "eyJ"+mixed(20)+".eyJ"+mixed(40)+"."+mixed(43))
	add("url password", "DATABASE_URL=postgres://app:%s@db:5432/app", mixed(12))
	add("proxy password", "http_proxy=http://bob:%s@proxy:3128/", mixed(10))
	add("password", "password=%s", "pw-"+mixed(9))
	add("password colon", "Password: %s", mixed(14)+"!")
	add("password in json", `{"user":"bob","password":"%s"}`, mixed(11)+"#")
	add("password in json in json", `{"log":"{\"db_password\":\"%s\"}"}`, mixed(12))
	add("env of a secret's name", "MY_APP_SECRET=%s", lower[:3]+mixed(8))
	add("api key", "X-Api-Key: %s", hexed(32))
	add("datadog key", "DD_API_KEY=%s", hexed(32))
	add("bearer", "Authorization: Bearer %s", mixed(30))
	add("basic", "Authorization: Basic %s", base64.StdEncoding.EncodeToString([]byte("bob:"+mixed(12))))
	add("registry auth", `{"auths":{"registry":{"auth":"%s"}}}`, base64.StdEncoding.EncodeToString([]byte("bob:"+mixed(15))))
	add("cookie", "Cookie: session=%s", hexed(40))
	add("set-cookie", "Set-Cookie: sid=%s; Path=/", mixed(24))
	add("github", "remote: %s", "ghp_"+mixed(36))
	add("gitlab", "remote: %s", "glpat-"+mixed(20))
	add("slack", "hook %s", "xoxb-"+id(12, digits)+"-"+mixed(24))
	add("slack hook", "post https://hooks.slack.com/%s", "services/T00000000/B00000000/"+mixed(24))
	add("stripe", "charge with %s", "sk_live_"+mixed(24))
	add("google", "map key %s", "AIza"+mixed(35))
	add("sendgrid", "mail %s", "SG."+mixed(22)+"."+mixed(43))
	add("npm", "//registry.npmjs.org/:_authToken=%s", "npm_"+mixed(36))
	add("vault", "login %s", "hvs."+mixed(24))
	add("docker hub", "login with %s", "dckr_pat_"+mixed(27))
	add("openai", "model with %s", "sk-proj-"+mixed(40))
	add("azure", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=%s;EndpointSuffix=y", mixed(86)+"==")
	add("connection string", "Server=db;Uid=app;Pwd=%s;Database=x", mixed(12))
	add("mysql argument", "mysql -uapp -p%s app", mixed(12))
	add("flag", "app --api-token %s --verbose", mixed(16))
	add("flag with sign", "app --db-password=%s --verbose", mixed(13))
	add("curl", "curl -u bob:%s https://x/", mixed(12))
	add("redis", "redis-cli -a %s ping", mixed(12))
	add("password hash", "root:%s:19000:0:99999:7:::", "$6$"+mixed(8)+"$"+mixed(40))
	add("wireguard", "PrivateKey = %s", mixed(43)+"=")
	add("rails", "secret_key_base: %s", hexed(64))
	add("totp", "otpauth://totp/x?secret=%s&issuer=y", id(32, upper+"234567"))
	add("identified by", "CREATE USER app IDENTIFIED BY '%s'", mixed(12))
	add("pgpass", "db:5432:app:bob:%s", mixed(12))
	return list
}

// key is a private key in PEM; each of its lines is a secret.
func key(place int) string {
	text := kinds(place + 10_000)
	var body []byte
	for _, k := range text[:8] {
		body = append(body, k.secret...)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: body}))
}

// places write a text where it is gathered from.
type place struct {
	name string
	put  func(t *testing.T, root string, text []string)
}

func write(t *testing.T, root, name string, text []byte) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func lines(text []string) []byte { return []byte(strings.Join(text, "\n") + "\n") }

func logLines(text []string) []byte {
	var b bytes.Buffer
	for _, l := range text {
		fmt.Fprintf(&b, "level=info time=2026-11-21T09:15:36Z msg=%q module=x.go\n", l)
	}
	return b.Bytes()
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inFile(name string) func(*testing.T, string, []string) {
	return func(t *testing.T, root string, text []string) { write(t, root, name, lines(text)) }
}

// containerFile writes the folder of a container on disk.
func containerFile(t *testing.T, root, digit string, config map[string]any) {
	t.Helper()
	id := strings.Repeat(digit, 64)
	all := map[string]any{"ID": id, "Name": "/c" + digit, "Path": "app", "Args": []string{}, "Config": map[string]any{}, "State": map[string]any{"Running": true}}
	for k, v := range config {
		all[k] = v
	}
	write(t, root, "/var/lib/docker/containers/"+id+"/config.v2.json", mustJSON(t, all))
}

func settings(text []string, name string) []string {
	var list []string
	for i, l := range text {
		list = append(list, fmt.Sprintf("%s%d=%s", name, i, l))
	}
	return list
}

func places() []place {
	list := []place{
		{"ecs.config, unknown keys", func(t *testing.T, root string, text []string) {
			write(t, root, "/etc/ecs/ecs.config", lines(append([]string{"ECS_CLUSTER=blue"}, settings(text, "MY_OWN_")...)))
		}},
		{"ecs.config below /var/lib, comments", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "# "+x)
			}
			write(t, root, "/var/lib/ecs/ecs.config", lines(l))
		}},
		{"ecs.config.json", func(t *testing.T, root string, text []string) {
			write(t, root, "/etc/ecs/ecs.config.json", mustJSON(t, map[string]any{"X": text}))
		}},
		{"agent log", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/log/ecs/ecs-agent.log", logLines(text))
		}},
		{"rotated agent log", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/log/ecs/ecs-agent.log.7", lines(text))
		}},
		{"packed agent log", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/log/ecs/ecs-agent.log.2026-01-01-10.gz", gzipped(t, lines(text)))
		}},
		{"zipped ecs-init log", func(t *testing.T, root string, text []string) {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			f, err := z.Create("ecs-init.log")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.Write(lines(text))
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, root, "/var/log/ecs/ecs-init.log.zip", b.Bytes())
		}},
		{"zstd log", func(t *testing.T, root string, text []string) {
			e, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			write(t, root, "/var/log/ecs/old.log.zst", e.EncodeAll(lines(text), nil))
		}},
		{"a gzip in a gzip", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/log/ecs/twice.log.gz", gzipped(t, gzipped(t, lines(text))))
		}},
		{"UTF-16 log", func(t *testing.T, root string, text []string) {
			var b []byte
			for _, u := range utf16.Encode([]rune(string(lines(text)))) {
				b = append(b, byte(u), byte(u>>8))
			}
			write(t, root, "/var/log/ecs/wide.log", b)
		}},
		{"log with zeros", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/log/ecs/zeros.log", append(make([]byte, 4096), lines(text)...))
		}},
		{"log of ECS exec", inFile("/var/log/ecs/exec/abc/amazon-ssm-agent.log")},
		{"log of service connect", inFile("/var/log/ecs/service_connect/envoy.log")},
		{"messages", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "May  1 10:00:00 ip-10-0-0-1 app[12]: "+x)
			}
			write(t, root, "/var/log/messages", lines(l))
		}},
		{"secure", inFile("/var/log/secure")},
		{"cloud-init-output", inFile("/var/log/cloud-init-output.log")},
		{"cloud-init log in python", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "2026-01-01 10:00:00,000 - util.py[DEBUG]: Running command ['sh', '-c', '"+x+"'] with allowed return codes [0]")
			}
			write(t, root, "/var/log/cloud-init.log", lines(l))
		}},
		{"docker log", inFile("/var/log/docker")},
		{"ssm log", inFile("/var/log/amazon/ssm/amazon-ssm-agent.log")},
		{"base64 in a log", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "payload "+base64.StdEncoding.EncodeToString([]byte(x))+" sent")
			}
			write(t, root, "/var/log/ecs/payload.log", lines(l))
		}},
		{"base64 over lines in a log", func(t *testing.T, root string, text []string) {
			b := base64.StdEncoding.EncodeToString(lines(text))
			var l []string
			for len(b) > 76 {
				l = append(l, b[:76])
				b = b[76:]
			}
			write(t, root, "/var/log/ecs/mime.log", lines(append(append([]string{"begin"}, append(l, b)...), "end")))
		}},
		{"gzip as base64 in a log", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/log/ecs/packed.log", []byte("x "+base64.StdEncoding.EncodeToString(gzipped(t, lines(text)))+" y\n"))
		}},
		{"hexadecimal in a log", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "raw "+hex.EncodeToString([]byte(x)))
			}
			write(t, root, "/var/log/ecs/hex.log", lines(l))
		}},
		{"JSON log", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, string(mustJSON(t, map[string]any{"level": "info", "msg": x, "n": 1})))
			}
			write(t, root, "/var/log/ecs/json.log", lines(l))
		}},
		{"JSON in JSON log", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, string(mustJSON(t, map[string]any{"log": string(mustJSON(t, map[string]any{"msg": x}))})))
			}
			write(t, root, "/var/log/ecs/json2.log", lines(l))
		}},
		{"URL-encoded in a log", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "GET /x?q="+url.QueryEscape(x)+" HTTP/1.1")
			}
			write(t, root, "/var/log/ecs/url.log", lines(l))
		}},
		{"coloured log", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "\x1b[32mINFO\x1b[0m "+x+"\x1b[0m")
			}
			write(t, root, "/var/log/ecs/colour.log", lines(l))
		}},
		{"agent state", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/lib/ecs/data/ecs_agent_data.json", mustJSON(t, map[string]any{"Data": map[string]any{"Tasks": text}}))
		}},
		{"agent database", inFile("/var/lib/ecs/data/agent.db")},
		{"user data, a script", inFile("/var/lib/cloud/instance/user-data.txt")},
		{"daemon.json", func(t *testing.T, root string, text []string) {
			write(t, root, "/etc/docker/daemon.json", mustJSON(t, map[string]any{"log-opts": map[string]any{"env": strings.Join(text, ",")}, "labels": text}))
		}},
		{"sysconfig", func(t *testing.T, root string, text []string) {
			write(t, root, "/etc/sysconfig/docker", []byte("OPTIONS=\""+strings.Join(text, " ")+"\"\n"))
		}},
		{"container environment", func(t *testing.T, root string, text []string) {
			containerFile(t, root, "1", map[string]any{"Config": map[string]any{"Env": settings(text, "VAR")}})
		}},
		{"container labels", func(t *testing.T, root string, text []string) {
			labels := map[string]any{}
			for i, x := range text {
				labels[fmt.Sprintf("org.example.%d", i)] = x
			}
			containerFile(t, root, "2", map[string]any{"Config": map[string]any{"Labels": labels}})
		}},
		{"container command", func(t *testing.T, root string, text []string) {
			var args []string
			for _, x := range text {
				args = append(args, "-c", x)
			}
			containerFile(t, root, "3", map[string]any{"Path": "sh", "Args": args, "Config": map[string]any{"Cmd": args, "Entrypoint": []string{strings.Join(text, "; ")}}})
		}},
		{"container words", func(t *testing.T, root string, text []string) {
			var words []string
			for _, x := range text {
				words = append(words, strings.Fields(x)...)
			}
			containerFile(t, root, "4", map[string]any{"Args": words})
		}},
		{"container health", func(t *testing.T, root string, text []string) {
			containerFile(t, root, "5", map[string]any{"State": map[string]any{"Error": strings.Join(text, "; "), "Health": map[string]any{"Log": []any{map[string]any{"Output": string(lines(text))}}}}})
		}},
		{"container log", func(t *testing.T, root string, text []string) {
			containerFile(t, root, "6", nil)
			var b bytes.Buffer
			for _, x := range text {
				b.Write(mustJSON(t, map[string]any{"log": x + "\n", "stream": "stdout", "attrs": map[string]any{"X": x}, "time": "2026-11-21T09:11:33.888075547Z"}))
				b.WriteByte('\n')
			}
			write(t, root, "/var/lib/docker/containers/"+strings.Repeat("6", 64)+"/"+strings.Repeat("6", 64)+"-json.log", b.Bytes())
		}},
		{"container log options", func(t *testing.T, root string, text []string) {
			containerFile(t, root, "7", nil)
			write(t, root, "/var/lib/docker/containers/"+strings.Repeat("7", 64)+"/hostconfig.json", mustJSON(t, map[string]any{"LogConfig": map[string]any{"Type": "splunk", "Config": map[string]any{"tag": strings.Join(text, " ")}}}))
		}},
		{"repositories", func(t *testing.T, root string, text []string) {
			write(t, root, "/var/lib/docker/image/overlay2/repositories.json", mustJSON(t, map[string]any{"Repositories": text}))
		}},
		{"kernel command line", func(t *testing.T, root string, text []string) {
			write(t, root, "/proc/cmdline", []byte(strings.Join(text, " ")+"\n"))
		}},
		{"resolv.conf", inFile("/etc/resolv.conf")},
		{"hosts", inFile("/etc/hosts")},
		{"os-release", inFile("/etc/os-release")},
		{"log with blocks of YAML", func(t *testing.T, root string, text []string) {
			var l []string
			for _, x := range text {
				l = append(l, "config:", "  "+x, "  other: 1")
			}
			write(t, root, "/var/log/ecs/yaml.log", lines(l))
		}},
	}
	return list
}

// given are places that are no files: what others gather.
var given = []string{"ps.txt", "journal.log", "status.json", "unit.service"}

// forms are the ways in which a secret may be written.
func forms(s string) map[string]string {
	inJSON, _ := json.Marshal(s)
	m := map[string]string{"raw": s, "JSON": string(inJSON[1 : len(inJSON)-1]), "query": url.QueryEscape(s), "hexadecimal": hex.EncodeToString([]byte(s)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(s))}
	for shift := range 3 { // anywhere within something that was encoded
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + s))
		m[fmt.Sprint("base64 ", shift)] = b[(shift*8+5)/6 : (shift+len(s))*8/6]
	}
	return m
}

// planted is a secret and the place it was put in.
type planted struct {
	where string
	kind
}

// search looks for secrets in all members and their names, in every form, and answers how often one is there.
func search(t *testing.T, members map[string]string, all []planted) (leaks int) {
	t.Helper()
	// Each form by how it begins, so that every member is gone over once.
	type sought struct {
		what, where, encoding, form string
	}
	const begin = 8
	by := map[string][]sought{}
	for _, k := range all {
		for encoding, form := range forms(k.secret) {
			if len(form) >= begin {
				by[form[:begin]] = append(by[form[:begin]], sought{k.name, k.where, encoding, form})
			}
			if upper := strings.ToUpper(form); encoding == "hexadecimal" {
				by[upper[:begin]] = append(by[upper[:begin]], sought{k.name, k.where, encoding, upper})
			}
		}
	}
	for name, text := range members {
		text += name
		for i := 0; i+begin <= len(text); i++ {
			for _, s := range by[text[i:i+begin]] {
				if strings.HasPrefix(text[i:], s.form) {
					if leaks++; leaks < 60 {
						t.Errorf("%s came out of %q into %s, %s: ...%q", s.what, s.where, name, s.encoding, text[max(0, i-60):min(len(text), i+len(s.form)+5)])
					}
				}
			}
		}
	}
	return leaks
}

// Forty kinds of secrets in forty places: none comes out, in any encoding.
func TestPlantedSecrets(t *testing.T) {
	root := t.TempDir()
	var all []planted
	note := func(where string, list []kind) (text []string) {
		for _, k := range list {
			all = append(all, planted{where, k})
			text = append(text, k.line)
		}
		return text
	}
	for i, p := range places() {
		text := note(p.name, kinds(i))
		if p.name != "container words" && p.name != "sysconfig" && p.name != "kernel command line" {
			pem := key(i)
			for l := range strings.Lines(pem) {
				if !strings.HasPrefix(l, "-----") && len(l) > 20 {
					all = append(all, planted{p.name, kind{"private key", pem, strings.TrimSpace(l)}})
				}
			}
			text = append(text, pem)
		}
		p.put(t, root, text)
	}
	o := Options{Root: root, Docker: filepath.Join(root, "none.sock"), Introspection: "http://127.0.0.1:1", Deadline: 30 * time.Second, MaxBytes: 64 << 20, Format: "zstd", hurry: true,
		ECSKey: func(name string) (bool, bool) { return name == "ECS_CLUSTER", false }}
	for i, path := range given {
		text := lines(note(path, kinds(500+i)))
		switch path {
		case "status.json":
			text = mustJSON(t, map[string]any{"x": strings.Split(string(text), "\n")})
		case "unit.service":
			text = []byte("[Service]\nEnvironment=" + strings.Join(strings.Split(strings.TrimSpace(string(text)), "\n"), "\nEnvironment=") + "\n")
		}
		o.Given = append(o.Given, Given{Path: path, Within: time.Second, Gather: func(context.Context) ([]byte, error) { return text, nil }})
	}
	var out bytes.Buffer
	began := time.Now()
	r, err := Run(context.Background(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	members := unpacked(t, "zstd", out.Bytes())
	if len(members) < 40 {
		t.Errorf("%d members", len(members))
	}
	leaks := search(t, members, all)
	t.Logf("%d secrets, %d members, %d leaks, %v", len(all), len(members), leaks, time.Since(began))
	for _, name := range []string{"ecs_agent_logs/ecs-agent.log", "ecs_agent_logs/twice.log", "ecs-agent/ecs.config", "docker/docker-ps.txt", "user-data.txt", "redactions.json"} {
		if members[name] == "" && name != "ecs_agent_logs/twice.log" {
			t.Errorf("%s is not there", name)
		}
	}
	if !strings.Contains(members["ecs-agent/ecs.config"], "ECS_CLUSTER=blue\n") {
		t.Errorf("ecs.config:\n%s", members["ecs-agent/ecs.config"])
	}
	if r.Manifest.Secrets < len(all)/2 {
		t.Errorf("only %d secrets were reported", r.Manifest.Secrets)
	}
}
