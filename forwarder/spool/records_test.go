package spool

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// segmentBytes is a segment with a few records of all kinds.
func segmentBytes(t testing.TB) []byte {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("one", 1, "k", "v"), inputRecord("in"), record("two"+strings.Repeat("x", 300<<10), 2), record("three", 3))
	path := segments(t, dir, segmentSuffix)[0]
	kill(s)
	return readFile(t, path)
}

// found is what Records finds in b: whole records, and the bytes that are none.
func found(t testing.TB, b []byte) (recs [][]byte, skipped int64) {
	end := int64(0)
	err := Records(bytes.NewReader(b), int64(len(b)), func(k Kept) error {
		if k.Off != end {
			t.Fatalf("record at %d, %d are accounted for", k.Off, end)
		}
		end += int64(len(k.Bytes))
		recs = append(recs, bytes.Clone(k.Bytes))
		return nil
	}, func(off, n int64) {
		if off != end || n <= 0 {
			t.Fatalf("skipped %d at %d, %d are accounted for", n, off, end)
		}
		skipped += n
		end += n
	})
	if err != nil || end != int64(len(b)) {
		t.Fatalf("ended at %d of %d: %v", end, len(b), err)
	}
	return recs, skipped
}

func TestRecords(t *testing.T) {
	whole := segmentBytes(t)
	recs, skipped := found(t, whole)
	if len(recs) != 5 || skipped != 0 || !bytes.Equal(bytes.Join(recs, nil), whole) {
		t.Fatalf("%d records, %d bytes skipped", len(recs), skipped)
	}
	r := bytes.NewReader(whole)
	for i, want := range recs {
		k, err := ReadRecord(r)
		if err != nil || !bytes.Equal(k.Bytes, want) {
			t.Fatalf("record %d: %v", i, err)
		}
		if snapshot, input := i == 0, i == 2; snapshot != (len(k.Frame) == 0) || input != k.Input {
			t.Errorf("record %d: frame of %d, input %v", i, len(k.Frame), k.Input)
		}
	}
	if _, err := ReadRecord(r); err != io.EOF { //nolint:errorlint // the very error
		t.Errorf("at the end: %v", err)
	}
	// A record without its first byte, between rubbish, costs only itself.
	torn := bytes.Join([][]byte{[]byte("rubbish"), recs[1], recs[3][1:], {magic0, magic1, version}, recs[4]}, nil)
	got, skipped := found(t, torn)
	if len(got) != 2 || !bytes.Equal(got[0], recs[1]) || !bytes.Equal(got[1], recs[4]) || skipped != int64(len(torn)-len(recs[1])-len(recs[4])) {
		t.Fatalf("%d records, %d bytes skipped", len(got), skipped)
	}
	boom := errors.New("boom")
	if err := Records(bytes.NewReader(whole), int64(len(whole)), func(Kept) error { return boom }, nil); !errors.Is(err, boom) {
		t.Errorf("err %v", err)
	}
}

func TestAgainLeavesMarksBehind(t *testing.T) {
	recs, _ := found(t, segmentBytes(t))
	k, err := ReadRecord(bytes.NewReader(recs[1]))
	if err != nil {
		t.Fatal(err)
	}
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, k.Again())
	if m := s.Marks(); len(m) > 0 {
		t.Errorf("marks %q", m)
	}
	if st := s.Stats(); st.Replayed != 1 || st.Appended != 1 {
		t.Errorf("stats %+v", st)
	}
	equal(t, drain(t, s), []string{"one"})
	if IsSegment(dir, dir+"/x.seg") || !IsSegment(dir, segments(t, dir, segmentSuffix)[0]) {
		t.Error("segments are not told from other files")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
}

// Whatever the bytes: every one is accounted for once, and each record that is found is one that ReadRecord takes.
func FuzzRecords(f *testing.F) {
	recs, _ := found(f, segmentBytes(f))
	small := bytes.Join([][]byte{recs[0], recs[1], recs[2], recs[4]}, nil)
	f.Add(small, []byte("rubbish"), uint16(50))
	f.Fuzz(func(t *testing.T, b, rubbish []byte, at uint16) {
		if i := int(at) % (len(b) + 1); true {
			b = append(append(bytes.Clone(b[:i]), rubbish...), b[i:]...)
		}
		recs, _ := found(t, b)
		for _, want := range recs {
			k, err := ReadRecord(bytes.NewReader(want))
			if err != nil || !bytes.Equal(k.Bytes, want) {
				t.Fatalf("found a record that is none: %v", err)
			}
		}
		again, skipped := found(t, bytes.Join(recs, nil))
		if len(again) != len(recs) || skipped > 0 {
			t.Fatalf("%d records, then %d and %d bytes skipped", len(recs), len(again), skipped)
		}
	})
}
