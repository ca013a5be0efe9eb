package collector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// learn reads what is set on this host before anything is written, so that a secret that is set in one place is known in all others.
// Nothing of it goes into the archive from here.
func (b *bundle) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, learnWithin)
	defer cancel()
	h := b.host
	for _, name := range []string{"/etc/ecs/ecs.config", "/var/lib/ecs/ecs.config", "/etc/sysconfig/docker", "/etc/sysconfig/docker-storage", "/etc/default/docker", "/etc/environment", "/root/.netrc", "/root/.pgpass",
		"/root/.aws/credentials", "/etc/fairlead/fairlead.yaml"} {
		if text, err := readFile(ctx, h.path(name), smallText); err == nil {
			b.learnText(text)
		}
	}
	for _, pattern := range []string{"/etc/fairlead/conf.d/*.yaml", "/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf", "/etc/ecs/*.json", "/root/.docker/config.json", "/etc/docker/*.json", "/run/secrets/*"} {
		list, _ := patiently(ctx, time.Second, func() ([]string, error) { return filepath.Glob(h.path(pattern)) })
		for _, name := range list[:min(len(list), 100)] {
			text, err := readFile(ctx, name, smallText)
			if err != nil {
				continue
			}
			if strings.HasPrefix(pattern, "/run/secrets/") {
				b.redactor.Learn(string(text))
			}
			if _, err := b.redactor.JSON("", text); err != nil {
				b.learnText(text)
			}
		}
	}
	if text, _, err := h.rawUserData(ctx); err == nil {
		b.learnText(unpackUserData(text, 0))
	}
	dir := filepath.Join(h.dataRoot(ctx), "containers")
	entries, _ := patiently(ctx, readWithin, func() ([]os.DirEntry, error) { return os.ReadDir(h.path(dir)) })
	for _, e := range entries[:min(len(entries), maxContainers)] {
		text, err := readFile(ctx, h.path(filepath.Join(dir, e.Name(), "config.v2.json")), 4*smallText)
		var d onDisk
		if err != nil || json.Unmarshal(text, &d) != nil {
			continue
		}
		for _, v := range d.Config.Env {
			if name, value, ok := strings.Cut(v, "="); ok {
				b.redactor.LearnSetting(name, value)
			}
		}
		for name, value := range d.Config.Labels {
			b.redactor.LearnSetting(name, value)
		}
		if b.o.Root == "/" && ctx.Err() != nil {
			break
		}
	}
	if h.o.Root == "/" {
		for _, v := range environments(ctx, "/proc/[0-9]*") {
			if name, value, ok := strings.Cut(v, "="); ok {
				b.redactor.LearnSetting(name, value)
			}
		}
	}
}

const learnWithin = 6 * time.Second

// learnText goes over a text and keeps nothing but the secrets.
func (b *bundle) learnText(text []byte) {
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, smallText)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		line = strings.TrimPrefix(strings.TrimPrefix(line, "Environment="), "export ")
		if name, value, ok := strings.Cut(strings.Trim(line, `"'`), "="); ok && isName(name) {
			b.redactor.LearnSetting(name, strings.Trim(value, `"'`))
		}
	}
	b.redactor.Text("", text)
}

// environments are the settings of all processes that may be secrets, each once. The kernel makes who reads that of a process wait while it
// works on its memory, for ever where that hangs: such a process is passed over, and a few of them end it.
func environments(ctx context.Context, processes string) []string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	seen := map[string]bool{}
	var list []string
	dirs, _ := filepath.Glob(processes)
	stuck := 0
	for _, d := range dirs {
		if ctx.Err() != nil || len(list) > 20_000 || stuck == 8 {
			break
		}
		text, err := patiently(ctx, 100*time.Millisecond, func() ([]byte, error) { return os.ReadFile(d + "/environ") })
		if errors.Is(err, errTimedOut) {
			stuck++
		}
		if err != nil {
			continue
		}
		for v := range strings.SplitSeq(string(text), "\x00") {
			if len(v) > 6 && len(v) < 16<<10 && !seen[v] && !strings.HasPrefix(v, "PATH=") && !strings.HasPrefix(v, "LS_COLORS=") {
				seen[v] = true
				list = append(list, v)
			}
		}
	}
	return list
}
