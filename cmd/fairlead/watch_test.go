package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/agent/health"
	"github.com/fairlead/fairlead/forwarder"
)

func TestDescribeHealth(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	soon := 5400.0
	s := agent.Status{Build: agent.Build{Version: "1.0.0"}, Started: now, Ready: agent.Verdict{OK: true}, Health: &health.Status{
		Host: health.HostState{At: now, CPUs: 2, Busy: 0.25, Load: [3]float64{0.5}, MemoryBytes: 4 << 30, AvailableBytes: 1 << 30, Disks: []health.DiskState{
			{Mount: "/", SizeBytes: 30 << 30, UsedBytes: 27 << 30, AvailBytes: 3 << 30, SecondsUntilFull: &soon}, {Mount: "/data", Error: "/data: it did not answer in time"},
		}},
		Docker: health.DockerState{Up: true, Probed: now, Version: "25.0.8", Milli: map[string]int64{"list": 14}, Volumes: map[string]int{"dangling": 3},
			Containers: []health.ContainerState{{State: "running"}, {State: "exited"}, {State: "running"}}},
		ECS: health.ECSState{Up: true, Since: now, Cluster: "prod", Version: "v1", Tasks: map[string]int{"RUNNING": 2},
			Stopped: []health.StoppedTask{{At: now.Add(-time.Minute), Family: "web", Revision: "7", Container: "nginx", Code: "1", Reason: "exit"}}},
	}}
	want := `
disks      / 90 % full, 3.0 GiB free of 30.0 GiB, FULL IN 90 min
           NO ANSWER of /data: it did not answer in time
machine    2 processors 25 % busy, load 0.50, 1.0 GiB of 4.0 GiB memory available
docker     up, 25.0.8, lists containers in 14 ms, 1 exited, 2 running, 3 dangling volumes
ecs agent  connected to prod, 2 tasks running, 0 pending, v1
           1m0s ago: task web:7 stopped: container nginx ended with exit code 1
`
	if got := describe(s, nil, now); !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s\nwant at the end:%s", got, want)
	}
	s.Health.Docker = health.DockerState{Probed: now, Since: now.Add(-time.Minute), Error: "ping: no"}
	s.Health.ECS = health.ECSState{Since: now.Add(-time.Minute), Error: "refused"}
	got := describe(s, nil, now)
	for _, want := range []string{"docker     DOWN for 1m0s: ping: no\n", "ecs agent  NO ANSWER for 1m0s: refused\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestOnScreen(t *testing.T) {
	got := onScreen("one\ntwo and more\nthree\nfour\n", size{8, 3})
	if want := home + "one" + restOfLine + "\r\ntwo and…" + restOfLine + "\r\nthree" + restOfLine + restBelow; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRates(t *testing.T) {
	now := time.Now()
	f := &former{}
	for i := range 100 {
		f.follow(agent.Status{Forwarder: &forwarder.Status{Ledger: forwarder.Ledger{Acked: int64(i * i)}}}, now.Add(time.Duration(i)*time.Second))
	}
	if len(f.rates) != keptRates || f.rates[keptRates-1] != 99*99-98*98 {
		t.Errorf("%v", f.rates)
	}
	if got := spark([]float64{0, 1, 2, 7}); got != "▁▂▃█" {
		t.Errorf("%s", got)
	}
	if got := spark([]float64{0, 0}); got != "▁▁" {
		t.Errorf("%s", got)
	}
}
