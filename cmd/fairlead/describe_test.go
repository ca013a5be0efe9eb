package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/internal/document"
)

func TestDescribe(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	s := agent.Status{
		Build: agent.Build{Version: "1.0.0"}, PID: 42, Started: now.Add(-90 * time.Minute),
		Config: agent.ConfigStatus{
			Files: []string{"/etc/fairlead/fairlead.yaml"}, Variables: 1, Hash: "abc", Refused: "the configuration is not valid",
			Findings: []document.Finding{{File: "x.yaml", Line: 1, Column: 2, Severity: document.Error, Text: "a: unknown key"}},
		},
		Ready: agent.Verdict{Reasons: []agent.Reason{{Code: agent.SpoolFull, Text: "the spool takes no more: no"}}},
		Forwarder: &forwarder.Status{
			Sources: []forwarder.SourceStatus{
				{Tag: "docker.b", Path: "/b", Delivered: true, Lines: 5, Events: 5, ReadBytes: 2048, Languages: []string{"java", "ruby"}},
				{Tag: "docker.a", Path: "/a", LagBytes: 3 << 20, PendingBytes: 100, Lines: 1000, Events: 900, ReadBytes: 1 << 20, Languages: []string{"ruby"}},
			},
			Host:     []forwarder.HostStatus{{Log: "docker", From: "journal docker.service"}, {Log: "containerd"}, {Log: "ecs-agent", From: "file /var/log/ecs/ecs-agent.log"}},
			Journal:  forwarder.JournalStatus{Units: []string{"docker.service"}, State: "reading", Entries: 7},
			Excluded: []forwarder.Excluded{{Name: "e", Reason: "log driver awslogs"}, {Name: "d", Reason: "x"}, {Name: "c", Reason: "x"}, {Name: "b", Reason: "x"}, {Name: "a", Reason: "x"}},
			Spool:    forwarder.SpoolStatus{PendingEvents: 10, PendingFrames: 2, PendingBytes: 4096, CapacityBytes: 1 << 30, OldestSeconds: 1.5, Segments: 1, Full: "no"},
			Forward:  fluent.Status{Address: "f:24224", Remote: "10.0.0.1:24224", Connected: now.Add(-time.Minute), LastAck: now.Add(-200 * time.Millisecond), InFlight: 2},
			Ledger:   forwarder.Ledger{Read: 905, Recovered: 5, Acked: 899, Building: 1, Spooled: 10},
		},
	}
	before := &former{at: now.Add(-2 * time.Second), status: agent.Status{Forwarder: &forwarder.Status{
		Sources: []forwarder.SourceStatus{{Lines: 5}, {Lines: 600, ReadBytes: 1 << 20}}, Ledger: forwarder.Ledger{Acked: 499},
	}}}
	want := `
fairlead  1.0.0, pid 42, up 1h30m0s, NOT READY: the spool takes no more: no
config    /etc/fairlead/fairlead.yaml, 1 from the environment (abc)
          REFUSED since: the configuration is not valid
          x.yaml:1:2: error: a: unknown key
forward   f:24224 (10.0.0.1:24224), connected 1m0s, 2 frames in flight, last ack 200ms ago
host      docker from journal docker.service, ecs-agent from file /var/log/ecs/ecs-agent.log
journal   docker.service: reading, 7 entries
spool     10 events in 2 frames, 4.0 KiB of 1.0 GiB, 1 segments, oldest 1.5 s, TAKES NO MORE: no
books     read 905 + received 0 + recovered 5 = acked 899 + building 1 + spooled 10 + lost 0 + set aside 0: balanced
flow      1005 lines, 1.0 MiB read, lag 3.0 MiB in 2 sources; now 200 lines/s, 1.0 KiB/s, 200 events/s acked
excluded  e (log driver awslogs); a, b, c and 1 more (x)
reports   java in 1, ruby in 2 sources

TAG       LAG      PENDING  LINES  EVENTS  DELIVERED  PATH
docker.a  3.0 MiB  100 B    1000   900     no         /a
docker.b  0 B      0 B      5      5       all        /b
`
	if got := describe(s, before, now); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got:\n%s\nwant:%s", got, want)
	}

	s.Forwarder.Ledger.Imbalance = 3
	s.Forwarder.Forward = fluent.Status{Failures: 7, Since: now.Add(-time.Minute), LastError: "refused"}
	got := describe(s, nil, now)
	for _, want := range []string{"OUT OF BALANCE by 3", "not connected, failing for 1m0s (7 attempts): refused"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}
