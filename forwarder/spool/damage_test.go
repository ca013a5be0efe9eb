package spool

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// small is a directory with one life: a base and four frames with marks. It returns the segment, and where its records end.
func small(t *testing.T) (dir string, seg []byte, ends []int) {
	t.Helper()
	dir = filepath.Join(memoryDir(t), "spool")
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("zero", 1, "k", "0"))
	mustAppend(t, s, record("one", 1, "k", "1"), record("two", 2, "k", "2", "two", "x"))
	mustAppend(t, s, record("three", 1, "k", "3"))
	kill(s)
	seg = readFile(t, segments(t, dir, segmentSuffix)[0])
	for off := 0; off < len(seg); {
		h, ok := decodeHeader(seg[off:])
		if !ok {
			t.Fatal("no header")
		}
		off += int(h.size())
		ends = append(ends, off)
	}
	return dir, seg, ends
}

var smallBodies = []string{"zero", "one", "two", "three"}

// reopen opens a copy of dir whose segment is replaced.
func reopen(t *testing.T, dir string, seg []byte) (*Spool, string) {
	t.Helper()
	to, err := os.MkdirTemp(filepath.Dir(dir), "copy")
	if err != nil {
		t.Fatal(err)
	}
	copyDir(t, dir, to)
	if err := os.WriteFile(segments(t, to, segmentSuffix)[0], seg, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(testConfig(to), quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, to
}

// works checks that the spool takes and gives a frame, and comes up again.
func works(t *testing.T, s *Spool, dir string) {
	t.Helper()
	mustAppend(t, s, record("after", 1, "after", "x"))
	equal(t, drain(t, s), []string{"after"})
	balanced(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(testConfig(dir), quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer kill(s)
	if got := string(s.Marks()["after"]); got != "x" {
		t.Fatalf("mark after the next start: %q", got)
	}
	equal(t, drain(t, s), nil)
}

func TestSegmentCutAtEachByte(t *testing.T) {
	dir, seg, ends := small(t)
	for n := range seg {
		s, to := reopen(t, dir, seg[:n])
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		var want []string
		mark := ""
		if whole > 1 { // the base and some frames
			want = smallBodies[:whole-1]
			mark = fmt.Sprint(whole - 2)
		}
		if got := string(s.Marks()["k"]); got != mark {
			t.Fatalf("cut at %d: mark %q, want %q", n, got, mark)
		}
		equal(t, drain(t, s), want)
		works(t, s, to)
		_ = os.RemoveAll(to)
	}
}

func TestEachBitFlipped(t *testing.T) {
	dir, seg, ends := small(t)
	for bit := range 8 * len(seg) {
		bad := bytes.Clone(seg)
		bad[bit/8] ^= 1 << (bit % 8)
		s, to := reopen(t, dir, bad)
		hit := 0
		for ends[hit] <= bit/8 {
			hit++
		}
		var want []string
		for i, b := range smallBodies {
			if i+1 != hit {
				want = append(want, b)
			}
		}
		mark := ""
		if hit > 1 {
			mark = fmt.Sprint(hit - 2)
		}
		if got := string(s.Marks()["k"]); got != mark {
			t.Fatalf("bit %d: mark %q, want %q", bit, got, mark)
		}
		equal(t, drain(t, s), want)
		from := 0
		if hit > 0 {
			from = ends[hit-1]
		}
		bads := segments(t, to, badSuffix)
		if len(bads) != 1 || !bytes.Equal(readFile(t, bads[0]), bad[from:ends[hit]]) {
			t.Fatalf("bit %d: damaged record is not in %v", bit, bads)
		}
		works(t, s, to)
		_ = os.RemoveAll(to)
	}
}

func TestUnreadableSegmentIsSetAside(t *testing.T) {
	dir, seg, _ := small(t)
	noise := bytes.Repeat([]byte("no record here "), 20)
	s, to := reopen(t, dir, noise)
	if len(drain(t, s)) != 0 || len(s.Marks()) != 0 {
		t.Fatal("something came out of noise")
	}
	if st := s.Stats(); st.BadSegments != 1 {
		t.Fatalf("stats: %+v", st)
	}
	bad := segments(t, to, badSuffix)
	if len(bad) != 1 || !bytes.Equal(readFile(t, bad[0]), noise) {
		t.Fatalf("set aside: %v", bad)
	}
	old, _ := parseName(filepath.Base(bad[0]), badSuffix)
	if first := s.Stats().LastSeq; first>>32 <= old>>32 {
		t.Fatalf("sequence %x follows %x", first, old)
	}
	works(t, s, to)

	// One life later a segment of zeros, as some file systems leave after a power cut.
	s, to = reopen(t, dir, make([]byte, len(seg)))
	works(t, s, to)
}

func TestTornAckedSendsAgain(t *testing.T) {
	for name, torn := range map[string][]byte{"short": {1, 2, 3}, "flipped": bytes.Repeat([]byte{7}, ackedBytes), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 300 })
			for i := range 10 {
				mustAppend(t, s, record(fmt.Sprint(i), 1, "k", fmt.Sprint(i)))
			}
			frames, err := s.Reader().Next(nil, 7, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ack(frames[len(frames)-1].Seq); err != nil {
				t.Fatal(err)
			}
			s.step(s.now())
			oldest := s.Stats().Segments
			kill(s)
			if err := os.WriteFile(filepath.Join(dir, ackedName), torn, 0o600); err != nil {
				t.Fatal(err)
			}
			s = opened(t, testConfig(dir), nil)
			if got := string(s.Marks()["k"]); got != "9" {
				t.Fatalf("mark %q, want 9: %d segments", got, oldest)
			}
			got := drain(t, s)
			if len(got) < 10-len(frames) || got[len(got)-1] != "9" {
				t.Fatalf("got %q", got)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// overwrite writes b into the segment that holds the nth frame, at an offset from the frame's record.
func overwrite(t *testing.T, s *Spool, f Frame, at int64, b []byte) {
	t.Helper()
	w, err := os.OpenFile(f.File.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteAt(b, f.Off-HeaderBytes+at); err != nil {
		t.Fatal(err)
	}
}

// TestDamageAfterOpen lets records rot between their writing and their reading. The rest arrives and the books tell.
func TestDamageAfterOpen(t *testing.T) {
	big := strings.Repeat("b", 50<<10)
	for _, c := range []struct {
		name string
		body string
		at   int64 // from the start of the record
		cut  bool
		lost int64
	}{
		{"header of a small frame", "", 3, false, 1},
		{"length of a small frame", "", 20, false, 1},
		{"body of a small frame", "", HeaderBytes + 1, false, 1},
		{"header of a large frame", big, 0, false, 1},
		{"length of a large frame", big, 16, false, 1},
		{"file cut off", "", 0, true, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := memoryDir(t)
			s := opened(t, testConfig(dir), nil)
			var want []string
			for i := range 10 {
				b := fmt.Sprint(i) + c.body
				mustAppend(t, s, record(b, 1))
				if (i < 3 || i > 3) && (!c.cut || i < 3) {
					want = append(want, b)
				}
			}
			frames, err := s.Reader().Next(nil, 4, 1<<30)
			if err != nil || len(frames) == 0 {
				t.Fatal(err)
			}
			f := frames[len(frames)-1]
			for len(frames) < 4 { // large frames come one a call or so
				more, err := s.Reader().Next(nil, 4-len(frames), 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				frames = append(frames, more...)
				f = frames[len(frames)-1]
			}
			if c.cut {
				if err := os.Truncate(f.File.Name(), f.Off-HeaderBytes); err != nil {
					t.Fatal(err)
				}
			} else {
				overwrite(t, s, f, c.at, []byte{0x55})
			}
			// As if it had never been handed out.
			s.mu.Lock()
			s.reader.flight, s.reader.replay, s.reader.seg, s.reader.after = nil, 0, nil, 0
			s.mu.Unlock()
			s.reader.blockN = 0
			equal(t, drain(t, s), want)
			balanced(t, s)
			if st := s.Stats(); st.Lost != c.lost || st.BadSegments != 1 {
				t.Fatalf("stats: %+v", st)
			}
			mustAppend(t, s, record("after", 1))
			equal(t, drain(t, s), []string{"after"})
			if bad := segments(t, dir, badSuffix); len(bad) != 1 && !c.cut {
				t.Fatalf("set aside: %v", bad)
			}
		})
	}
}

// TestRottenFrameIsNotSentForEver sends a frame that is refused because its bytes went bad.
func TestRottenFrameIsNotSentForEver(t *testing.T) {
	s := opened(t, testConfig(memoryDir(t)), nil)
	body := strings.Repeat("b", 50<<10)
	for range 3 {
		mustAppend(t, s, record(body, 5))
	}
	frames, err := s.Reader().Next(nil, 2, 1<<30)
	if err != nil || len(frames) != 2 {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	overwrite(t, s, frames[0], HeaderBytes+100, []byte{0x55})
	s.Reader().Rewind()
	if got := drain(t, s); len(got) != 2 {
		t.Fatalf("%d frames arrived", len(got))
	}
	balanced(t, s)
	if st := s.Stats(); st.Lost != 5 {
		t.Fatalf("stats: %+v", st)
	}
}

func TestVanishedSegmentIsCounted(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 500 })
	for i := range 20 {
		mustAppend(t, s, record(fmt.Sprint(i), 1))
	}
	s.step(s.now())
	s.mu.Lock()
	for _, g := range s.segs[:2] { // synced and closed, so that the descriptor does not save them
		if g.w != nil {
			_ = g.w.Close()
			g.w = nil
		}
	}
	gone := s.segs[0].frames + s.segs[1].frames
	s.mu.Unlock()
	for _, p := range segments(t, dir, segmentSuffix)[:2] {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	got := drain(t, s)
	if st := s.Stats(); st.Lost != gone || int64(len(got)) != 20-gone {
		t.Fatalf("%d arrived, stats %+v", len(got), st)
	}
	balanced(t, s)
}

// TestReadErrorsAreWaitedFor makes the disk answer with errors for a while: nothing is given up before a volume could be back.
func TestReadErrorsAreWaitedFor(t *testing.T) {
	dir := memoryDir(t)
	clock := time.Unix(1e9, 0)
	s := opened(t, testConfig(dir), func(o *options) { o.now = func() time.Time { return clock } })
	mustAppend(t, s, record("a", 1))
	path := segments(t, dir, segmentSuffix)[0]
	hide := func() { // a directory in its place answers reads with EISDIR
		if err := os.Rename(path, path+"x"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	hide()
	for range 5 {
		if frames, err := s.Reader().Next(nil, 1, 1); err == nil {
			t.Fatalf("got %v", frames)
		}
		clock = clock.Add(time.Minute)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"x", path); err != nil {
		t.Fatal(err)
	}
	s.reader.fileSeg = nil
	equal(t, drain(t, s), []string{"a"})

	mustAppend(t, s, record("b", 1))
	hide()
	s.reader.fileSeg = nil
	if _, err := s.Reader().Next(nil, 1, 1); err == nil {
		t.Fatal("no error")
	}
	clock = clock.Add(unreadableAfter + time.Minute)
	equal(t, drain(t, s), nil)
	if st := s.Stats(); st.Lost != 1 {
		t.Fatalf("stats: %+v", st)
	}
	balanced(t, s)
}
