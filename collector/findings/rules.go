package findings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Findings applies all rules: the worst first, causes before what follows from them.
func (f *Facts) Findings() []Finding {
	var list []Finding
	for _, rule := range []func(*Facts) []Finding{disks, docker, agent, ecsConfig, metadata, endpoints, clock, memory, containers, fairlead, units} {
		list = append(list, rule(f)...)
	}
	have := map[string]int{}
	for i, x := range list {
		have[x.Rule] = i
	}
	for _, x := range f.fromLines() {
		if i, ok := have[x.Rule]; ok { // a rule that knows already why
			list[i].Evidence = append(list[i].Evidence, x.Evidence...)
			continue
		}
		list = append(list, x)
	}
	rank := map[string]int{Critical: 0, Warning: 1, Info: 2}
	slices.SortStableFunc(list, func(a, b Finding) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	return list
}

func size(n uint64) string {
	v, unit := float64(n), 0
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %s", v, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit])
}

func disks(f *Facts) []Finding {
	var list []Finding
	var hung []string
	for _, d := range f.Disks {
		if d.Hung {
			hung = append(hung, fmt.Sprintf("%s (%s, %s)", d.Mount, d.Type, d.Device))
			continue
		}
		if d.Total == 0 || d.ReadOnly || d.Type == "squashfs" || d.Type == "iso9660" || d.Type == "overlay" {
			continue
		}
		severity := ""
		switch used := d.Used(); {
		case used >= 0.95 || d.Available < 64<<20 && d.Total >= 1<<30 && d.Type != "tmpfs": // a small one has never more
			severity = Critical
		case used >= 0.85:
			severity = Warning
		}
		if severity != "" {
			x := Finding{Rule: "disk-full", Severity: severity, What: fmt.Sprintf("%s is %.0f %% full", d.Mount, 100*d.Used()),
				Evidence: []string{fmt.Sprintf("%s of %s free on %s", size(d.Available), size(d.Total), d.Device)},
				Fix:      "fairlead gc frees what containers left; fairlead why says who fills it", Files: []string{"mounts.txt", "disk-use.txt", "docker/volume-sizes.txt"}}
			shown := 0
			for _, u := range f.Uses {
				if shown == 5 || f.on(u.Path) != d.Mount {
					continue
				}
				shown++
				more := ""
				if u.AtLeast {
					more = "at least "
				}
				x.Evidence = append(x.Evidence, fmt.Sprintf("%s: %s%s in %s", u.What, more, size(uint64(u.Bytes)), u.Path))
			}
			for _, c := range largestLogs(f.Containers, d.Mount, f) {
				x.Evidence = append(x.Evidence, fmt.Sprintf("log of %s: %s", cmp.Or(c.Name, c.ID), size(uint64(c.LogBytes))))
			}
			list = append(list, x)
		}
		if d.InodesUsed() >= 0.9 {
			list = append(list, Finding{Rule: "inodes", Severity: Critical, What: fmt.Sprintf("%s has hardly any inodes left", d.Mount),
				Evidence: []string{fmt.Sprintf("%d of %d free", d.InodesFree, d.Inodes)}, Fix: "many small files: fairlead gc removes images and volumes nobody uses", Files: []string{"mounts.txt"}})
		}
	}
	if len(hung) > 0 {
		list = append(list, Finding{Rule: "mount-hung", Severity: Critical, What: "file systems do not answer", Evidence: hung,
			Fix: "the server is gone or cannot be reached; umount -l, then see to it. Processes that touch it hang, dockerd too", Files: []string{"mounts.txt", "ps.txt"}})
	}
	return list
}

// on answers the mount that a path is on.
func (f *Facts) on(path string) string {
	at := ""
	for _, d := range f.Disks {
		if len(d.Mount) > len(at) && (d.Mount == "/" || path == d.Mount || strings.HasPrefix(path, d.Mount+"/")) {
			at = d.Mount
		}
	}
	return at
}

// largestLogs are those of containers on that mount.
func largestLogs(list []Container, mount string, f *Facts) []Container {
	if len(f.Uses) > 0 && !slices.ContainsFunc(f.Uses, func(u Use) bool { return u.What == ContainerLogs && f.on(u.Path) == mount }) {
		return nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Container) int { return cmp.Compare(b.LogBytes, a.LogBytes) })
	list = list[:min(3, len(list))]
	return slices.DeleteFunc(list, func(c Container) bool { return c.LogBytes < 100<<20 })
}

