package collector

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// unpacked is an archive by the names of its members below the instance's folder.
func unpacked(t testing.TB, format string, archive []byte) map[string]string {
	t.Helper()
	var r io.Reader
	var err error
	if format == "zstd" {
		r, err = zstd.NewReader(bytes.NewReader(archive))
	} else {
		r, err = gzip.NewReader(bytes.NewReader(archive))
	}
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d members: %v", len(members), err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.SplitN(h.Name, "/", 3)
		if len(parts) != 3 || parts[0] != "collect" || path.Clean(h.Name) != h.Name {
			t.Fatalf("member %q", h.Name)
		}
		members[parts[2]] = string(text)
	}
	return members
}

func manifestOf(t testing.TB, members map[string]string) Manifest {
	t.Helper()
	var m Manifest
	if err := json.Unmarshal([]byte(members["manifest.json"]), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// This host as it is, with an engine and secrets in a process's arguments and environment and in a container that never starts.
func TestThisHost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	needRoot(t)
	secrets := map[string]string{"argument": "Zq7pwArgument81", "environment": "Zq7pwEnviron82", "container environment": "Zq7pwContainer83", "label": "Zq7pwLabel84", "command": "Zq7pwCommand85", "plain setting": "zq7 some plain words 86"}
	process := exec.Command("sh", "-c", "sleep 60; true", "x", "--db-password="+secrets["argument"])
	process.Env = append(os.Environ(), "APP_SECRET="+secrets["environment"])
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
		_ = process.Wait()
	}()
	engine := exec.Command("docker", "info").Run() == nil
	if engine {
		build := exec.Command("docker", "import", "--change", "LABEL fairlead-collector=1", "-", "fairlead-collector-test")
		build.Stdin = bytes.NewReader(make([]byte, 1024)) // an empty tar
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := exec.Command("docker", "create", "--label", "fairlead-collector=1", "--label", "org.example.x="+secrets["label"], "--env", "DB_PASSWORD="+secrets["container environment"],
			"--env", "GREETING="+secrets["plain setting"], "fairlead-collector-test", "/app", "--token", secrets["command"]).Output()
		if err != nil {
			t.Fatalf("%v", err)
		}
		id := strings.TrimSpace(string(out))
		defer func() {
			_ = exec.Command("docker", "rm", "-f", id).Run()
			_ = exec.Command("docker", "rmi", "fairlead-collector-test").Run()
		}()
	}
	var out bytes.Buffer
	// What the process has in its environment is set in no file: it is said again in what somebody gathers.
	o := Options{Root: "/", Deadline: 40 * time.Second, MaxBytes: 16 << 20, Format: "gzip", Since: 24 * time.Hour, hurry: true, Given: []Given{{Path: "echo.txt", Within: time.Second,
		Gather: func(context.Context) ([]byte, error) {
			return []byte("said " + secrets["environment"] + " and " + secrets["container environment"] + "\n"), nil
		}}}}
	r, err := Run(t.Context(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	m := unpacked(t, "gzip", out.Bytes())
	for _, e := range r.Manifest.Sources {
		if e.Outcome != OK && e.Outcome != Absent {
			t.Logf("%s: %s: %s", e.Source, e.Outcome, e.Why)
		}
	}
	for name, text := range m {
		for what, s := range secrets {
			for encoding, form := range forms(s) {
				if strings.Contains(text, form) {
					t.Errorf("the %s came out into %s, %s", what, name, encoding)
				}
			}
		}
	}
	want := []string{"mounts.txt", "uname.txt", "os-release", "kernel/dmesg.current", "kernel/dmesg.human.current", "open-file-counts.txt", "open-file-details.txt", "proc/meminfo", "disk-use.txt", "manifest.json", "findings.json", "redactions.json", "report.html"}
	for command, name := range map[string]string{"ps": "ps.txt", "top": "top.txt", "iptables": "iptables-nat.txt", "dpkg": "pkglist.txt", "ip": "ipaddrshow.txt", "netstat": "netstat.txt"} {
		if hasCommand(command) {
			want = append(want, name)
		}
	}
	if engine {
		want = append(want, "docker/docker-info.txt", "docker/docker-ps.txt", "docker/docker-images.txt", "docker/docker-version.txt", "docker/docker-stats.txt")
	}
	for _, name := range want {
		if m[name] == "" {
			t.Errorf("%s is not there", name)
		}
	}
	if strings.Contains(m["report.html"], "src=") || strings.Contains(m["report.html"], "http:") {
		t.Error("the page is not self-contained")
	}
	t.Logf("%.1f s, %d bytes, %d members, %.2f s of CPU", r.Manifest.Seconds, out.Len(), len(m), r.Manifest.CPUSeconds)
}

// Every file of the AWS script's list is there where its source exists.
func TestPathsOfTheScript(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"/etc/ecs/ecs.config": "ECS_CLUSTER=blue\n", "/etc/docker/daemon.json": "{}", "/etc/sysconfig/docker": "OPTIONS=\"x\"\n", "/etc/sysconfig/docker-storage": "DOCKER_STORAGE_OPTIONS=\n",
		"/var/log/messages": "m\n", "/var/log/syslog": "s\n", "/var/log/dmesg": "d\n", "/var/log/docker": "d\n", "/var/log/ecs/ecs-agent.log": "a\n", "/var/log/ecs/exec/x/amazon-ssm-agent.log": "a\n", "/var/log/ecs/daemons/ebs-csi-driver/csi.log": "c\n",
		"/var/lib/ecs/data/ecs_agent_data.json": "{}", "/etc/os-release": "ID=amzn\n", "/proc/modules": "x 1\n", "/proc/self/mounts": "/dev/xvda1 / xfs rw 0 0\n", "/sys/fs/cgroup/system.slice/docker-1.scope/memory.events": "oom 0\n"} {
		write(t, root, name, []byte(text))
	}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/metadata":
			fmt.Fprint(w, `{"Cluster":"blue","ContainerInstanceArn":"arn:aws:ecs:eu-west-1:1:container-instance/blue/1","Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`)
		default:
			fmt.Fprint(w, `{"Tasks":[{"Arn":"arn:aws:ecs:eu-west-1:1:task/blue/1","KnownStatus":"RUNNING"}]}`)
		}
	}))
	defer agent.Close()
	o := quick(root)
	o.Introspection = agent.URL
	o.ECSKey = func(name string) (bool, bool) { return name == "ECS_CLUSTER", false }
	var out bytes.Buffer
	r, err := Run(t.Context(), o, &out)
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "collect/i-0123" {
		t.Errorf("folder %s", r.Name)
	}
	m := unpacked(t, "gzip", out.Bytes())
	for _, name := range []string{"instance-id.txt", "var_log/messages", "var_log/syslog", "kernel/dmesg.boot", "mounts.txt", "docker/daemon.json", "docker/sysconfig-docker", "docker/sysconfig-docker-storage", "docker_log/docker",
		"ecs_agent_logs/ecs-agent.log", "ecs_agent_logs/exec/x/amazon-ssm-agent.log", "ecs_agent_logs/daemons/ebs-csi-driver/csi.log", "ecs-agent/ecs_agent_data.txt", "ecs-agent/ecs.config", "ecs-agent/agent-running-info.txt", "os-release", "lsmod.txt", "cgroupv2.events", "docker/docker-not-running.txt"} {
		if m[name] == "" {
			t.Errorf("%s is not there", name)
		}
	}
}
