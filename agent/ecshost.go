package agent

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/internal/instance"
)

// ecsHost is where the ECS agent's things are on this host. The zero value is a container instance as AWS makes it.
type ecsHost struct {
	root          string // "/" but in tests
	introspection string
	unit          string
}

func (h ecsHost) path(name string) string { return filepath.Join("/", h.root, name) }

func (h ecsHost) file() string { return h.path(ECSConfig) }

func (h ecsHost) cloudInit() instance.CloudInit { return instance.CloudInit{Root: h.path("/")} }

func (h ecsHost) agent() string {
	if h.introspection != "" {
		return h.introspection
	}
	return ecsconfig.Introspection
}

func (h ecsHost) service() ecsconfig.Service {
	if h.unit != "" {
		return ecsconfig.Service{Unit: h.unit}
	}
	return ecsconfig.Service{Unit: "ecs.service"}
}

// facts looks at the host, if it is its file that is rendered. What cannot be told soon stays unknown.
func (r Rendering) facts(ctx context.Context, before []byte, socket string) ecsconfig.Facts {
	if !r.isHost() {
		return ecsconfig.Facts{}
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	f := ecsconfig.Facts{EngineDrivers: engineDrivers(ctx, r.host.path("/var/run/docker.sock"))}
	if _, err := os.Stat(r.host.path("/run/systemd/system")); err != nil {
		_, err = os.Stat(r.host.path("/etc/init/ecs.conf"))
		f.Upstart = err == nil
	}
	f.UntilFull = untilFull(ctx, socket)
	f.Cluster = r.host.registered(ctx, before)
	return f
}

// untilFull asks the daemon, if one runs, when the disk is full on which tasks leave what they wrote; 0: it does not fill, or is not known.
func untilFull(ctx context.Context, socket string) time.Duration {
	if socket == "" {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	text, err := Client{Socket: socket}.Raw(ctx)
	var s Status
	if err != nil || json.Unmarshal(text, &s) != nil || s.Cleanup == nil {
		return 0
	}
	for _, d := range s.Cleanup.Disks {
		if d.UntilFullSeconds != nil && slices.Contains(d.Roles, "docker") {
			return time.Duration(*d.UntilFullSeconds * float64(time.Second))
		}
	}
	return 0
}

// registered answers the cluster in which this instance is registered; empty if it is not.
func (h ecsHost) registered(ctx context.Context, before []byte) string {
	if m, err := ecsconfig.Ask(ctx, h.agent()); err == nil {
		return m.Cluster
	}
	// The agent does not answer; its state tells, unless an AMI brought it along: then it is older than this instance.
	born, err := os.Lstat(h.path("/var/lib/cloud/instance"))
	for _, name := range []string{"agent.db", "ecs_agent_data.json"} {
		state, stateErr := os.Stat(h.path("/var/lib/ecs/data/" + name))
		if stateErr != nil || err == nil && state.ModTime().Before(born.ModTime()) {
			continue
		}
		if cluster := ecsconfig.Effective(before)["ECS_CLUSTER"]; cluster != "" {
			return cluster
		}
		return "default"
	}
	return ""
}

// engineDrivers asks the Docker engine for its logging drivers; nothing if it does not answer.
func engineDrivers(ctx context.Context, socket string) []string {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/info", nil)
	if err != nil {
		return nil
	}
	answer, err := client.Do(q)
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	var info struct{ Plugins struct{ Log []string } }
	if answer.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&info) != nil {
		return nil
	}
	return info.Plugins.Log
}
