package spool

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// sameFirst tells frames of a kind by their first byte.
func sameFirst(head, other []byte) bool { return head[0] == other[0] }

func mustLater(t *testing.T, s *Spool, head uint64) Frame {
	t.Helper()
	f, ok, err := s.Reader().Later(head, sameFirst)
	if err != nil || !ok {
		t.Fatalf("no later frame: %v, %v", ok, err)
	}
	return f
}

func TestLater(t *testing.T) {
	for _, limit := range []int64{200, 1 << 20} {
		dir := memoryDir(t)
		s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = limit })
		large := strings.Repeat("l", 40<<10)
		mustAppend(t, s, record("a0", 1), record("b1", 2), record("a2"+large, 3), record("b3", 4), inputRecord("a"), record("a4", 5), record("b5", 6))
		head := next(t, s, 1)[0]
		if _, ok, _ := s.Reader().Later(head.Seq+1, sameFirst); ok {
			t.Fatal("a later frame than one that is not the first")
		}
		s.Reader().Rewind()
		var got []string
		for range 3 {
			got = append(got, body(t, mustLater(t, s, head.Seq))[:2])
		}
		equal(t, got, []string{"a2", "a4", "a2"})

		a4 := mustLater(t, s, head.Seq)
		if n, err := s.AckAlone(a4.Seq); n != 5 || err != nil {
			t.Fatalf("%d events, %v", n, err)
		}
		if n, err := s.AckAlone(a4.Seq); n != 0 || err != nil {
			t.Fatalf("again: %d events, %v", n, err)
		}
		if _, err := s.AckAlone(head.Seq); err == nil {
			t.Fatal("ack of a frame that was not given alone")
		}
		balanced(t, s)
		if st := s.Stats(); st.PendingEvents != 16 || st.Acked != 5 || st.AckedSeq >= head.Seq {
			t.Fatalf("stats: %+v", st)
		}
		s.Reader().Rewind()
		if err := s.SetAside(next(t, s, 1)[0].Seq); err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, b := range drain(t, s) {
			got = append(got, b[:2])
		}
		equal(t, got, []string{"b1", "a2", "b3", "b5"})
		balanced(t, s)
		if st := s.Stats(); st.PendingFrames != 0 || st.SetAside != 1 || st.Acked != 20 || len(s.reader.alone) != 0 {
			t.Fatalf("stats: %+v, alone %v", st, s.reader.alone)
		}
		kill(s)
	}
}

// TestAckAloneOfTheLast: with nothing else left the cursor passes it, so that it does not come again after a restart.
func TestAckAloneOfTheLast(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("a0", 1), record("a1", 1))
	head := next(t, s, 2)[0] // the later one was handed out before
	s.Reader().Rewind()
	if _, err := s.AckAlone(mustLater(t, s, head.Seq).Seq); err != nil {
		t.Fatal(err)
	}
	s.Reader().Rewind()
	if got := next(t, s, 1)[0]; got.Seq != head.Seq {
		t.Fatalf("frame %x", got.Seq)
	}
	if _, err := s.Ack(head.Seq); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Reader().Later(head.Seq, sameFirst); ok || err != nil {
		t.Fatal("later than a frame that was acked", err)
	}
	balanced(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, testConfig(dir), nil)
	equal(t, drain(t, s), nil)
	mustAppend(t, s, record("new", 1))
	equal(t, drain(t, s), []string{"new"})
}

// TestLaterGoesOnWhereItEnded: a frame that comes after the look had come to the end is found, and what is not like the head is
// not read again.
func TestLaterGoesOnWhereItEnded(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), nil)
	mustAppend(t, s, record("a", 1))
	for i := range 50 {
		mustAppend(t, s, record(fmt.Sprint("b", i), 1))
	}
	head := next(t, s, 1)[0].Seq
	s.Reader().Rewind()
	looked := 0
	like := func(h, o []byte) bool {
		looked++
		return bytes.Equal(h[:1], o[:1])
	}
	for range 3 {
		if _, ok, err := s.Reader().Later(head, like); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	mustAppend(t, s, record("a1", 1))
	if f, ok, err := s.Reader().Later(head, like); !ok || err != nil || body(t, f) != "a1" {
		t.Fatal(ok, err)
	}
	if looked != 51 {
		t.Fatalf("looked at %d frames", looked)
	}
}