func docker(f *Facts) []Finding {
	d := f.Docker
	var list []Finding
	switch {
	case d.Hung:
		list = append(list, Finding{Rule: "docker-hung", Severity: Critical, What: "dockerd hangs: it accepts connections and does not answer", Evidence: []string{d.Why},
			Fix: "docker/engine-process.txt says what it waits for; kill -USR1 writes its stacks; then systemctl restart docker (with live-restore containers go on)", Files: []string{"docker/docker-not-running.txt", "docker/engine-process.txt"}})
	case d.Asked && !d.Up && !d.Absent:
		list = append(list, Finding{Rule: "docker-down", Severity: Critical, What: "dockerd does not run", Evidence: []string{d.Why}, Fix: "systemctl start docker; docker_log/docker says why it ended", Files: []string{"docker_log/docker", "docker/docker-not-running.txt"}})
	}
	if d.BadConfig {
		list = append(list, Finding{Rule: "docker-config", Severity: Critical, What: "/etc/docker/daemon.json is no JSON: dockerd will not start again", Evidence: []string{"it cannot be parsed"}, Fix: "correct it; dockerd --validate --config-file=/etc/docker/daemon.json", Files: []string{"docker/daemon.json"}})
	}
	return list
}

func agent(f *Facts) []Finding {
	e := f.ECS
	switch {
	case !e.Asked || !e.Configured && !e.Up:
		return nil
	case !e.Up:
		x := Finding{Rule: "agent-down", Severity: Critical, What: "the ECS agent does not answer: it is down, starting, or could not register", Evidence: []string{e.Why},
			Fix: "the other findings say why; else ecs_agent_logs/ecs-agent.log and ecs-init.log", Files: []string{"ecs-agent/ecs-agent-not-running.txt", "ecs_agent_logs/ecs-init.log"}}
		if f.Docker.Hung || f.Docker.Asked && !f.Docker.Up {
			x.Evidence = append(x.Evidence, "dockerd does not answer, and the agent is one of its containers")
		}
		return []Finding{x}
	case !e.Registered:
		return []Finding{{Rule: "agent-unregistered", Severity: Critical, What: "the ECS agent runs and is not registered", Evidence: []string{"it names no container instance"}, Fix: "see ecs_agent_logs/ecs-agent.log", Files: []string{"ecs-agent/agent-metadata.json"}}}
	}
	return nil
}

func ecsConfig(f *Facts) []Finding {
	if len(f.Config) == 0 {
		return nil
	}
	return []Finding{{Rule: "ecs-config", Severity: Warning, What: "ecs.config is not as it was meant", Evidence: f.Config[:min(10, len(f.Config))], Fix: "fairlead render --dry-run --diff shows what would be written, fairlead render writes it", Files: []string{"ecs-agent/ecs.config"}}}
}

func metadata(f *Facts) []Finding {
	var list []Finding
	if f.IMDSAsked && f.IMDS.Error != "" {
		list = append(list, Finding{Rule: "imds", Severity: Warning, What: "EC2's metadata service does not answer", Evidence: []string{f.IMDS.Error}, Fix: "see the instance's metadata options; without it the role's credentials run out", Files: []string{"network/metadata-service.txt"}})
	}
	if i := f.RoleInfo; i != "" && !strings.Contains(i, `"Success"`) && strings.Contains(i, `"Code"`) {
		list = append(list, Finding{Rule: "role", Severity: Critical, What: "the instance's role cannot be used", Evidence: []string{strings.Join(strings.Fields(i), " ")}, Fix: "the role was removed or its trust changed: attach the instance profile again", Files: []string{"network/metadata-service.txt"}})
	}
	return list
}

