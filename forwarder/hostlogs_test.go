package forwarder

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// host is a lab whose host logs lie in a folder.
type host struct {
	*lab
	root     string
	journald *journald // nil: none
	events   []string  // as `tag source level time log | field=value ...`
}

func newHost(t *testing.T) *host {
	h := &host{lab: newLab(t)}
	h.root = filepath.Join(h.dir, "root")
	h.cfg.Sources.Host = Host{Enabled: true, Root: h.root}
	h.cfg.Sources.Containers.Enabled = false
	h.each = func(e *receiver.Event) {
		if strings.HasPrefix(string(e.Field("log")), probes) {
			return
		}
		s := fmt.Sprintf("%s %s %s %s", e.Tag, e.Field("source"), e.Field("level"), e.Field("log"))
		for _, k := range []string{"message", "module", "error", "status", "ident", "systemd_unit", "exception.message"} {
			if v := e.Field(k); len(v) > 0 {
				s += fmt.Sprintf(" | %s=%s", k, v)
			}
		}
		h.events = append(h.events, fmt.Sprintf("%s %s", time.Unix(0, e.Time).UTC().Format("15:04:05.999"), s))
	}
	return h
}

func (h *host) write(path string, lines ...string) {
	h.t.Helper()
	path = filepath.Join(h.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		h.t.Fatal(err)
	}
}

// await waits until so many events have come, and answers them in the order of their texts.
func (h *host) await(n int) []string {
	h.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		h.mu.Lock()
		events := slices.Clone(h.events)
		h.mu.Unlock()
		if len(events) >= n {
			return events
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d events, want %d:\n%s", len(events), n, strings.Join(events, "\n"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (h *host) expect(want ...string) {
	h.t.Helper()
	got := h.await(len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHostLogs(t *testing.T) {
	h := newHost(t)
	h.start() // before there is anything
	h.write("var/log/ecs/ecs-agent.log.7", `2019-04-26T19:51:05Z [INFO] Starting Agent`)
	h.write("var/log/ecs/ecs-agent.log",
		`level=warn time=2026-11-21T09:15:36Z msg="a \"b\"" module=parse.go`,
		`{"level":"info","time":"2026-11-21T09:15:37Z","msg":"esc \x1b","module":"main.go"}`,
		`  at something that looks like a continuation`)
	h.write("var/log/ecs/ecs-init.log", `level=error time=2026-05-01T10:00:41Z msg="could not start Agent" level=none`)
	h.write("var/log/ecs/audit.log", `2026-11-21T09:15:36Z 400 172.17.0.4:41562 "/v2/credentials" "a b" - GetCredentials 2 prod arn:x`)
	h.write("var/log/ecs/ecs-volume-plugin.log", `level=info time=2026-05-01T10:00:01Z msg="plugin"`)
	dump := "goroutine 1 [running]:\nmain.main()\n\t/x/main.go:1 +0x1\n\ngoroutine 2 [select]:\nmain.x()\n\t/x/main.go:2 +0x2"
	h.write("var/log/docker", `time="2026-05-01T10:00:02.323456789Z" level=error msg="Handler" error="in use"`, dump,
		`time="2026-05-01T10:00:03.5Z" level=info msg="on"`)
	h.write("var/log/cloud-init.log", `2026-11-21 09:15:36,123 - util.py[WARNING]: failed`, "Traceback (most recent call last):", `  File "/x.py", line 1, in f`, "    f()", "ValueError: no")
	h.write("var/log/messages", `May  1 10:00:00 h sshd[1]: hello`)
	h.expect(
		`19:51:05 host.ecs-agent ecs-agent info 2019-04-26T19:51:05Z [INFO] Starting Agent | message=Starting Agent`,
		`09:15:36 host.ecs-agent ecs-agent warn level=warn time=2026-11-21T09:15:36Z msg="a \"b\"" module=parse.go | message=a "b" | module=parse.go`,
		`09:15:37 host.ecs-agent ecs-agent info {"level":"info","time":"2026-11-21T09:15:37Z","msg":"esc \x1b","module":"main.go"} | message=esc `+"\x1b"+` | module=main.go`,
		`09:15:37 host.ecs-agent ecs-agent    at something that looks like a continuation`,
		`10:00:41 host.ecs-init ecs-init error level=error time=2026-05-01T10:00:41Z msg="could not start Agent" level=none | message=could not start Agent`,
		`09:15:36 host.ecs-audit ecs-audit  2026-11-21T09:15:36Z 400 172.17.0.4:41562 "/v2/credentials" "a b" - GetCredentials 2 prod arn:x | status=400`,
		`10:00:01 host.volume-plugin volume-plugin info level=info time=2026-05-01T10:00:01Z msg="plugin" | message=plugin`,
		`10:00:02.323 host.docker docker error time="2026-05-01T10:00:02.323456789Z" level=error msg="Handler" error="in use" | message=Handler | error=in use`,
		`10:00:02.323 host.docker docker  `+dump,
		`10:00:03.5 host.docker docker info time="2026-05-01T10:00:03.5Z" level=info msg="on" | message=on`,
		"09:15:36.123 host.cloud-init cloud-init warn 2026-11-21 09:15:36,123 - util.py[WARNING]: failed\nTraceback (most recent call last):\n  File \"/x.py\", line 1, in f\n    f()\nValueError: no | message=failed | module=util.py | exception.message=no",
		`10:00:00 host.messages messages  May  1 10:00:00 h sshd[1]: hello | message=hello | ident=sshd`,
	)
}
