package spool

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/internal/size"
)

func TestFullSpoolWaits(t *testing.T) {
	cfg := testConfig(memoryDir(t))
	cfg.MaxBytes = 64 * size.KiB
	s := opened(t, cfg, func(o *options) { o.segmentBytes = 8 << 10 })
	body := strings.Repeat("x", 1000)
	n := 0
	for {
		k, err := s.Append([]*Record{record(body, 1), record(body, 1)})
		n += k
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 50 || n > 64 {
		t.Fatalf("full after %d frames", n)
	}
	if st := s.Stats(); st.Full == "" || st.PendingFrames != int64(n) {
		t.Fatalf("stats: %+v", st)
	}
	if got := len(drain(t, s)); got != n {
		t.Fatalf("%d frames", got)
	}
	s.step(s.now())
	mustAppend(t, s, record(body, 1))
	if st := s.Stats(); st.Full != "" || st.FullFor <= 0 || st.Bytes > 20<<10 {
		t.Fatalf("stats: %+v", st)
	}
	equal(t, drain(t, s), []string{body})

	huge := strings.Repeat("h", 100<<10)
	mustAppend(t, s, record(huge, 1)) // larger than a segment, and than the spool
	if _, err := s.Append([]*Record{record(body, 1)}); !errors.Is(err, ErrFull) {
		t.Fatalf("err %v", err)
	}
	equal(t, drain(t, s), []string{huge})
	balanced(t, s)
}

func TestDropOldest(t *testing.T) {
	cfg := testConfig(memoryDir(t))
	cfg.MaxBytes, cfg.WhenFull = 64*size.KiB, WhenFullDropOldest
	s := opened(t, cfg, func(o *options) { o.segmentBytes = 8 << 10 })
	pad := strings.Repeat("x", 1000)
	for i := range 500 {
		mustAppend(t, s, record(fmt.Sprintf("%04d%s", i, pad), 3, "k", fmt.Sprint(i)))
	}
	balanced(t, s)
	st := s.Stats()
	if st.Dropped != 3*(500-st.PendingFrames) || st.PendingFrames < 40 || st.Bytes > 64<<10 {
		t.Fatalf("stats: %+v", st)
	}
	dropped := 500 - int(st.PendingFrames)

	// Frames on their way are not dropped: the writer waits.
	frames, err := s.Reader().Next(nil, 1, 1)
	if err != nil || len(frames) != 1 || body(t, frames[0]) != fmt.Sprintf("%04d%s", dropped, pad) {
		t.Fatalf("%v, %v", frames, err)
	}
	for i := 0; ; i++ {
		if _, err := s.Append([]*Record{record(pad, 3)}); errors.Is(err, ErrFull) {
			break
		} else if err != nil || i > 100 {
			t.Fatalf("%d frames more, err %v", i, err)
		}
	}
	if got := body(t, frames[0]); got != fmt.Sprintf("%04d%s", dropped, pad) {
		t.Fatalf("frame on its way is now %q", got)
	}
	s.Reader().Rewind()
	before := s.Stats()
	mustAppend(t, s, record(pad, 3))
	mustAppend(t, s, record("last", 3))
	if after := s.Stats(); after.Dropped <= before.Dropped || after.AckedSeq <= before.AckedSeq {
		t.Fatalf("nothing dropped: %+v", after)
	}
	balanced(t, s)
	kill(s)

	s = opened(t, cfg, nil)
	got := drain(t, s)
	if got[len(got)-1] != "last" || got[0] == fmt.Sprintf("%04d%s", dropped, pad) {
		t.Fatalf("first %.10q, last %.10q", got[0], got[len(got)-1])
	}
}

func TestMinFree(t *testing.T) {
	d := &brokenDisk{freeBytes: 1 << 20}
	cfg := testConfig(memoryDir(t))
	cfg.MinFree = size.MiB
	s := opened(t, cfg, func(o *options) { o.disk = d })
	if _, err := s.Append([]*Record{record("a", 1)}); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "min_free") {
		t.Fatalf("err %v", err)
	}
	d.freeBytes = 2 << 20
	s.space.tried = false
	mustAppend(t, s, record("a", 1))
	equal(t, drain(t, s), []string{"a"})
}

// TestOpenOnFullDisk opens a spool when there is no room for the base: what is in it can be sent, and that makes room.
func TestOpenOnFullDisk(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("a", 1, "k", "a"))
	kill(s)
	d := &brokenDisk{createErr: syscall.ENOSPC}
	s = opened(t, testConfig(dir), func(o *options) { o.disk = d })
	if _, err := s.Append([]*Record{record("b", 1)}); !errors.Is(err, ErrFull) {
		t.Fatalf("err %v", err)
	}
	equal(t, drain(t, s), []string{"a"})
	s.step(s.now())
	kill(s)
	s = opened(t, testConfig(dir), func(o *options) { o.disk = d })
	d.createErr = nil
	mustAppend(t, s, record("b", 1, "b", "b"))
	equal(t, drain(t, s), []string{"b"})
	kill(s)
	s = opened(t, testConfig(dir), nil)
	if m := s.Marks(); string(m["k"]) != "a" || string(m["b"]) != "b" {
		t.Fatalf("marks %q", m)
	}
}