func endpoints(f *Facts) []Finding {
	var failed, slow []string
	for _, p := range f.Endpoints {
		switch {
		case p.Error != "":
			failed = append(failed, p.Name+": "+p.Error)
		case p.DNS > time.Second:
			slow = append(slow, fmt.Sprintf("%s took %v to resolve", p.Name, p.DNS.Round(time.Millisecond)))
		case p.Connect+p.TLS > 2*time.Second:
			slow = append(slow, fmt.Sprintf("%s took %v to connect", p.Name, (p.Connect+p.TLS).Round(time.Millisecond)))
		}
	}
	var list []Finding
	if len(failed) > 0 {
		x := Finding{Rule: "endpoints", Severity: Warning, What: "services of AWS cannot be reached directly", Evidence: failed, Fix: "check route, NAT or VPC endpoints, security groups; behind a proxy this is as it should be", Files: []string{"network/endpoints.txt"}}
		if len(failed) == len(f.Endpoints) && f.ECS.Asked && f.ECS.Configured && !f.ECS.Up {
			x.Severity = Critical
		}
		list = append(list, x)
	}
	if len(slow) > 0 {
		list = append(list, Finding{Rule: "endpoints-slow", Severity: Warning, What: "the way to AWS is slow", Evidence: slow, Fix: "see name resolution and packet loss", Files: []string{"network/endpoints.txt", "network/resolv.conf"}})
	}
	return list
}

func clock(f *Facts) []Finding {
	c := f.Clock
	off := c.Offset.Abs()
	switch {
	case c.HasOffset && off > 4*time.Minute:
		return []Finding{{Rule: "clock", Severity: Critical, What: fmt.Sprintf("the clock is off by %v: AWS refuses requests", c.Offset.Round(time.Second)), Evidence: []string{"by the answer of " + c.From}, Fix: "start chronyd (server 169.254.169.123)", Files: []string{"time/kernel.txt"}}}
	case c.HasOffset && off > 5*time.Second:
		return []Finding{{Rule: "clock", Severity: Warning, What: fmt.Sprintf("the clock is off by %v", c.Offset.Round(time.Second)), Evidence: []string{"by the answer of " + c.From}, Fix: "start chronyd (server 169.254.169.123)", Files: []string{"time/kernel.txt"}}}
	case c.Checked && !c.Synced:
		return []Finding{{Rule: "clock", Severity: Warning, What: "nothing keeps the clock", Evidence: []string{"the kernel says that its time is not synchronised"}, Fix: "start chronyd (server 169.254.169.123)", Files: []string{"time/kernel.txt"}}}
	}
	return nil
}

func memory(f *Facts) []Finding {
	m := f.Memory
	if m.Total == 0 || m.Available*20 > m.Total {
		return nil
	}
	x := Finding{Rule: "memory", Severity: Critical, What: "hardly any memory is left", Evidence: []string{fmt.Sprintf("%s of %s available", size(m.Available), size(m.Total))}, Fix: "set memory limits of tasks, or ECS_RESERVED_MEMORY, or take a larger instance", Files: []string{"proc/meminfo", "top.txt", "docker/docker-stats.txt"}}
	stats := slices.Clone(f.Stats)
	slices.SortFunc(stats, func(a, b Container) int { return cmp.Compare(b.Memory, a.Memory) })
	for _, c := range stats[:min(5, len(stats))] {
		x.Evidence = append(x.Evidence, fmt.Sprintf("%s takes %s", c.Name, size(c.Memory)))
	}
	return []Finding{x}
}

