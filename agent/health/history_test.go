package health

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The forecast is what the clean-up says, and of nothing else.
func TestForecast(t *testing.T) {
	h := NewHistory()
	h.sample(HostState{At: time.Now(), Disks: []DiskState{{Mount: "/", SizeBytes: 2, AvailBytes: 1}, {Mount: "/data", SizeBytes: 2, AvailBytes: 1}}}, DockerState{},
		Around{UntilFull: map[string]time.Duration{"/": time.Hour}})
	s, _, _, _ := h.snapshot()
	if f := s.Disks[0].SecondsUntilFull; f == nil || *f != 3600 || s.Disks[1].SecondsUntilFull != nil {
		t.Errorf("%+v", s.Disks)
	}
}

// History stays an hour long.
func TestHistoryIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHistory()
		at := time.Unix(1_700_000_000, 0)
		n := rapid.IntRange(0, 3*samplesKept).Draw(t, "samples")
		for range n {
			at = at.Add(sampleEvery)
			free := rapid.Int64Range(0, 1<<40).Draw(t, "free")
			h.sample(HostState{At: at, MemoryBytes: 1, Disks: []DiskState{{Mount: "/", SizeBytes: 1 << 40, AvailBytes: free}}}, DockerState{Up: true}, Around{Flow: &Flow{Acked: free}})
			h.note(at, []Reason{{Code: []string{"a", "b"}[free%2], Text: "x"}})
		}
		_, notes, _, _ := h.snapshot()
		if len(notes) > maxNotes {
			t.Errorf("%d notes", len(notes))
		}
		for name := range h.series {
			if v := h.values(name); len(v) != min(len(v), samplesKept) {
				t.Errorf("%s has %d values", name, len(v))
			}
		}
	})
}

func TestJudgeHost(t *testing.T) {
	now := time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)
	hour, day := 3600.0, 86400.0
	type seen struct {
		h      HostState
		d      DockerState
		e      ECSState
		f      *Flow
		synced bool
		lagged time.Time
	}
	sound := func() seen {
		return seen{
			h: HostState{At: now, ClockSynced: true, Disks: []DiskState{{Mount: "/", Kind: "ext4", SizeBytes: 100, UsedBytes: 60, AvailBytes: 40}}},
			d: DockerState{Up: true, Probed: now}, e: ECSState{Up: true, Since: now.Add(-time.Hour)}, f: &Flow{CapacityBytes: 100, PendingBytes: 10}, synced: true,
		}
	}
	no := false
	for name, c := range map[string]struct {
		change func(*seen)
		want   string
	}{
		"sound":          {func(*seen) {}, ""},
		"full":           {func(s *seen) { s.h.Disks[0].AvailBytes = 3 }, DiskFilling},
		"full of inodes": {func(s *seen) { s.h.Disks[0].Files, s.h.Disks[0].FilesFree = 100, 2 }, DiskFilling},
		"full soon":      {func(s *seen) { s.h.Disks[0].SecondsUntilFull = &hour }, DiskFilling},
		"full some day":  {func(s *seen) { s.h.Disks[0].SecondsUntilFull = &day }, ""},
		"a copy on an empty one": {func(s *seen) {
			s.h.Disks[0].UsedBytes, s.h.Disks[0].AvailBytes, s.h.Disks[0].SecondsUntilFull = 30, 70, &hour
		}, ""},
		"somebody else's":     {func(s *seen) { s.h.Disks[0].AvailBytes, s.h.Disks[0].Kind = 0, "nfs4" }, ""},
		"read only":           {func(s *seen) { s.h.Disks[0].AvailBytes, s.h.Disks[0].ReadOnly = 0, true }, ""},
		"docker hung":         {func(s *seen) { s.d = DockerState{Probed: now, Hung: true, Since: now} }, DockerHung},
		"docker down":         {func(s *seen) { s.d = DockerState{Probed: now, Since: now} }, DockerDown},
		"no docker":           {func(s *seen) { s.d = DockerState{Probed: now, Missing: true} }, ""},
		"docker not asked":    {func(s *seen) { s.d = DockerState{} }, ""},
		"agent silent":        {func(s *seen) { s.e.Up = false }, AgentDisconnected},
		"agent restarts":      {func(s *seen) { s.e.Up, s.e.Since = false, now.Add(-time.Minute) }, ""},
		"agent not connected": {func(s *seen) { s.e.API = &no }, AgentDisconnected},
		"no agent":            {func(s *seen) { s.e = ECSState{Missing: true, Since: now.Add(-time.Hour)} }, ""},
		"clock wrong":         {func(s *seen) { s.h.ClockOffset = -0.7 }, ClockOff},
		"clock lost":          {func(s *seen) { s.h.ClockSynced = false }, ClockOff},
		"clock never kept":    {func(s *seen) { s.h.ClockSynced, s.synced = false, false }, ""},
		"late":                {func(s *seen) { s.f.OldestSeconds = 400 }, LogsLate},
		"behind for long":     {func(s *seen) { s.f.LagBytes, s.lagged = 1<<30, now.Add(-10*time.Minute) }, LogsLate},
		"behind for a moment": {func(s *seen) { s.f.LagBytes, s.lagged = 1<<30, now.Add(-time.Minute) }, ""},
		"spool filling":       {func(s *seen) { s.f.PendingBytes = 90 }, SpoolFilling},
		"nothing known":       {func(s *seen) { *s = seen{} }, ""},
	} {
		s := sound()
		c.change(&s)
		got := judgeHost(s.h, s.d, s.e, s.f, s.synced, s.lagged, now)
		switch {
		case c.want == "" && len(got) > 0, c.want != "" && (len(got) != 1 || got[0].Code != c.want):
			t.Errorf("%s: %v, want %q", name, got, c.want)
		case len(got) == 1 && (strings.Contains(got[0].Text, "%!") || got[0].Text == ""):
			t.Errorf("%s: %q", name, got[0].Text)
		}
	}
}

// A disk is as full as df says: what ext4 keeps for root is neither used nor free.
func TestUsed(t *testing.T) {
	for _, c := range []struct {
		d    DiskState
		want float64
	}{
		{DiskState{SizeBytes: 100, UsedBytes: 19, AvailBytes: 76}, 0.2}, {DiskState{SizeBytes: 100, UsedBytes: 98, AvailBytes: 0}, 1}, {DiskState{}, 0},
	} {
		if got := c.d.Used(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%+v: %g, want %g", c.d, got, c.want)
		}
	}
	for kind, want := range map[string]bool{"nfs": true, "nfs4": true, "fuse.sshfs": true, "fuse": true, "cifs": true, "ext4": false, "xfs": false, "fuseblk": true, "btrfs": false} {
		if got := (DiskState{Kind: kind}).Remote(); got != want {
			t.Errorf("%s: %v", kind, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for seconds, want := range map[float64]string{0.4: "0s", 59: "59s", 119: "1m59s", 5400: "90 min", 7260: "2 h 1 min", 3 * 86400: "3 days", 1e300: "11574 days"} {
		if got := Duration(seconds); got != want {
			t.Errorf("%g: %s, want %s", seconds, got, want)
		}
	}
}
