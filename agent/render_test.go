package agent

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/cleanup"
)

// below makes a root folder with an ECS host's files.
func below(t *testing.T, files map[string]string) (ecsHost, Source) {
	t.Helper()
	// No metadata service, no agent: nobody listens on port 1.
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	root := write(t, files)
	return ecsHost{root: root, introspection: "http://127.0.0.1:1", unit: "fairlead-none.service"}, Source{Path: filepath.Join(root, "fairlead.yaml")}
}

func TestRendering(t *testing.T) {
	host, source := below(t, map[string]string{
		"etc/ecs/ecs.config": "# of the AMI\nECS_CLUSTER=default\nECS_LOGLEVEL=info\n",
		"fairlead.yaml":      "state: {dir: ROOT}\necs:\n  settings:\n    ECS_LOGLEVEL: warn\n    ECS_RESERVED_PORTS: [22, 80]\n    ECS_INSTANCE_ATTRIBUTES: {stack: prod, n: 1}\n",
		"user-data": `MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="B"

--B
Content-Type: text/x-shellscript

#!/bin/bash
echo ECS_CLUSTER=blue >> /etc/ecs/ecs.config
--B
Content-Type: application/vnd.fairlead+yaml

ecs: {settings: {ECS_LOGLEVEL: debug, ECS_ENABLE_SPOT_INSTANCE_DRAINING: True}}
--B--
`,
	})
	yaml, err := os.ReadFile(source.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source.Path, []byte(strings.ReplaceAll(string(yaml), "ROOT", host.root+"/state")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Rendering{Source: source, UserData: filepath.Join(host.root, "user-data"), Output: host.file(), host: host}
	out, err := r.Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := "# of the AMI\nECS_CLUSTER=blue\nECS_LOGLEVEL=debug\nECS_RESERVED_PORTS=[22,80]\n" +
		"ECS_INSTANCE_ATTRIBUTES={\"stack\":\"prod\",\"n\":\"1\"}\nECS_ENABLE_SPOT_INSTANCE_DRAINING=true\n"
	if got := string(out.Text); got != want || len(out.Findings) > 0 {
		t.Errorf("got  %q\nwant %q\n%v", got, want, out.Findings)
	}
	if err := os.Chmod(host.file(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Apply(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(host.file())
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want the former", info.Mode(), err)
	}

	// Somebody writes to it: the daemon sees which settings.
	state := filepath.Join(host.root, "state")
	watch := newECSWatch(slog.New(slog.DiscardHandler), prometheus.NewRegistry(), func() {})
	watch.host = host
	watch.look(state, time.Now())
	if got := watch.Status().Drift; len(got) > 0 {
		t.Errorf("drift %v directly after rendering", got)
	}
	if err := os.WriteFile(host.file(), []byte(strings.Replace(want, "=blue", "=green", 1)+"X=1\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	watch.look(state, time.Now())
	if got, want := watch.Status().Drift, []string{"ECS_CLUSTER", "X"}; !slices.Equal(got, want) || watch.Status().Since == nil {
		t.Errorf("drift %v, want %v", got, want)
	}
	// Rendering again is what ends it.
	watch.rerender(context.Background(), source)
	watch.look(state, time.Now())
	if got := watch.Status(); len(got.Drift) > 0 || got.Error != "" || got.Since != nil {
		t.Errorf("after rendering again: %+v", got)
	}
}

// The forecast of the disk comes from the daemon, of the one that tasks write to; without a daemon nothing is known.
func TestUntilFull(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if got := untilFull(t.Context(), socket); got != 0 {
		t.Errorf("%s without a daemon", got)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hour, minute := 3600.0, 60.0
		writeJSON(w, http.StatusOK, Status{Cleanup: &cleanup.Status{Disks: []cleanup.DiskStatus{
			{Mount: "/", Roles: []string{"root"}, UntilFullSeconds: &minute}, {Mount: "/var/lib/docker", Roles: []string{"docker"}, UntilFullSeconds: &hour}}}})
	}))
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	if got := untilFull(t.Context(), socket); got != time.Hour {
		t.Errorf("%s, want 1h", got)
	}
}

// A registered instance keeps its cluster, and is told why; all else is rendered.
func TestRegistered(t *testing.T) {
	host, source := below(t, map[string]string{
		"etc/ecs/ecs.config":        "ECS_CLUSTER=a\n",
		"var/lib/ecs/data/agent.db": "x",
		"user-data":                 "#!/bin/bash\necho ECS_CLUSTER=b >> /etc/ecs/ecs.config\necho ECS_LOGLEVEL=warn >> /etc/ecs/ecs.config\n",
	})
	r := Rendering{Source: source, UserData: filepath.Join(host.root, "user-data"), Output: host.file(), host: host}
	out, err := r.Plan(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(out.Text), "ECS_CLUSTER=a\nECS_LOGLEVEL=warn\n"; got != want || !strings.Contains(out.Refused, "registered in the cluster a") {
		t.Errorf("got %q, want %q; %s", got, want, out.Refused)
	}
}
