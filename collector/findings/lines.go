package findings

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
)

// pattern is a text in a log that tells of a fault.
type pattern struct {
	rule     string
	severity string
	text     string   // as it stands in the line
	also     string   // must stand in the line too, in any case
	not      string   // must not
	in       []string // beginnings of the members it counts in; none: all logs
	what     string
	fix      string
}

var agentIn = []string{"ecs_agent_logs/"}
var kernelIn = []string{"kernel/dmesg.current", "system.log", "var_log/messages", "var_log/syslog"}
var engineIn = []string{"docker_log/", "system.log", "var_log/messages"}

const rolePolicy = "attach the managed policy AmazonEC2ContainerServiceforEC2Role to the instance's role"

// patterns are of one rule where they say the same.
var patterns = []*pattern{
	{rule: "agent-credentials", severity: Critical, text: "NoCredentialProviders", what: "the ECS agent has no credentials", fix: "give the instance a role (an instance profile), and see that the metadata service answers", in: agentIn},
	{rule: "agent-credentials", severity: Critical, text: "no EC2 IMDS role found", what: "the ECS agent has no credentials", fix: "give the instance a role (an instance profile), and see that the metadata service answers"},
	{rule: "agent-denied", severity: Critical, text: "AccessDeniedException", what: "the instance's role may not do what the ECS agent needs", fix: rolePolicy, in: agentIn},
	{rule: "agent-denied", severity: Critical, text: "is not authorized to perform: ecs:", what: "the instance's role may not do what the ECS agent needs", fix: rolePolicy},
	{rule: "no-cluster", severity: Critical, text: "ClusterNotFoundException", what: "the cluster in ecs.config does not exist", fix: "correct ECS_CLUSTER, or create the cluster in this region and account", in: agentIn},
	{rule: "no-cluster", severity: Critical, text: "Cluster not found", what: "the cluster in ecs.config does not exist", fix: "correct ECS_CLUSTER, or create the cluster in this region and account", in: agentIn},
	{rule: "agent-terminal", severity: Critical, text: "Agent exited with code 5", what: "the ECS agent ended for good: it will not be started again", fix: "the lines before it in ecs-agent.log say why; after the cure: systemctl restart ecs", in: agentIn},
	{rule: "agent-mismatch", severity: Critical, text: "Data mismatch; saved", what: "the ECS agent's state is of another cluster or instance", fix: "stop ecs, remove /var/lib/ecs/data/*, start ecs: the instance registers anew", in: agentIn},
	{rule: "agent-mismatch", severity: Critical, text: "attribute or resource has changed", what: "the ECS agent's resources changed since it registered", fix: "deregister the instance, stop ecs, remove /var/lib/ecs/data/*, start ecs", in: agentIn},
	{rule: "expired-credentials", severity: Critical, text: "ExpiredToken", what: "credentials have expired", fix: "see that the clock is right and the metadata service answers; static keys in ecs.config or the environment ought to go", not: "GET /"},
	{rule: "expired-credentials", severity: Critical, text: "UnrecognizedClientException", what: "AWS does not know these credentials", fix: "remove static keys, check the region and the role's trust"},
	{rule: "expired-credentials", severity: Critical, text: "InvalidClientTokenId", what: "AWS does not know these credentials", fix: "remove static keys, check the region and the role's trust"},
	{rule: "clock", severity: Critical, text: "RequestExpired", what: "AWS refuses requests because the clock is off", fix: "start chronyd (server 169.254.169.123)"},
	{rule: "clock", severity: Critical, text: "SignatureDoesNotMatch", also: "expired", what: "AWS refuses requests because the clock is off", fix: "start chronyd (server 169.254.169.123)"},
	{rule: "pull-limit", severity: Critical, text: "toomanyrequests", what: "a registry refuses pulls: too many", fix: "pull with an account (ECS_ENGINE_AUTH_DATA), or from ECR's pull-through cache"},
	{rule: "pull-auth", severity: Critical, text: "no basic auth credentials", what: "images cannot be pulled: the registry wants credentials", fix: "for ECR the role needs ecr:GetAuthorizationToken and ecr:BatchGetImage; for others set ECS_ENGINE_AUTH_DATA"},
	{rule: "pull-auth", severity: Critical, text: "pull access denied", what: "images cannot be pulled: no such repository, or no leave", fix: "check the image's name and the credentials of its registry"},
	{rule: "pull-missing", severity: Critical, text: "manifest unknown", what: "images cannot be pulled: the tag does not exist", fix: "check the image's tag in the task definition"},
	{rule: "pull-missing", severity: Critical, text: "manifest for ", also: "not found", what: "images cannot be pulled: the tag does not exist", fix: "check the image's tag in the task definition"},
	{rule: "pull", severity: Critical, text: "CannotPullContainerError", what: "images cannot be pulled", fix: "the text says why; check route, proxy, security group and the registry's credentials"},
	{rule: "pull", severity: Critical, text: "CannotPullECRContainerError", what: "images cannot be pulled from ECR", fix: "check the role's ecr actions and the way to ECR and S3 (NAT or endpoints)"},
	{rule: "docker-timeout", severity: Critical, text: "DockerTimeoutError", what: "Docker did not do in time what the ECS agent asked for", fix: "look at disk and memory; if dockerd hangs, restart it"},
	{rule: "oom", severity: Critical, text: "Out of memory: Kill", what: "the kernel killed processes for want of memory on the host", fix: "set memory limits of tasks, or ECS_RESERVED_MEMORY, or take a larger instance", in: kernelIn},
	{rule: "oom-container", severity: Warning, text: "Memory cgroup out of memory", what: "containers were killed at their memory limit", fix: "raise the task's memory, or find the leak", in: kernelIn},
	{rule: "disk-full", severity: Critical, text: "no space left on device", what: "something could not write: no space left on a disk", fix: "see the disks above; fairlead gc frees what containers left"},
	{rule: "disk-full", severity: Critical, text: "No space left on device", what: "something could not write: no space left on a disk", fix: "see the disks above; fairlead gc frees what containers left"},
	{rule: "read-only", severity: Critical, text: "Remounting filesystem read-only", what: "a disk failed and was made read-only", fix: "replace the instance (the volume may be kept for a look)", in: kernelIn},
	{rule: "disk-errors", severity: Critical, text: "EXT4-fs error", what: "a file system is damaged", fix: "replace the instance", in: kernelIn},
	{rule: "disk-errors", severity: Critical, text: "I/O error, dev ", what: "a disk has errors", fix: "replace the instance or the volume", in: kernelIn},
	{rule: "disk-errors", severity: Critical, text: "XFS (", also: "corruption", what: "a file system is damaged", fix: "replace the instance", in: kernelIn},
	{rule: "kernel-stuck", severity: Critical, text: "blocked for more than", what: "processes wait in the kernel for minutes", fix: "a disk or a network file system does not answer: see mounts.txt", in: kernelIn},
	{rule: "nfs", severity: Critical, text: "not responding", also: "nfs", what: "an NFS or EFS server does not answer", fix: "check the way to it (security group, mount target), then unmount with umount -l", in: kernelIn},
	{rule: "conntrack", severity: Critical, text: "nf_conntrack: table full", what: "connections are dropped: the table of connections is full", fix: "raise net.netfilter.nf_conntrack_max", in: kernelIn},
	{rule: "files", severity: Warning, text: "too many open files", what: "a process has no descriptors left", fix: "open-file-counts.txt says which; raise its limit or find the leak"},
	{rule: "log-fluentd", severity: Warning, text: "fluent#send: can't send logs", what: "Docker's fluentd driver loses log lines", fix: "send to fairlead's own listener (fluentd-address 127.0.0.1:24224), or use json-file"},
	{rule: "log-fluentd", severity: Warning, text: "broken pipe", also: "fluent", what: "Docker's fluentd driver loses log lines", fix: "send to fairlead's own listener (fluentd-address 127.0.0.1:24224), or use json-file"},
	{rule: "log-fluentd", severity: Warning, text: "is reconnecting", also: "fluent", what: "Docker's fluentd driver loses log lines", fix: "send to fairlead's own listener (fluentd-address 127.0.0.1:24224), or use json-file"},
	{rule: "log-awslogs", severity: Warning, text: "Failed to put log", what: "the awslogs driver loses log lines", fix: "check the role's logs:PutLogEvents and the way to CloudWatch Logs; mode=non-blocking drops when its buffer is full"},
	{rule: "log-journal", severity: Warning, text: "Suppressed ", also: "messages from", what: "journald dropped messages that came too fast", fix: "raise RateLimitBurst in journald.conf"},
	{rule: "imds-throttled", severity: Warning, text: "EC2MetadataError", what: "the metadata service failed", fix: "see network/metadata-service.txt", in: agentIn},
	{rule: "agent-disconnected", severity: Warning, text: "Error from tcs; backing off", what: "the ECS agent's metrics connection breaks", fix: "check the way to ecs-t-*; idle connections of an hour are ordinary", in: agentIn},
	{rule: "agent-disconnected", severity: Warning, text: "Unable to discover poll endpoint", what: "the ECS agent does not find its endpoint", fix: "check name resolution, proxy, and the way to ecs.REGION", in: agentIn},
	{rule: "agent-network", severity: Critical, text: "Unable to register as a container instance", what: "the ECS agent cannot register", fix: "the line says why: network, role or cluster", in: agentIn},
	{rule: "bad-ecs-config", severity: Critical, text: "invalid environment variable", what: "the ECS agent cannot start: ecs.config has a line that is no setting", fix: "fairlead check --ecs-config /etc/ecs/ecs.config says where", in: agentIn},
	{rule: "docker-start", severity: Critical, text: "unable to configure the Docker daemon with file", what: "dockerd does not start: daemon.json is wrong", fix: "the line says which directive; the same one as flag and in the file is refused", in: engineIn},
	{rule: "docker-start", severity: Critical, text: "failed to start daemon", what: "dockerd does not start", fix: "the line says why", in: engineIn},
	{rule: "thin-pool", severity: Critical, text: "Thin Pool has", what: "Docker's thin pool is full", fix: "fairlead gc, or extend the pool", in: engineIn},
	{rule: "mirror-auth", severity: Warning, text: "invalid character", also: "ecs_engine_auth_data", what: "ECS_ENGINE_AUTH_DATA is no JSON", fix: "write it as fairlead render would", in: agentIn},
}

