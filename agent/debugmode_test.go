package agent

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// ownEngine starts a dockerd of the test's own, with flags and a configuration.
func ownEngine(t *testing.T, config string, flags ...string) (d DebugMode, file string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an engine")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		t.Skip("no dockerd on this machine")
	}
	dir := t.TempDir()
	file = filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(file, []byte(config), 0o640); err != nil {
		t.Fatal(err)
	}
	d = DebugMode{StateDir: filepath.Join(dir, "state"), For: time.Hour, docker: dir + "/d.sock", pidfile: dir + "/pid", host: ecsHost{root: dir + "/root"}}
	engine := exec.Command("dockerd", append([]string{"--config-file", file, "--data-root", dir + "/data", "--exec-root", dir + "/exec", "--host", "unix://" + d.docker, "--pidfile", d.pidfile, "--bridge=none", "--iptables=false", "--ip-masq=false"}, flags...)...)
	log, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	engine.Stdout, engine.Stderr = log, log
	engine.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := engine.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = engine.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = engine.Process.Signal(syscall.SIGTERM)
		<-ended
		log.Close()
		for _, m := range []string{"data", "exec/netns/default", "exec"} {
			_ = unix.Unmount(filepath.Join(dir, m), unix.MNT_DETACH)
		}
	})
	for range 600 {
		if c, err := net.Dial("unix", d.docker); err == nil {
			c.Close()
			if _, err := d.debugging(t.Context()); err == nil {
				return d, file
			}
		}
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			t.Skipf("this machine runs no second engine: %.500s", text)
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("dockerd does not answer")
	return d, file
}

func mustDebug(t *testing.T, d DebugMode, want bool) {
	t.Helper()
	if is, err := d.debugging(context.Background()); err != nil || is != want {
		t.Errorf("dockerd debugs: %v, %v; want %v", is, err, want)
	}
}

