package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"spool.max_bytes":  func(c *Config) { c.MaxBytes = 1 },
		"spool.min_free":   func(c *Config) { c.MinFree = -1 },
		"spool.when_full":  func(c *Config) { c.WhenFull = "explode" },
		"spool.sync_after": func(c *Config) { c.SyncAfter = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want+": ") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestOpenIsExclusive(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, testConfig(dir), nil)
	_, err := Open(testConfig(dir), quiet(), nil)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "process") {
		t.Fatalf("second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second Close: %v", err)
	}
	opened(t, testConfig(dir), nil)
}

func TestOpenCannotWrite(t *testing.T) {
	parent := t.TempDir()
	plain := filepath.Join(parent, "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(plain, "spool")
	_, err := Open(testConfig(dir), quiet(), nil)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "spool.dir") {
		t.Fatalf("err %v", err)
	}
	d := &brokenDisk{createErr: syscall.EROFS}
	cfg := testConfig(filepath.Join(parent, "ro"))
	o := defaults(cfg)
	o.disk = d
	if _, err := open(cfg, quiet(), nil, o); !errors.Is(err, syscall.EROFS) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("err %v", err)
	}
	opened(t, cfg, nil) // the lock is free again
	if _, err := Open(Config{}, quiet(), nil); err == nil {
		t.Fatal("no directory named")
	}
}

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "spool")
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("a", 1))
	drain(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, fi.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestEmptyLivesLeaveNothing restarts without acks many times, as a process that crashes in a loop.
func TestEmptyLivesLeaveNothing(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("a", 1, "k", "v"))
	for range 20 {
		kill(s)
		s = opened(t, testConfig(dir), nil)
	}
	if n := len(segments(t, dir, segmentSuffix)); n != 2 {
		t.Fatalf("%d segments", n)
	}
	if got := string(s.Marks()["k"]); got != "v" {
		t.Fatalf("mark %q", got)
	}
	equal(t, drain(t, s), []string{"a"})
}

func TestSequenceNumbersUsedUp(t *testing.T) {
	dir := memoryDir(t)
	if err := os.WriteFile(filepath.Join(dir, segmentName(0xfffffffe00000000)), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testConfig(dir), quiet(), nil); err == nil || !strings.Contains(err.Error(), "sequence number") {
		t.Fatalf("err %v", err)
	}
}

func TestSyncTo(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := &brokenDisk{}
	s := opened(t, testConfig(t.TempDir()), func(o *options) { o.disk = d })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var g errgroup.Group
	g.Go(func() error { return s.Run(ctx) })
	var seqs sync.Map
	for i := range 20 {
		g.Go(func() error {
			r := record(strings.Repeat("x", i), 1)
			if _, err := s.Append([]*Record{r}); err != nil {
				return err
			}
			seqs.Store(r.Seq, true)
			return s.SyncTo(ctx, r.Seq)
		})
	}
	deadline := time.Now().Add(time.Minute)
	for s.Stats().SyncedSeq < 1<<32+20 {
		if time.Now().After(deadline) {
			t.Fatalf("not synced: %+v", s.Stats())
		}
		time.Sleep(time.Millisecond)
	}
	if err := s.SyncTo(ctx, 1<<32+21); err == nil {
		t.Fatal("a record that does not exist is synced")
	}

	// What could not be synced is not called safe later, until it is acked; what comes after it can be.
	d.syncErr = syscall.EIO
	r := record("bad", 1)
	mustAppend(t, s, r)
	if err := s.SyncTo(ctx, r.Seq); !errors.Is(err, syscall.EIO) {
		t.Fatalf("err %v", err)
	}
	d.syncErr = nil
	if err := s.SyncTo(ctx, r.Seq); !errors.Is(err, syscall.EIO) {
		t.Fatalf("err %v", err)
	}
	drain(t, s)
	if err := s.SyncTo(ctx, r.Seq); err != nil {
		t.Fatal(err)
	}
	r = record("good", 1)
	mustAppend(t, s, r)
	if err := s.SyncTo(ctx, r.Seq); err != nil {
		t.Fatal(err)
	}
	done, stop := context.WithCancel(ctx)
	stop()
	mustAppend(t, s, record("more", 1))
	if err := s.SyncTo(done, s.Stats().LastSeq); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSyncAfter steps the syncer by a clock: what is acked in time is never synced, what stays is.
func TestSyncAfter(t *testing.T) {
	clock := time.Unix(1e9, 0)
	d := &brokenDisk{}
	s := opened(t, testConfig(memoryDir(t)), func(o *options) {
		o.disk, o.now = d, func() time.Time { return clock }
	})
	before := d.syncs
	for range 100 {
		mustAppend(t, s, record("acked", 1))
		drain(t, s)
		clock = clock.Add(time.Second)
		s.step(clock)
	}
	if d.syncs != before {
		t.Fatalf("%d syncs though all was acked", d.syncs-before)
	}
	mustAppend(t, s, record("stays", 1))
	seq := s.Stats().LastSeq
	for range 4 {
		s.step(clock)
		clock = clock.Add(time.Second)
	}
	if d.syncs != before {
		t.Fatal("synced early")
	}
	for range 3 {
		clock = clock.Add(time.Second)
		s.step(clock)
	}
	if got := s.Stats().SyncedSeq; got != seq || d.syncs != before+1 {
		t.Fatalf("synced to %x with %d syncs, want %x", got, d.syncs-before, seq)
	}
	for range 20 {
		clock = clock.Add(time.Second)
		s.step(clock)
	}
	if d.syncs != before+1 {
		t.Fatalf("%d syncs of the same", d.syncs-before)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	if n, err := testutil.GatherAndCount(reg); err != nil || n < 8 {
		t.Fatalf("%d series before Open, %v", n, err)
	}
	s, err := Open(testConfig(t.TempDir()), quiet(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer kill(s)
	mustAppend(t, s, record("abc", 2))
	want := `
# HELP fairlead_spool_pending_frames Frames that are spooled and not yet acknowledged.
# TYPE fairlead_spool_pending_frames gauge
fairlead_spool_pending_frames 1
# HELP fairlead_spool_capacity_bytes Bytes the spool may take (spool.max_bytes).
# TYPE fairlead_spool_capacity_bytes gauge
fairlead_spool_capacity_bytes 1.073741824e+09
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "fairlead_spool_pending_frames", "fairlead_spool_capacity_bytes"); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%v, %v", problems, err)
	}
}
