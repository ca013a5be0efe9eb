package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func bodies(t *testing.T, frames []Frame) []string {
	t.Helper()
	var got []string
	for _, f := range frames {
		got = append(got, body(t, f))
	}
	return got
}

func TestRewindAndAck(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), func(o *options) { o.segmentBytes = 400 })
	for i := range 12 {
		mustAppend(t, s, record(fmt.Sprint(i), 1))
	}
	r := s.Reader()
	next := func(n int) []string {
		t.Helper()
		var got []string
		for len(got) < n {
			frames, err := r.Next(nil, n-len(got), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(frames) == 0 {
				break
			}
			got = append(got, bodies(t, frames)...)
		}
		return got
	}
	base := s.Stats().LastSeq
	_ = base
	equal(t, next(3), []string{"0", "1", "2"})
	r.Rewind()
	equal(t, next(2), []string{"0", "1"})
	equal(t, next(4), []string{"2", "3", "4", "5"})
	seq := r.flight[1].seq
	if n, err := s.Ack(seq); n != 2 || err != nil {
		t.Fatalf("acked %d, %v", n, err)
	}
	if n, err := s.Ack(seq); n != 0 || err != nil { // a late ack
		t.Fatalf("acked %d, %v", n, err)
	}
	if _, err := s.Ack(r.handed + 1); err == nil {
		t.Fatal("ack of a frame nobody has seen")
	}
	r.Rewind()
	equal(t, next(100), []string{"2", "3", "4", "5", "6", "7", "8", "9", "10", "11"})
	equal(t, next(1), nil)
	r.Rewind()
	equal(t, next(1), []string{"2"})
	if n, err := s.Ack(r.flight[len(r.flight)-1].seq); n != 10 || err != nil { // an ack that comes after the rewind
		t.Fatalf("acked %d, %v", n, err)
	}
	equal(t, next(1), nil)
	mustAppend(t, s, record("more", 1))
	equal(t, next(5), []string{"more"})
	balanced(t, s)
}

func TestNextLimits(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), nil)
	large := strings.Repeat("l", 40<<10)
	for i := range 6 {
		mustAppend(t, s, record(fmt.Sprint(i)+large, 1))
	}
	r := s.Reader()
	frames, err := r.Next(nil, 10, 1) // never less than one
	if err != nil || len(frames) != 1 || frames[0].Data != nil {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if frames, err = r.Next(nil, 10, 90<<10); err != nil || len(frames) != 2 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	if frames, err = r.Next(frames, 2, 1<<30); err != nil || len(frames) != 4 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	mustAppend(t, s, record("small", 1))
	if frames, err = r.Next(nil, 10, 1<<30); err != nil || len(frames) != 2 || frames[1].Data == nil {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
}

// TestFrameOutlivesItsSegment reads a frame, as sendfile would, whose segment was unlinked meanwhile.
func TestFrameOutlivesItsSegment(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), func(o *options) { o.segmentBytes = 50 << 10 })
	large := strings.Repeat("l", 40<<10)
	mustAppend(t, s, record(large, 1))
	mustAppend(t, s, record("next segment"+large, 1))
	frames, err := s.Reader().Next(nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ack(frames[0].Seq); err != nil {
		t.Fatal(err)
	}
	s.step(s.now())
	if _, err := os.Stat(frames[0].File.Name()); !os.IsNotExist(err) {
		t.Fatalf("segment is still there: %v", err)
	}
	if _, err := frames[0].File.Seek(frames[0].Off, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.LimitReader(frames[0].File, frames[0].Len))
	if err != nil || string(b[:len(large)]) != large {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	equal(t, drain(t, s), []string{"next segment" + large})
}

func TestReady(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), nil)
	ready := func(want bool, when string) {
		t.Helper()
		if got := s.Reader().Ready(); got != want {
			t.Fatalf("%s: ready %v, want %v", when, got, want)
		}
	}
	ready(false, "empty")
	mustAppend(t, s, inputRecord("not a frame"))
	ready(false, "after an input record")
	mustAppend(t, s, record("a", 1))
	ready(true, "after a frame")
	if _, err := s.Reader().Next(nil, 1, 1); err != nil {
		t.Fatal(err)
	}
	ready(false, "handed out")
	s.Reader().Rewind()
	ready(true, "to be sent again")
	equal(t, drain(t, s), []string{"a"})
	ready(false, "acked")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ready(true, "closed, which Next is to say")
}

func TestSetAside(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	large := strings.Repeat("l", 40<<10)
	mustAppend(t, s, record("bad"+large, 7, "k", "v"), record("good", 1))
	if err := s.SetAside(1<<32 + 1); err == nil {
		t.Fatal("set aside what was not sent")
	}
	frames, err := s.Reader().Next(nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetAside(frames[0].Seq); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.SetAside != 7 || st.AckedSeq != frames[0].Seq || st.Acked != 0 {
		t.Fatalf("stats: %+v", st)
	}
	balanced(t, s)
	equal(t, drain(t, s), []string{"good"})
	b := readFile(t, filepath.Join(dir, setAsideDir, fmt.Sprintf("%016x%s", frames[0].Seq, setAsideSuffix)))
	h, ok := decodeHeader(b)
	if !ok || h.crc != checksum(b) || h.events != 7 || string(b[HeaderBytes:HeaderBytes+3]) != "bad" {
		t.Fatalf("set aside: %+v", h)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = opened(t, testConfig(dir), nil)
	equal(t, drain(t, s), nil)
}

func TestInputs(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 300 })
	var want []string
	for i := range 10 {
		in := inputRecord(fmt.Sprint("in", i))
		mustAppend(t, s, in, record(fmt.Sprint(i), 1))
		want = append(want, fmt.Sprint("in", i))
	}
	read := func() (got []string, seqs []uint64) {
		t.Helper()
		err := s.Inputs(func(seq uint64, frame []byte) error {
			got, seqs = append(got, string(frame)), append(seqs, seq)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got, seqs
	}
	got, seqs := read()
	equal(t, got, want)
	if n := len(drain(t, s)); n != 10 {
		t.Fatalf("%d frames sent", n)
	}
	s.step(s.now())
	got, _ = read()
	equal(t, got, want) // nobody has said that they are not needed

	s.SetInputFloor(seqs[6])
	s.step(s.now())
	got, _ = read()
	if len(got) < 4 || len(got) > 6 || got[len(got)-4] != "in6" {
		t.Fatalf("floor at in6, left %q", got)
	}
	kill(s)
	s = opened(t, testConfig(dir), nil)
	got, _ = read()
	if got[len(got)-4] != "in6" || got[len(got)-1] != "in9" {
		t.Fatalf("after a restart %q", got)
	}
	boom := errors.New("boom")
	if err := s.Inputs(func(uint64, []byte) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("err %v", err)
	}
	s.SetInputFloor(0)
	s.step(s.now())
	got, _ = read()
	equal(t, got, nil)
}

// TestInputFloorWaitsForFrames raises the floor past an input record whose events are in a frame that neither is synced nor acked.
func TestInputFloorWaitsForFrames(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), func(o *options) { o.segmentBytes = 200 })
	in := inputRecord("in")
	mustAppend(t, s, in)
	mustAppend(t, s, record("a", 1), record("b", 1), record("c", 1))
	s.SetInputFloor(0)
	s.step(s.now())
	if got := s.floor.effective; got > in.Seq {
		t.Fatalf("floor is %x at once", got)
	}
	drain(t, s)
	s.step(s.now())
	if got := s.floor.effective; got <= in.Seq {
		t.Fatalf("floor is %x, input record %x", got, in.Seq)
	}
}