func TestDebugMode(t *testing.T) {
	const former = "{\n  \"log-driver\": \"json-file\" ,\n\t\"labels\": [\"a=b\"]\n}"
	d, file := ownEngine(t, former)
	const ecs = "# mine\nECS_CLUSTER=blue\nECS_LOGLEVEL=warn\n"
	if err := os.MkdirAll(filepath.Dir(d.host.file()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.host.file(), []byte(ecs), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := d.On(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err, done)
	}
	mustDebug(t, d, true)
	if text, _ := os.ReadFile(d.host.file()); !strings.Contains(string(text), "ECS_LOGLEVEL=debug\n") || strings.Contains(string(text), "warn") {
		t.Errorf("ecs.config: %s", text)
	}
	if d.Due(time.Now()) || !d.Due(time.Now().Add(2*time.Hour)) {
		t.Error("its time")
	}
	if _, err := d.On(t.Context(), time.Now()); err != nil { // again
		t.Error(err)
	}
	done, err = d.Off(t.Context())
	if err != nil {
		t.Fatal(err, done)
	}
	mustDebug(t, d, false)
	for path, want := range map[string]string{file: former, d.host.file(): ecs} {
		text, err := os.ReadFile(path)
		if err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := os.Stat(d.recordPath()); err == nil {
		t.Error("the record stays")
	}
	if done, err := d.Off(t.Context()); err != nil || !strings.Contains(done[0], "nothing to do") {
		t.Error(done, err)
	}
}

// After another boot everything is put back, whether dockerd runs or not; a file that was not there goes.
func TestDebugModeAfterBoot(t *testing.T) {
	d, file := ownEngine(t, "{}")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := d.On(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	mustDebug(t, d, true)
	r, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	r.Boot = "another"
	if err := d.keep(r); err != nil {
		t.Fatal(err)
	}
	if !d.Due(time.Now()) {
		t.Error("not due after a boot")
	}
	d.pidfile = "/no/such" // dockerd does not run yet
	if done, err := d.Off(t.Context()); err != nil {
		t.Error(done, err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file stays")
	}
}

// With debug as a flag nothing is written: dockerd would not start again.
func TestDebugModeFlagged(t *testing.T) {
	d, file := ownEngine(t, "{}", "--debug")
	done, err := d.On(t.Context(), time.Now())
	if err != nil || !strings.Contains(done[0], "given as a flag (dockerd's command line)") {
		t.Error(done, err)
	}
	if text, _ := os.ReadFile(file); string(text) != "{}" {
		t.Errorf("%s", text)
	}
	for name, text := range map[string]string{"/etc/sysconfig/docker": "# -D\nOPTIONS=\"-D --default-ulimit nofile=1\"\n", "/etc/systemd/system/docker.service.d/x.conf": "[Service]\nExecStart=/usr/bin/dockerd --debug $OPTIONS\n"} {
		d := DebugMode{host: ecsHost{root: t.TempDir()}}
		path := d.host.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := d.flagged("dockerd -H fd://"); got != name {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Whenever it is killed, the files come back byte for byte: before it wrote, after, and on the way back.
func TestDebugModeKilled(t *testing.T) {
	const former = "{ \"labels\": [\"a=b\"] }"
	d, file := ownEngine(t, former)
	on, err := withDebug([]byte(former), true)
	if err != nil {
		t.Fatal(err)
	}
	off, err := withDebug(on, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, stands := range map[string][]byte{"before": []byte(former), "after": on, "on the way back": off} {
		f, err := rememberFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f.Written = sum(on)
		if name == "on the way back" {
			f.Ending = sum(off)
		}
		if err := d.keep(&debugRecord{Boot: "another", Docker: f}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, stands, 0o640); err != nil {
			t.Fatal(err)
		}
		if done, err := d.Off(t.Context()); err != nil || !strings.Contains(done[0], "is as it was") {
			t.Errorf("%s: %v, %v", name, done, err)
		}
		mustDebug(t, d, false)
		if text, err := os.ReadFile(file); err != nil || string(text) != former {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
	// Switched on once more before what an earlier boot left is over: its time begins anew.
	if _, err := d.On(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	r, err := d.read()
	if err != nil {
		t.Fatal(err)
	}
	r.Boot = "another"
	if err := d.keep(r); err != nil {
		t.Fatal(err)
	}
	if _, err := d.On(t.Context(), time.Now()); err != nil || d.Due(time.Now()) {
		t.Errorf("due at once, %v", err)
	}
	if done, err := d.Off(t.Context()); err != nil {
		t.Error(done, err)
	}
}

// --debug=false is the directive too: beside one in the file dockerd would not start again.
func TestDebugFlag(t *testing.T) {
	for words, want := range map[string]bool{"dockerd --debug": true, "dockerd -D": true, "dockerd --debug=false": true, "dockerd -D=true": true, `OPTIONS="--debug=1"`: true, "dockerd --debugger": false, "dockerd -H x --default-ulimit nofile=1": false} {
		if got := debugFlag.MatchString(words); got != want {
			t.Errorf("%s: %v", words, got)
		}
	}
}

func TestWithDebug(t *testing.T) {
	for in, want := range map[string]string{
		"": "{\"debug\": true}\n", "{}": `{"debug": true}`, `{"a":1}`: `{"debug": true, "a":1}`, `{ "debug" : false, "a": {"b": 1}}`: `{ "debug" : true, "a": {"b": 1}}`,
		`{"debug":"x"}`: "", "no": "", "[]": "", `{"debug":false,"x":{"debug":false}}`: "",
	} {
		got, err := withDebug([]byte(in), true)
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SampledFrom([]string{`{}`, `{"a": "b"}`, "{\n\t\"x\": [1]}\n"}).Draw(t, "text")
		on, err := withDebug([]byte(in), true)
		if err != nil {
			t.Fatal(err)
		}
		again, err := withDebug(on, true)
		if err != nil || string(again) != string(on) {
			t.Fatalf("%s: %s, %v", on, again, err)
		}
	})
}
