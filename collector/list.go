package collector

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Bounds of what is read of one thing. The whole has its own.
const (
	smallText   = 1 << 20
	commandText = 2 << 20
	briefText   = 256 << 10
)

// Parts of what the bundle may hold. Together they leave a quarter of it for what is no log.
const (
	partOfLog        = 12 // one log file
	partOfFolder     = 3  // the ECS agent's logs together
	partOfContainers = 6  // the logs of all containers
	partOfContainer  = 2  // that of the one that was asked for
)

// sources lists everything, what tells most first: when the time or the room ends, the end of the list is missing.
func (b *bundle) sources() []source {
	h := b.host
	list := []source{
		{"instance", 3 * time.Second, h.instance},
		{"ecs.config", 3 * time.Second, h.ecsConfig},
		{"ECS agent", 5 * time.Second, h.ecsAgent},
		{"docker version", 6 * time.Second, h.dockerVersion},
		{"docker info", 8 * time.Second, h.dockerInfo},
		{"docker ps", 8 * time.Second, h.dockerPS},
		{"file systems", 6 * time.Second, h.fileSystems},
		{"memory and load", 3 * time.Second, h.memory},
		{"kernel messages", 5 * time.Second, h.dmesg},
		{"time sync", 4 * time.Second, h.clock},
	}
	for _, g := range b.o.Given {
		list = append(list, source{g.Path, g.Within, func(ctx context.Context, sh *sheet) error {
			text, err := g.Gather(ctx)
			s := asText
			switch {
			case strings.HasSuffix(g.Path, ".json"):
				s = asJSON
			case strings.HasSuffix(g.Path, "ecs.config.diff"):
				s = asECSConfig
			}
			sh.shaped(g.Path, s, text)
			if err == nil && g.Found != nil {
				sh.fact(func(f *facts) { g.Found(text, f) })
			}
			return err
		}})
	}
	list = append(list,
		source{"services", 6 * time.Second, h.services},
		source{"units", 6 * time.Second, h.units},
		source{"docker configuration", 3 * time.Second, h.dockerConfig},
		source{"containers", 15 * time.Second, h.dockerInspect},
		source{"docker images", 8 * time.Second, h.dockerImages},
		source{"docker stats", 10 * time.Second, h.dockerStats},
		source{"volumes", 10 * time.Second, h.volumes},
		source{"docker networks", 8 * time.Second, h.dockerNetworks},
		source{"docker events", 5 * time.Second, h.dockerEvents},
		source{"endpoints", 8 * time.Second, h.endpoints},
		source{"metadata service", 6 * time.Second, h.metadata},
		source{"name resolution", 6 * time.Second, h.names},
		source{"processes", 8 * time.Second, h.processes},
		source{"network", 8 * time.Second, h.network},
		source{"iptables", 8 * time.Second, h.iptables},
		source{"system", 8 * time.Second, h.system},
		source{"packages", 15 * time.Second, h.packages},
		source{"storage", 8 * time.Second, h.storage},
		source{"cgroups", 6 * time.Second, h.cgroups},
		source{"open files", 8 * time.Second, h.openFiles},
		source{"disk use", 10 * time.Second, h.diskUse},
		source{"gpu", 10 * time.Second, h.gpu},
		source{"user data", 5 * time.Second, h.userData},
		source{"ECS agent's state", 5 * time.Second, h.agentState},
		source{"journal of docker", 10 * time.Second, h.journal("docker", "docker_log/docker")},
		source{"journal of containerd", 10 * time.Second, h.journal("containerd", "docker_log/containerd.log")},
		source{"journal of ecs", 10 * time.Second, h.journal("ecs", "ecs_agent_logs/journal-ecs.log")},
		source{"journal of fairlead", 10 * time.Second, h.journal("fairlead", "fairlead/journal.log")},
		source{"ECS agent logs", 5 * time.Second, h.agentLogs},
		source{"docker logs", 5 * time.Second, h.dockerLogs},
		source{"cloud-init logs", 5 * time.Second, h.cloudInitLogs},
		source{"system logs", 5 * time.Second, h.systemLogs},
		source{"journal", 15 * time.Second, h.journal("", "system.log")},
	)
	if !b.o.Brief || b.o.Container != "" {
		list = append(list, source{"container logs", 15 * time.Second, h.containerLogs})
	}
	list = append(list, source{"other logs", 5 * time.Second, h.otherLogs})
	return list
}

// logLimit is how much is taken of one log.
func (h *host) logLimit() int64 {
	if h.o.Brief {
		return briefText
	}
	return h.o.MaxBytes / partOfLog
}

// since is the time from which logs are wanted; zero: all.
func (h *host) since() time.Time {
	if h.o.Since <= 0 {
		return time.Time{}
	}
	return h.began.Add(-h.o.Since)
}

// tooOld tells of a file that was written to before that time for the last time.
func (h *host) tooOld(at time.Time) bool { return at.Before(h.since()) }

// journal reads the journal of a unit, or all of it, its newest lines.
func (h *host) journal(unit, path string) func(context.Context, *sheet) error {
	return func(ctx context.Context, sh *sheet) error {
		if h.o.Root != "/" {
			return errAbsent // the journal is this host's, whatever folder stands for it
		}
		lines := 8_000
		if h.o.Brief {
			lines = 2_000
		}
		args := []string{"--no-pager", "--quiet", "--lines", fmt.Sprint(lines), "--output", "short-iso-precise"}
		if unit != "" {
			args = append(args, "--unit", unit+".service")
		}
		if at := h.since(); !at.IsZero() {
			args = append(args, "--since", at.Format("2006-01-02 15:04:05"))
		}
		text, err := command(ctx, int(h.logLimit()), true, "journalctl", args...)
		sh.text(path, text)
		return err
	}
}
