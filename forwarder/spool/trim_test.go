package spool

import (
	"strings"
	"testing"
)

func TestTrim(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 4 << 20 })
	mustAppend(t, s, record(strings.Repeat("x", minSegmentBytes), 1))
	if n := s.Trim(); n != 0 {
		t.Fatalf("%d bytes would go that nobody has acked", n)
	}
	drain(t, s)
	if n := s.Trim(); n < minSegmentBytes {
		t.Fatalf("%d bytes can go", n)
	}
	mustAppend(t, s, record("next", 1))
	s.SetInputFloor(0)
	s.step(s.now())
	s.step(s.now())
	if n := len(segments(t, dir, segmentSuffix)); n != 1 {
		t.Fatalf("%d segments", n)
	}
	if got := drain(t, s); len(got) != 1 || got[0] != "next" {
		t.Fatalf("left is %q", got)
	}
	balanced(t, s)
}
