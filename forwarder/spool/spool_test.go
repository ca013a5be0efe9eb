package spool

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestAppendThenRead(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 200 << 10 })
	var want []string
	for i := range 300 {
		b := fmt.Sprintf("frame %d ", i)
		switch i % 10 {
		case 3:
			b += strings.Repeat("x", 40<<10) // handed out by file
		case 7:
			b += strings.Repeat("y", 5000)
		}
		recs := []*Record{record(b, i, "k", fmt.Sprint(i), fmt.Sprintf("k%d", i%7), b[:8])}
		if i%11 == 0 {
			recs = append(recs, inputRecord("input"))
		}
		mustAppend(t, s, recs...)
		want = append(want, b)
	}
	if n := len(segments(t, dir, segmentSuffix)); n < 5 {
		t.Fatalf("only %d segments", n)
	}
	balanced(t, s)
	equal(t, drain(t, s), want)
	balanced(t, s)
	if st := s.Stats(); st.PendingFrames != 0 || st.PendingBytes != 0 || st.Oldest != 0 {
		t.Fatalf("drained: %+v", st)
	}
	s.SetInputFloor(0)
	s.step(s.now())
	s.step(s.now())
	if n := len(segments(t, dir, segmentSuffix)); n != 1 {
		t.Fatalf("%d segments after all was acked", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = opened(t, testConfig(dir), nil)
	if m := s.Marks(); string(m["k"]) != "299" || len(m) != 8 {
		t.Fatalf("marks after a restart: %q", m)
	}
	if got := drain(t, s); len(got) != 0 {
		t.Fatalf("acked frames came back: %q", got)
	}
}

func TestKilledLifeIsRead(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for life := range 5 {
		s := opened(t, testConfig(dir), nil)
		if life > 0 && string(s.Marks()["life"]) != fmt.Sprint(life-1) {
			t.Fatalf("life %d: marks %q", life, s.Marks())
		}
		if got := s.Stats().Recovered; got != int64(2*len(want)) {
			t.Fatalf("life %d: %d events recovered, want %d", life, got, 2*len(want))
		}
		b := fmt.Sprintf("life %d", life)
		mustAppend(t, s, record(b, 2, "life", fmt.Sprint(life)))
		want = append(want, b)
		kill(s)
	}
	s := opened(t, testConfig(dir), nil)
	equal(t, drain(t, s), want)
	balanced(t, s)
}

// TestMemoryDoesNotGrow spools many small frames that nobody takes, then opens them again: nothing is kept per record.
func TestMemoryDoesNotGrow(t *testing.T) {
	dir := memoryDir(t)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	s := opened(t, testConfig(dir), nil)
	var recs []*Record
	for range 64 {
		recs = append(recs, record(strings.Repeat("x", 256), 3, "k", "v"))
	}
	mustAppend(t, s, recs...)
	before := heap()
	for range 2000 {
		mustAppend(t, s, recs...)
	}
	if grown := heap() - before; grown > 64<<10 {
		t.Fatalf("%d bytes more after 128000 records", grown)
	}
	kill(s)
	s = opened(t, testConfig(dir), nil)
	if grown := heap() - before; grown > 64<<10 {
		t.Fatalf("%d bytes more after recovery", grown)
	}
	if got := s.Stats().PendingFrames; got != 2001*64 {
		t.Fatalf("%d frames", got)
	}
	runtime.KeepAlive(s)
}