func containers(f *Facts) []Finding {
	var killed, restarting, unhealthy, broken []string
	for _, c := range f.Containers {
		name := cmp.Or(c.Name, c.ID)
		if c.OOMKilled {
			killed = append(killed, fmt.Sprintf("%s (%s)", name, c.ID))
		}
		if c.Restarts >= 5 {
			restarting = append(restarting, fmt.Sprintf("%s was restarted %d times, last exit code %d", name, c.Restarts, c.ExitCode))
		}
		if c.Health == "unhealthy" {
			unhealthy = append(unhealthy, name)
		}
		if c.Error != "" {
			broken = append(broken, fmt.Sprintf("%s: %.200s", name, c.Error))
		}
	}
	var list []Finding
	add := func(rule, severity, what, fix string, evidence []string) {
		if len(evidence) > 0 {
			list = append(list, Finding{Rule: rule, Severity: severity, What: what, Evidence: evidence[:min(10, len(evidence))], Fix: fix, Files: []string{"docker/docker-ps.txt"}})
		}
	}
	add("oom-container", Critical, "containers were killed for want of memory", "raise the task's memory, or find the leak", killed)
	add("container-start", Warning, "containers could not be started", "the text says why", broken)
	add("restarts", Warning, "containers are restarted again and again", "see their logs", restarting)
	add("unhealthy", Warning, "containers are unhealthy", "their health check's output is in docker/container-*.txt", unhealthy)
	return list
}

func fairlead(f *Facts) []Finding {
	l := f.Fairlead
	var list []Finding
	add := func(rule, severity, what, fix string, evidence ...string) {
		list = append(list, Finding{Rule: rule, Severity: severity, What: what, Evidence: evidence, Fix: fix, Files: []string{"fairlead/status.json"}})
	}
	switch {
	case !l.Asked:
		return nil
	case !l.Up:
		add("fairlead-down", Warning, "fairlead's daemon does not answer", "systemctl start fairlead; fairlead/journal.log says why it ended", l.Why)
		return list
	}
	if l.Lost > 0 {
		add("log-loss", Critical, "fairlead gave up log events", "fairlead status says why; spool.max_bytes and the receiver decide", fmt.Sprintf("%d events since its start", l.Lost))
	}
	if l.Imbalance != 0 {
		add("fairlead-books", Warning, "fairlead's books do not balance", "this is a bug: please report it with this bundle", fmt.Sprintf("imbalance %d", l.Imbalance))
	}
	if l.Full != "" {
		add("spool-full", Critical, "the spool is full: logs wait in their files", "see to the receiver; raise spool.max_bytes", l.Full)
	}
	if l.Failing != "" {
		add("spool-failing", Critical, "the spool's disk fails", "see the disks", l.Failing)
	}
	if l.UnackedSeconds > 300 && l.PendingBytes > 0 {
		add("receiver", Critical, "no receiver acknowledges logs", "see forward in fairlead/status.json: address, reason", fmt.Sprintf("%s wait, nothing acknowledged for %v", size(uint64(l.PendingBytes)), time.Duration(l.UnackedSeconds*float64(time.Second)).Round(time.Second)))
	} else if len(l.NotReady) > 0 {
		add("fairlead-ready", Warning, "fairlead is not ready", "see fairlead status", l.NotReady...)
	}
	return list
}

func units(f *Facts) []Finding {
	if len(f.FailedUnits) == 0 {
		return nil
	}
	severity := Warning
	for _, u := range f.FailedUnits {
		if u == "docker.service" || u == "ecs.service" || u == "containerd.service" {
			severity = Critical
		}
	}
	return []Finding{{Rule: "failed-units", Severity: severity, What: "units of systemd failed", Evidence: f.FailedUnits[:min(20, len(f.FailedUnits))], Fix: "systemctl status UNIT", Files: []string{"services.txt", "system.log"}}}
}