// sighting is what was seen of a pattern.
type sighting struct {
	count int
	last  string
	in    string
	line  int
}

// index finds patterns by their first four bytes.
var index = sync.OnceValue(func() (t struct {
	filter [1 << 10]uint32
	by     map[uint32][]*pattern
}) {
	t.by = map[uint32][]*pattern{}
	for _, p := range patterns {
		head := binary.LittleEndian.Uint32([]byte(p.text))
		t.by[head] = append(t.by[head], p)
		h := head * 2654435761 >> 17
		t.filter[h>>5] |= 1 << (h & 31)
	}
	return t
})

// Watch looks for patterns in lines of a member as they stand in the archive. lines is how many came before.
func (f *Facts) Watch(member string, lines int, text []byte) {
	if strings.HasPrefix(member, "ecs_agent_logs/") || strings.HasPrefix(member, "docker_log/") || member == "system.log" {
		f.count(text)
	}
	t := index()
	for i := 0; i+4 <= len(text); i++ {
		head := binary.LittleEndian.Uint32(text[i:])
		if h := head * 2654435761 >> 17; t.filter[h>>5]&(1<<(h&31)) == 0 {
			continue
		}
		for _, p := range t.by[head] {
			if bytes.HasPrefix(text[i:], []byte(p.text)) {
				f.saw(p, member, lines, text, i)
			}
		}
	}
}

