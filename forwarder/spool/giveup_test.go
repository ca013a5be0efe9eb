package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// ackingDisk acks frames while damaged bytes are copied aside, as the sender's ack reader may at any time.
type ackingDisk struct {
	osDisk
	copying func()
}

func (d *ackingDisk) create(path string) (file, error) {
	if strings.HasSuffix(path, badSuffix) && d.copying != nil {
		d.copying()
	}
	return d.osDisk.create(path)
}

// tenFrames is a spool of ten frames, each of one event.
func tenFrames(t *testing.T, d disk) *Spool {
	t.Helper()
	s := opened(t, testConfig(filepath.Join(memoryDir(t), "spool")), func(o *options) { o.disk = d })
	for i := range 10 {
		mustAppend(t, s, record(fmt.Sprint(i), 1))
	}
	return s
}

func next(t *testing.T, s *Spool, frames int) []Frame {
	t.Helper()
	got, err := s.Reader().Next(nil, frames, 1<<20)
	if err != nil || len(got) != frames {
		t.Fatalf("%d frames, want %d, err %v", len(got), frames, err)
	}
	return got
}

// TestAcksWhileTheRestOfASegmentIsGivenUp: frames that are acked in the meantime are neither lost nor counted twice, or the
// segment would go with frames in it that are on their way.
func TestAcksWhileTheRestOfASegmentIsGivenUp(t *testing.T) {
	d := &ackingDisk{}
	s := tenFrames(t, d)
	frames := next(t, s, 4)
	d.copying = func() {
		if _, err := s.Ack(frames[1].Seq); err != nil {
			t.Error(err)
		}
	}
	p, _, _ := s.reader.locate()
	if err := s.reader.giveUp(p, true, true, syscall.EIO); err != nil {
		t.Fatal(err)
	}
	balanced(t, s)
	if st := s.Stats(); st.PendingFrames != 2 || st.Lost != 6 || st.Acked != 2 {
		t.Fatalf("stats: %+v", st)
	}
	mustAppend(t, s, record("after", 1))
	if _, err := s.Ack(frames[2].Seq); err != nil {
		t.Fatal(err)
	}
	s.step(s.now())
	s.Reader().Rewind() // the connection failed
	equal(t, drain(t, s), []string{"3", "after"})
	balanced(t, s)
}

// TestAckOfAFrameThatWentBad: a frame on its way that turns out to be damaged on disk may be acked before it is given up.
func TestAckOfAFrameThatWentBad(t *testing.T) {
	d := &ackingDisk{}
	s := tenFrames(t, d)
	frames := next(t, s, 4)
	p, _, _ := s.reader.locate()
	f, err := os.OpenFile(p.seg.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, off := range []int64{frames[1].Off, p.off + HeaderBytes} {
		if _, err := f.WriteAt([]byte{'!'}, off); err != nil {
			t.Fatal(err)
		}
	}
	s.reader.blockN = 0 // the rest of the block was read before
	d.copying = func() {
		if _, err := s.Ack(frames[2].Seq); err != nil {
			t.Error(err)
		}
	}
	got := next(t, s, 5)
	balanced(t, s)
	if st := s.Stats(); st.PendingFrames != 6 || st.Lost != 1 || st.Acked != 3 {
		t.Fatalf("stats: %+v", st)
	}
	if _, err := s.Ack(got[4].Seq); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.PendingFrames != 0 {
		t.Fatalf("stats: %+v", st)
	}
	balanced(t, s)
}
