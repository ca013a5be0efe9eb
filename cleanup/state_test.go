package cleanup

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/cleanup/plan"
)

func TestMemoryOnDisk(t *testing.T) {
	s := stateOf(t.TempDir())
	if m, err := s.load(); err != nil || m.Volumes != nil {
		t.Fatalf("of nothing: %+v, %v", m, err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m := plan.Memory{Volumes: map[string]plan.Sighting{"v": {First: time.Unix(5, 0).UTC(), Age: time.Hour, Looks: 3, CreatedAt: "x", Boot: "b", Up: 7}}}
	if err := s.save(m); err != nil {
		t.Fatal(err)
	}
	if got, err := s.load(); err != nil || got.Volumes["v"] != m.Volumes["v"] {
		t.Errorf("%+v, %v", got, err)
	}
	// An image of this host starts as another one. What it must not touch it still knows.
	m.Shared, m.Left = map[string]time.Time{"s": time.Unix(5, 0).UTC()}, map[string]time.Time{"l": time.Unix(5, 0).UTC()}
	if err := s.save(m); err != nil {
		t.Fatal(err)
	}
	other := s
	other.machine = "another"
	if got, err := other.load(); err != nil || len(got.Volumes) > 0 || len(got.Shared) != 1 || len(got.Left) != 1 {
		t.Errorf("on another host: %+v, %v", got, err)
	}
	// What cannot be understood is as nothing, and says so.
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"volumes":7}`} {
		if err := os.WriteFile(s.path("seen.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.load(); err == nil || got.Volumes != nil {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if left, err := filepath.Glob(s.path(".seen-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	s := stateOf(dir)
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_800_000_000, 0).UTC()
	for _, r := range []Removal{{Time: at, Kind: plan.KindVolume, ID: "a", Bytes: 5, Reason: "why"}, {Time: at, Kind: plan.KindVolume, ID: "b", Reason: "why"},
		{Time: at, Kind: plan.KindVolume, ID: "b", Reason: "why", Failed: "in use"}} {
		if err := s.record(r); err != nil {
			t.Fatal(err)
		}
	}
	// A crash in the middle of a line, after a disk has lost what it had taken.
	if err := os.WriteFile(s.path("history.jsonl.1"), make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path("history.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"20`); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), s.record(Removal{Time: at, Kind: plan.KindImage, ID: "c", Reason: "why"})); err != nil {
		t.Fatal(err)
	}
	got, err := History(dir)
	if err != nil || len(got) != 3 || got[0].ID != "a" || got[0].Failed != "" || got[1].Failed != "in use" || got[2].ID != "c" {
		t.Errorf("%+v, %v", got, err)
	}
}

// One pass at a time, whoever does it.
func TestLock(t *testing.T) {
	s := stateOf(t.TempDir())
	unlock, err := s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	if _, err := s.lock(ctx); err == nil || !strings.Contains(err.Error(), "another clean-up holds") {
		t.Errorf("a second one: %v", err)
	}
	unlock()
	again, err := s.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// Each removal is told: to the history before, to Fluentd after.
func TestRecorded(t *testing.T) {
	dir := t.TempDir()
	var said map[string]any
	c := New(DefaultConfig(), Host{StateDir: dir, Say: func(_ context.Context, tag string, _ time.Time, record map[string]any) error {
		if tag != "fairlead.cleanup" {
			t.Errorf("tag %s", tag)
		}
		said = record
		return nil
	}}, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	defer c.Close()
	if err := os.MkdirAll(c.state.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	item := &plan.Item{Kind: plan.KindContainer, ID: "abc", Name: "web", Reason: "it failed", Bytes: 9, Step: plan.StepContainers, Family: "web"}
	err := c.recorded(t.Context(), item, func() error {
		if h, err := History(dir); err != nil || len(h) != 1 || h[0].ID != "abc" {
			t.Errorf("before the removal the history is %+v, %v", h, err)
		}
		return nil
	})
	if err != nil || said["log"] != "removed container abc: it failed" || said["bytes"] != int64(9) || said["family"] != "web" || said["step"] != "containers" {
		t.Errorf("%v, said %v", err, said)
	}
}

// All series are there before the first pass.
func TestMetricsFromTheStart(t *testing.T) {
	r := prometheus.NewRegistry()
	c := New(DefaultConfig(), Host{StateDir: t.TempDir()}, slog.New(slog.NewTextHandler(io.Discard, nil)), r)
	defer c.Close()
	for name, n := range map[string]int{"fairlead_cleanup_runs_total": 1, "fairlead_cleanup_errors_total": 1, "fairlead_cleanup_removed_total": len(plan.Kinds),
		"fairlead_cleanup_reclaimed_bytes_total": len(plan.Kinds), "fairlead_cleanup_candidates": len(plan.Kinds)} {
		if got, err := testutil.GatherAndCount(r, name); err != nil || got != n {
			t.Errorf("%s: %d series, %v, want %d", name, got, err, n)
		}
	}
	if got, err := testutil.GatherAndCount(r, "fairlead_disk_seconds_until_full"); err != nil || got < 1 {
		t.Errorf("%d disks, %v", got, err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
