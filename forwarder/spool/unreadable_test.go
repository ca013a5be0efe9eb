package spool

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
	"github.com/fairlead/fairlead/internal/testdisk"
)

// badSectors answers reads of a part of it with EIO.
type badSectors struct {
	*bytes.Reader
	from, to int64
}

func (b *badSectors) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.from && off < b.to {
		return 0, syscall.EIO
	}
	if off < b.from && off+int64(len(p)) > b.from {
		n, _ := b.Reader.ReadAt(p[:b.from-off], off)
		return n, syscall.EIO
	}
	return b.Reader.ReadAt(p, off)
}

// TestScanOverBadSectors: what lies behind bytes that cannot be read is found, however many they are.
func TestScanOverBadSectors(t *testing.T) {
	var text []byte
	var ends []int64
	for i := range 400 {
		r := record(strings.Repeat(fmt.Sprint(i, " "), 3000), 1)
		(&Spool{}).seal(r, uint64(i+1), 0)
		text = append(text, r.Buf...)
		ends = append(ends, int64(len(text)))
	}
	for _, bad := range []int64{1, 4 << 10, 100 << 10, 2 << 20} {
		from := int64(700_001)
		src := &badSectors{bytes.NewReader(text), from, from + bad}
		sc := newScanner(src, int64(len(text)))
		found := map[uint64]bool{}
		if _, err := sc.scan(1, 1<<62, func(_ int64, h header) error { found[h.seq] = true; return nil }); err != nil {
			t.Fatal(err)
		}
		begin, behind, missed := int64(0), 0, 0
		for i, end := range ends {
			switch readable := end <= from || begin >= from+bad; {
			case !readable && found[uint64(i+1)]:
				t.Errorf("%d bad bytes: record %d was found, and cannot be read", bad, i+1)
			case readable && end <= from && !found[uint64(i+1)]:
				t.Errorf("%d bad bytes: record %d before them is missing", bad, i+1)
			case readable && begin >= from:
				behind++
				if !found[uint64(i+1)] {
					missed++
				}
			}
			begin = end
		}
		// The steps grow with what is bad, so as much again may be passed over.
		if lost := int64(missed) * int64(len(text)/len(ends)); lost > bad+64<<10 || missed == behind {
			t.Errorf("%d bad bytes: %d of %d records behind them are missing", bad, missed, behind)
		}
	}
}

// TestUnreadableForGood: a volume that does not come back costs what cannot be read and no more. It is counted, and the segment stays.
func TestUnreadableForGood(t *testing.T) {
	d := testdisk.NewBad(t)
	cfg := Config{Dir: filepath.Join(d.Dir, "spool"), MaxBytes: 8 * size.MiB, WhenFull: WhenFullWait, SyncAfter: time.Second}
	clock := time.Unix(1e9, 0)
	s := opened(t, cfg, func(o *options) { o.now = func() time.Time { return clock } })
	var want []string
	for i := range 12 { // 8 of them in the first segment
		text := fmt.Sprint(i) + strings.Repeat("x", []int{100, 300_000}[i%2])
		mustAppend(t, s, record(text, 1))
		want = append(want, text)
	}
	d.Spoil(segments(t, cfg.Dir, segmentSuffix)[0], 400<<10) // in the second large frame: 0, 1 and 2 can be read

	var got []string
	for tries := 0; tries < 60 && s.Stats().PendingFrames > 0; tries++ {
		frames, err := s.Reader().Next(nil, 1, 1<<20)
		for _, f := range frames {
			// As the sender does, which finds out with half of the frame on the wire.
			text, rerr := f.Data, error(nil)
			if text == nil {
				text = make([]byte, f.Len)
				_, rerr = f.File.ReadAt(text, f.Off)
			}
			if rerr != nil {
				s.Reader().Rewind()
				break
			}
			got = append(got, string(text[:len(text)-IDBytes]))
			if _, err := s.Ack(f.Seq); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil && s.Stats().Lost > 0 {
			t.Fatal(err)
		}
		clock = clock.Add(time.Minute)
	}
	st := s.Stats()
	if len(got) < 6 || st.Lost != int64(len(want)-len(got)) || st.PendingFrames != 0 || st.BadSegments == 0 {
		t.Fatalf("%d frames arrived, %+v", len(got), st)
	}
	equal(t, got, append(want[:3:3], want[3+st.Lost:]...))
	balanced(t, s)
	s.step(s.now())
	if bad, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"+badSuffix)); len(bad) == 0 {
		t.Error("nothing is left of what could not be read")
	}
}