const maxEvidence = 300

func (f *Facts) saw(p *pattern, member string, lines int, text []byte, at int) {
	if !p.counts(member) {
		return
	}
	from := bytes.LastIndexByte(text[:at], '\n') + 1
	to := len(text)
	if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
		to = at + n
	}
	line := text[from:to]
	low := bytes.ToLower(line)
	if p.also != "" && !bytes.Contains(low, []byte(p.also)) || p.not != "" && bytes.Contains(line, []byte(p.not)) {
		return
	}
	if f.seen == nil {
		f.seen = map[*pattern]*sighting{}
	}
	s := f.seen[p]
	if s == nil {
		s = &sighting{}
		f.seen[p] = s
	}
	s.count++
	s.in, s.line = member, lines+bytes.Count(text[:from], []byte{'\n'})+1
	s.last = string(bytes.ToValidUTF8(line[:min(len(line), maxEvidence)], nil))
}

// counts tells whether what stands in a member counts. Container logs speak of other programs' faults, configurations and listings of none.
func (p *pattern) counts(member string) bool {
	if len(p.in) == 0 {
		return strings.HasPrefix(member, "ecs_agent_logs/") || strings.HasPrefix(member, "docker_log/") || strings.HasPrefix(member, "var_log/") || strings.HasPrefix(member, "kernel/dmesg.current") || member == "system.log"
	}
	for _, in := range p.in {
		if strings.HasPrefix(member, in) {
			return true
		}
	}
	return false
}

// fromLines makes findings of what was seen, one a rule.
func (f *Facts) fromLines() []Finding {
	var list []Finding
	by := map[string]int{}
	for _, p := range patterns {
		s := f.seen[p]
		if s == nil {
			continue
		}
		evidence := fmt.Sprintf("%d times, last in %s line %d: %s", s.count, s.in, s.line, strings.TrimSpace(s.last))
		if i, ok := by[p.rule]; ok {
			list[i].Evidence = append(list[i].Evidence, evidence)
			continue
		}
		by[p.rule] = len(list)
		list = append(list, Finding{Rule: p.rule, Severity: p.severity, What: p.what, Evidence: []string{evidence}, Fix: p.fix, Files: []string{s.in}})
	}
	return list
}
