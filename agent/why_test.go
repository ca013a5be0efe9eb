package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/forwarder"
)

func TestWhy(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	hour := 3600.0
	sound := func() Status {
		return Status{
			Forwarder: &forwarder.Status{Sources: []forwarder.SourceStatus{{Tag: "docker.web"}}},
			Health: &health.Status{
				Host:   health.HostState{Disks: []health.DiskState{{Mount: "/", Device: "/dev/nvme0n1p1", Kind: "xfs", SizeBytes: 100 << 30, UsedBytes: 40 << 30, AvailBytes: 60 << 30}}},
				Docker: health.DockerState{Up: true, Probed: now},
				ECS:    health.ECSState{Up: true, Process: true, Since: now.Add(-time.Hour), Cluster: "prod", Tasks: map[string]int{"RUNNING": 3}},
			},
		}
	}
	for _, a := range Why(sound(), now) {
		if a.Wrong || a.Next != "" {
			t.Errorf("sound: %+v", a)
		}
	}
	for name, c := range map[string]struct {
		change func(*Status)
		about  int
		want   string
	}{
		"no destination": {func(s *Status) { s.Forwarder = nil }, 0, "Nothing is forwarded."},
		"starting": {func(s *Status) { s.Forwarder, s.Ready = nil, judge(Reason{Starting, "the spool is being opened"}) }, 0,
			"Nothing is forwarded now: the spool is being opened."},
		"receiver gone": {func(s *Status) {
			s.Forwarder.Forward.Failures, s.Forwarder.Forward.Since, s.Forwarder.Forward.LastError = 12, now.Add(-5*time.Minute), "connection refused"
			s.Forwarder.Spool.PendingEvents, s.Forwarder.Spool.OldestSeconds = 900, 290
		}, 0, "No Fluentd takes them: for 5 min 12 attempts failed, the last with: connection refused. 0 B in 1 sources are not read yet, and 900 events (0 B) wait in the spool, the oldest for 4 min."},
		"spool full": {func(s *Status) { s.Forwarder.Spool.Full = "1.0 GiB are used" }, 0, "The spool takes no more: 1.0 GiB are used."},
		"slow receiver": {func(s *Status) { s.Forwarder.Spool.PendingEvents, s.Forwarder.Spool.OldestSeconds = 7, 40 }, 0,
			"Fluentd acknowledges more slowly than logs come."},
		"backlog": {func(s *Status) { s.Forwarder.Sources[0].LagBytes = 1 << 30 }, 0, "most of it (1.0 GiB) of docker.web"},
		"disk full": {func(s *Status) {
			d := &s.Health.Host.Disks[0]
			d.UsedBytes, d.AvailBytes, d.SecondsUntilFull = 92<<30, 8<<30, &hour
			s.Health.Docker.Volumes = map[string]int{"dangling": 30}
			s.Health.Docker.Containers = []health.ContainerState{{State: "exited"}}
		}, 1, "/ is 92 % full with 8.0 GiB left, and full in 60 min if it goes on so. What may take the space: 30 volumes that no container refers to; 1 containers that do not run."},
		"inodes":    {func(s *Status) { s.Health.Host.Disks[0].Files, s.Health.Host.Disks[0].FilesFree = 1000, 3 }, 1, "It has 3 inodes left of 1000."},
		"hung disk": {func(s *Status) { s.Health.Host.Disks[0].Error = "x" }, 1, "/ (xfs, /dev/nvme0n1p1) does not answer."},
		"hung server": {func(s *Status) {
			s.Health.Host.Disks = append(s.Health.Host.Disks, health.DiskState{Mount: "/srv", Device: "nas:/srv", Kind: "nfs4", Error: "x"})
		}, 1, "None is: the fullest, /, is 40 % full with 60.0 GiB left. But /srv (nfs4, nas:/srv) does not answer."},
		"docker hung, no agent": {func(s *Status) {
			s.Health.ECS.Missing, s.Health.Docker = true, health.DockerState{Probed: now, Since: now.Add(-time.Minute), Error: "list: the engine did not answer within 5s"}
		}, 2, "The Docker engine does not do its work for 1m0s (list: the engine did not answer within 5s)"},
		"no agent":      {func(s *Status) { s.Health.ECS.Up, s.Health.ECS.Process = false, false }, 2, "The ECS agent does not run for 60 min."},
		"deaf agent":    {func(s *Status) { s.Health.ECS.Up = false }, 2, "runs and does not answer"},
		"not connected": {func(s *Status) { no := false; s.Health.ECS.API = &no }, 2, "ECS says that it is not connected"},
		"docker hung":   {func(s *Status) { s.Health.Docker.Up, s.Health.Docker.Since = false, now.Add(-time.Minute) }, 2, "The Docker engine does not do its work for 1m0s"},
		"drift":         {func(s *Status) { s.ECSConfig = &ECSStatus{Drift: []string{"ECS_CLUSTER"}} }, 2, "its settings were changed since they were rendered (ECS_CLUSTER)"},
		"nothing placed": {func(s *Status) {
			s.Health.ECS.Tasks = nil
			s.Health.ECS.Services = []health.ServiceEvent{{At: now.Add(-3 * time.Minute), Service: "web", Message: "(service web) was unable to place a task because no container instance met all of its requirements."}}
		}, 2, "ECS places no task here. ECS says of service web, 3 min ago: (service web) was unable to place a task"},
	} {
		s := sound()
		c.change(&s)
		for i, a := range Why(s, now) {
			switch {
			case i == c.about && (!a.Wrong || !strings.Contains(a.Text, c.want)):
				t.Errorf("%s: %+v, want %q", name, a, c.want)
			case i == c.about && a.Next == "":
				t.Errorf("%s: nothing to do", name)
			case i != c.about && a.Wrong:
				t.Errorf("%s: also %+v", name, a)
			}
		}
	}
	full := sound() // of somebody else's files
	full.Health.Host.Disks = append(full.Health.Host.Disks, health.DiskState{Mount: "/srv", Kind: "nfs4", SizeBytes: 100, UsedBytes: 99, AvailBytes: 1})
	if a := Why(full, now)[1]; a.Wrong {
		t.Errorf("%+v", a)
	}
	for _, a := range Why(Status{}, now) { // a daemon that has just begun
		if a.Text == "" {
			t.Errorf("%+v", a)
		}
	}
}
