package forwarder

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/forwarder/parse"
)

// hostLog is a log of the host. Its name is what its events have as `source`, and what their tag ends with.
type hostLog struct {
	name string

	// paths of its live files, below sources.host.root. Which of them there are depends on the AMI and its age; one that is not
	// there is waited for.
	paths  []string
	read   hostReader // nil: its lines are text
	lines  bool       // a line is an event: nothing is folded
	upward bool       // rotated to .N, where a higher N is newer

	// Where else its lines are written, to be taken from there when there is no file.
	idents []string // of the syslog and of the journal
	units  []string // of the journal
}

// hostReader reads a line, which lies in the log about at the time near (Unix ns).
type hostReader func(line []byte, near int64, h *parse.Host) bool

func byLogger(line []byte, _ int64, h *parse.Host) bool    { return parse.Logger(line, h) }
func byAudit(line []byte, _ int64, h *parse.Host) bool     { return parse.Audit(line, h) }
func byCloudInit(line []byte, _ int64, h *parse.Host) bool { return parse.CloudInit(line, h) }

// bySyslog reads times without a zone in that of the host, as rsyslog wrote them.
func bySyslog(line []byte, near int64, h *parse.Host) bool {
	return parse.Syslog(line, near, time.Local, h)
}

// hostLogs are the logs of an ECS container instance. An event that is written in several places is taken once: from a file before
// the journal, from the journal before /var/log/messages.
//
//	               file                                  else
//	docker         Amazon Linux 1                        journal; on Amazon Linux 2 also in messages
//	containerd     Amazon Linux 1, in docker's           the same
//	ecs-init       all, but none on Bottlerocket         what is not in the file, as a crash, is in the journal
//	ecs-agent      all; until 1.35 with the hour in      on Bottlerocket likewise
//	               the live file's name
//	messages       Amazon Linux 1 and 2
var hostLogs = []*hostLog{
	{name: "docker", paths: []string{"/var/log/docker", "/var/run/docker/goroutine-stacks-*.log"}, read: byLogger,
		idents: []string{"dockerd", "docker"}, units: []string{"docker.service"}},
	{name: "containerd", read: byLogger, idents: []string{"containerd"}, units: []string{"containerd.service", "host-containerd.service"}},
	{name: "ecs-agent", paths: []string{"/var/log/ecs/ecs-agent.log", "/var/log/ecs/ecs-agent.log." + hourly}, read: byLogger, lines: true, upward: true,
		idents: []string{"amazon-ecs-agent", "agent"}, units: []string{"ecs.service"}},
	{name: "ecs-init", paths: []string{"/var/log/ecs/ecs-init.log"}, read: byLogger, lines: true,
		idents: []string{"amazon-ecs-init", "ecs-init"}, units: []string{"ecs.service"}},
	{name: "ecs-audit", paths: []string{"/var/log/ecs/audit.log", "/var/log/ecs/audit.log." + hourly}, read: byAudit, lines: true, upward: true},
	{name: "volume-plugin", paths: []string{"/var/log/ecs/ecs-volume-plugin.log"}, read: byLogger, lines: true,
		idents: []string{"amazon-ecs-volume-plugin"}, units: []string{"amazon-ecs-volume-plugin.service"}},
	{name: "cloud-init", paths: []string{"/var/log/cloud-init.log", "/var/log/cloud-init-output.log"}, read: byCloudInit},
	{name: "messages", paths: []string{"/var/log/messages"}, read: bySyslog, lines: true},
}

// hourly is the end of a name that agents until 1.35 gave their live file. Those after them rename the live file so.
const hourly = "[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]-[0-2][0-9]"

// hostTag begins the tags of host logs.
const hostTag = "host."

// hostLogOf finds a host log by name.
func hostLogOf(name string) *hostLog {
	for _, h := range hostLogs {
		if h.name == name {
			return h
		}
	}
	return nil
}

// plainFiles is a pattern of plain files that discovery looks for: the user's, or one of a host log.
type plainFiles struct {
	Files
	host   *hostLog
	volume *volume // nil: its space is nobody's business
}

// patterns are all plain files to look for. The user's come first: a file that both mean is the user's.
func (c Sources) patterns() []plainFiles {
	var all []plainFiles
	for _, f := range c.Files {
		all = append(all, plainFiles{Files: f, volume: newVolume(f)})
	}
	if !c.Host.Enabled {
		return all
	}
	for _, h := range hostLogs {
		folds := !h.lines
		for _, path := range h.paths {
			all = append(all, plainFiles{Files: Files{Path: filepath.Join(c.Host.Root, path), Tag: hostTag + h.name, Fold: &folds}, host: h})
		}
	}
	return all
}

// HostStatus says where a log of the host is read.
type HostStatus struct {
	Log  string `json:"log"`
	From string `json:"from"` // "file PATH", "journal UNIT" or "messages"; empty: it is nowhere yet
}

// hostStatus says of each log of the host where it is read.
func (c Sources) hostStatus(j *journalIn) []HostStatus {
	var all []HostStatus
	messages := c.fileOf(hostLogOf("messages")) != ""
	for _, h := range hostLogs {
		s := HostStatus{Log: h.name}
		if path := c.fileOf(h); path != "" {
			s.From = "file " + path
		} else if j.on.Load() {
			for _, u := range h.units {
				if s.From == "" && slices.Contains(j.cfg.Units, u) && (u != "ecs.service" || h.name == "ecs-init") {
					s.From = "journal " + u
				}
			}
		}
		if s.From == "" && messages && len(h.idents) > 0 {
			s.From = "messages"
		}
		if c.Host.Enabled || strings.HasPrefix(s.From, "journal ") {
			all = append(all, s)
		}
	}
	return all
}

// fileOf is the live file of a log of the host; empty where there is none.
func (c Sources) fileOf(h *hostLog) string {
	if !c.Host.Enabled {
		return ""
	}
	for _, pattern := range h.paths {
		found, _ := filepath.Glob(filepath.Join(c.Host.Root, pattern))
		if len(found) > 0 && !strings.Contains(pattern, "*") {
			return found[len(found)-1]
		}
	}
	return ""
}
