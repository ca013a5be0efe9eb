package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// manySegments is a spool with segments of a former life and of this one, synced and not, and the frames in it.
func manySegments(t *testing.T, d disk) (*Spool, Config, []string) {
	t.Helper()
	cfg := testConfig(filepath.Join(memoryDir(t), "spool"))
	small := func(o *options) { o.disk, o.segmentBytes = d, 400 }
	var want []string
	var s *Spool
	for life := range 2 {
		s = opened(t, cfg, small)
		for i := range 20 {
			b := fmt.Sprintf("%d-%d", life, i)
			mustAppend(t, s, record(b, 1, "k", b))
			want = append(want, b)
			if i%7 == 0 {
				s.step(s.now())
			}
		}
		if life == 0 {
			kill(s)
		}
	}
	return s, cfg, want
}

// TestRemovedDirectoryIsRestored: every un-acked frame is in the new directory, for a life to come as well.
func TestRemovedDirectoryIsRestored(t *testing.T) {
	for _, again := range []bool{false, true} {
		for _, quiet := range []bool{false, true} {
			t.Run(fmt.Sprintf("recreated=%v/quiet=%v", again, quiet), func(t *testing.T) {
				s, cfg, want := manySegments(t, osDisk{})
				if err := os.RemoveAll(cfg.Dir); err != nil {
					t.Fatal(err)
				}
				if again {
					if err := os.Mkdir(cfg.Dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
				s.step(s.now())
				if quiet {
					s.restoreQuiet()
				} else {
					mustAppend(t, s, record("after", 1, "k", "after"))
					want = append(want, "after")
				}
				if st := s.Stats(); st.Lost != 0 || st.Full != "" {
					t.Fatalf("stats: %+v", st)
				}
				balanced(t, s)
				kill(s)
				s = opened(t, cfg, nil)
				equal(t, drain(t, s), want)
				if got := string(s.Marks()["k"]); got != want[len(want)-1] {
					t.Fatalf("mark %q, want %q", got, want[len(want)-1])
				}
			})
		}
	}
}

// TestRemovedDirectoryIsSentFromHandles: a disk on which nothing can be made again stops neither the sender nor, once it can, the
// writer; and of what is acked nothing is written again.
func TestRemovedDirectoryIsSentFromHandles(t *testing.T) {
	d := &brokenDisk{}
	s, cfg, want := manySegments(t, d)
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	d.createErr = syscall.EROFS
	s.step(s.now())
	_, err := s.Append([]*Record{record("after", 1)})
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(s.Stats().Full, "read-only") {
		t.Fatalf("err %v, full %q", err, s.Stats().Full)
	}
	equal(t, drain(t, s), want)
	balanced(t, s)
	d.createErr = nil
	mustAppend(t, s, record("after", 1))
	if n := len(segments(t, cfg.Dir, segmentSuffix)); n > 2 {
		t.Fatalf("%d segments were written again though all was acked", n)
	}
	if s.Stats().Full != "" {
		t.Fatalf("full: %q", s.Stats().Full)
	}
	kill(s)
	s = opened(t, cfg, nil)
	equal(t, drain(t, s), []string{"after"})
	if got := string(s.Marks()["k"]); got != "1-19" {
		t.Fatalf("mark %q", got)
	}
}

// TestOneSegmentRemoved: the names of single files are missed as well.
func TestOneSegmentRemoved(t *testing.T) {
	s, cfg, want := manySegments(t, osDisk{})
	for _, path := range segments(t, cfg.Dir, segmentSuffix)[1:4] {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	s.step(s.now())
	mustAppend(t, s, record("after", 1, "k", "after"))
	kill(s)
	s = opened(t, cfg, nil)
	equal(t, drain(t, s), append(want, "after"))
}

// TestRestoreDiesHalfway: what a killed restore left under temporary names is no segment and does not stay.
func TestRestoreDiesHalfway(t *testing.T) {
	s, cfg, want := manySegments(t, osDisk{})
	kill(s)
	tmp := segments(t, cfg.Dir, segmentSuffix)[2] + tempSuffix
	if err := os.WriteFile(tmp, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = opened(t, cfg, nil)
	equal(t, drain(t, s), want)
	if _, err := os.Stat(tmp); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("temporary file: %v", err)
	}
}
