package findings

import (
	"strings"
	"testing"
	"time"
)

func rules(f *Facts) string {
	var list []string
	for _, x := range f.Findings() {
		list = append(list, x.Severity+" "+x.Rule)
		if x.What == "" || x.Fix == "" || len(x.Evidence) == 0 {
			panic("a finding without what, evidence or fix: " + x.Rule)
		}
	}
	return strings.Join(list, ", ")
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		f    Facts
		want string
	}{
		"nothing":    {Facts{}, ""},
		"full disk":  {Facts{Disks: []Disk{{Mount: "/", Total: 100 << 30, Free: 1 << 30, Available: 1 << 30, Inodes: 10, InodesFree: 9}}}, "critical disk-full"},
		"small disk": {Facts{Disks: []Disk{{Mount: "/boot", Total: 20 << 20, Free: 19 << 20, Available: 19 << 20}}}, ""},
		"no inodes":  {Facts{Disks: []Disk{{Mount: "/", Total: 100 << 30, Free: 60 << 30, Available: 60 << 30, Inodes: 100, InodesFree: 1}}}, "critical inodes"},
		"dead NFS":   {Facts{Disks: []Disk{{Mount: "/efs", Hung: true}}}, "critical mount-hung"},
		"hung":       {Facts{Docker: Docker{Asked: true, Hung: true, Why: "x"}, ECS: ECS{Asked: true, Configured: true, Why: "refused"}}, "critical docker-hung, critical agent-down"},
		"no docker":  {Facts{Docker: Docker{Asked: true, Absent: true, Why: "x"}}, ""},
		"down":       {Facts{Docker: Docker{Asked: true, Why: "refused"}}, "critical docker-down"},
		"bad file":   {Facts{Docker: Docker{Asked: true, Up: true, BadConfig: true}}, "critical docker-config"},
		"clock":      {Facts{Clock: Clock{HasOffset: true, Offset: -10 * time.Minute, From: "x"}}, "critical clock"},
		"clock some": {Facts{Clock: Clock{HasOffset: true, Offset: 20 * time.Second, From: "x"}}, "warning clock"},
		"clock free": {Facts{Clock: Clock{Checked: true}}, "warning clock"},
		"memory":     {Facts{Memory: Memory{Total: 1 << 30, Available: 1 << 20}, Stats: []Container{{Name: "a", Memory: 5}}}, "critical memory"},
		"oom":        {Facts{Containers: []Container{{Name: "a", OOMKilled: true}, {Name: "b", Restarts: 9}, {Name: "c", Health: "unhealthy"}}}, "critical oom-container, warning restarts, warning unhealthy"},
		"imds":       {Facts{IMDSAsked: true, IMDS: Probe{Error: "no answer"}}, "warning imds"},
		"role":       {Facts{RoleInfo: `{"Code":"AssumeRoleUnauthorizedAccess"}`}, "critical role"},
		"endpoints":  {Facts{Endpoints: []Probe{{Name: "a", Error: "x"}, {Name: "b", DNS: 2 * time.Second}}}, "warning endpoints, warning endpoints-slow"},
		"books":      {Facts{Fairlead: Fairlead{Asked: true, Up: true, Lost: 3, Imbalance: 1, Full: "x"}}, "critical log-loss, critical spool-full, warning fairlead-books"},
		"units":      {Facts{FailedUnits: []string{"docker.service"}}, "critical failed-units"},
		"ecs.config": {Facts{Config: []string{"x"}}, "warning ecs-config"},
	} {
		if got := rules(&c.f); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A full disk's finding names what is on that disk.
func TestWhoFills(t *testing.T) {
	f := Facts{
		Disks:      []Disk{{Mount: "/", Total: 100 << 30, Free: 50 << 30, Available: 50 << 30}, {Mount: "/var/lib/docker", Total: 100 << 30, Free: 1 << 30, Available: 1 << 30}},
		Uses:       []Use{{"home", "/home", 9 << 30, false}, {ContainerLogs, "/var/lib/docker/containers", 8 << 30, false}},
		Containers: []Container{{Name: "web", LogBytes: 7 << 30}},
	}
	list := f.Findings()
	if len(list) != 1 || len(list[0].Evidence) != 3 || !strings.Contains(list[0].Evidence[1], "container logs") || !strings.Contains(list[0].Evidence[2], "web") {
		t.Errorf("%+v", list)
	}
	f.Disks[0], f.Disks[1] = Disk{Mount: "/", Total: 100 << 30, Free: 1 << 30, Available: 1 << 30}, Disk{Mount: "/var/lib/docker", Total: 100 << 30, Free: 50 << 30, Available: 50 << 30}
	if list = f.Findings(); len(list) != 1 || len(list[0].Evidence) != 2 || !strings.Contains(list[0].Evidence[1], "home") {
		t.Errorf("%+v", list)
	}
}

func TestLines(t *testing.T) {
	for line, want := range map[string]string{
		"level=error msg=\"NoCredentialProviders: no valid providers in chain\"":                                       "critical agent-credentials",
		"level=error msg=\"ClientException: Cluster not found.\"":                                                      "critical no-cluster",
		"CannotPullContainerError: Error response from daemon: toomanyrequests: You have reached your pull rate limit": "critical pull-limit, critical pull",
		"Error response: no basic auth credentials":                                                                    "critical pull-auth",
		"api error ExpiredToken: The security token included in the request is expired":                                "critical expired-credentials",
		"write /x: no space left on device":                                                                            "critical disk-full",
		"level=warning msg=\"[error] fluent#send: can't send logs, client is reconnecting\" fluent":                    "warning log-fluentd",
		"level=info msg=\"all is well\"":                                                                               "",
		"level=info msg=\"Suppressed something\"":                                                                      "",
		"GET /ExpiredToken": "",
		"Out of memory: Killed process 1 in an agent log": "",
	} {
		var f Facts
		f.Watch("ecs_agent_logs/ecs-agent.log", 10, []byte("before\n"+line+"\nafter\n"))
		if got := rules(&f); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
		for _, x := range f.Findings() {
			if !strings.Contains(x.Evidence[0], "line 12: "+line[:20]) {
				t.Errorf("%s: %s", line, x.Evidence)
			}
		}
	}
	var f Facts
	f.Watch("kernel/dmesg.current", 0, []byte("[1.0] Out of memory: Killed process 12 (java)\n"))
	f.Watch("container_logs/x.log", 0, []byte("no space left on device\n"))
	if got := rules(&f); got != "critical oom" {
		t.Error(got)
	}
}

func TestHours(t *testing.T) {
	var f Facts
	f.Watch("ecs_agent_logs/a", 0, []byte("level=info time=2026-11-21T09:15:36Z msg=x\nlevel=error time=2026-11-21T09:59:36Z msg=x\n2026-11-21T10:00:00+0000 h dockerd: x\nThe T\nno time\n"))
	hours, most := f.Hours()
	if len(hours) != 2 || most != 2 || hours[0].Errors != 1 || hours[1].At.Hour() != 10 {
		t.Errorf("%v, %d", hours, most)
	}
}
