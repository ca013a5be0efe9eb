package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// running runs the syncer of s until the test ends.
func running(t *testing.T, s *Spool) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// batches is what Unacked gives: the bodies of the frames, by batch.
func batches(t *testing.T, s *Spool) (all [][]string) {
	t.Helper()
	err := s.Unacked(t.Context(), func(b *Batch) error {
		text, err := io.ReadAll(b.Open())
		if err != nil || int64(len(text)) != b.Bytes {
			t.Fatalf("%d bytes of %d: %v", len(text), b.Bytes, err)
		}
		var bodies []string
		events := int64(0)
		recs, skipped := found(t, text)
		for i, r := range recs {
			k, err := ReadRecord(bytes.NewReader(r))
			if err != nil || k.Input || len(k.Frame) == 0 || i == 0 && k.Seq != b.First || i == len(recs)-1 && k.Seq != b.Last {
				t.Fatalf("record %d of %x to %x: %x, %v", i, b.First, b.Last, k.Seq, err)
			}
			events += int64(k.Events)
			bodies = append(bodies, strings.TrimRight(string(k.Frame[:len(k.Frame)-IDBytes]), "x"))
		}
		if skipped != 0 || int64(len(recs)) != b.Frames || events != b.Events {
			t.Fatalf("%d records with %d events and %d other bytes, the batch says %d and %d", len(recs), events, skipped, b.Frames, b.Events)
		}
		all = append(all, bodies)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestUnacked(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 1 << 10 })
	running(t, s)
	if got := batches(t, s); len(got) != 0 {
		t.Fatalf("an empty spool has %v", got)
	}
	long := strings.Repeat("x", 200)
	mustAppend(t, s, record("1"+long, 1, "k", "v"), inputRecord("in"), record("2"+long, 2), record("3"+long, 3))
	for i := 4; i < 12; i++ {
		mustAppend(t, s, record(fmt.Sprint(i)+long, i))
	}
	got := batches(t, s)
	if len(got) < 3 || fmt.Sprint(joined(got)) != "[1 2 3 4 5 6 7 8 9 10 11]" {
		t.Fatalf("nothing acked: %v", got)
	}

	frames, err := s.Reader().Next(nil, 4, 1<<20)
	for err == nil && len(frames) < 4 {
		frames, err = s.Reader().Next(frames, 4-len(frames), 1<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ack(frames[1].Seq); err != nil {
		t.Fatal(err)
	}
	if got := batches(t, s); fmt.Sprint(joined(got)) != "[3 4 5 6 7 8 9 10 11]" {
		t.Errorf("two acked: %v", got)
	}
	stop := errors.New("stop")
	if err := s.Unacked(t.Context(), func(*Batch) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a visitor that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Unacked(ctx, func(*Batch) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("no time: %v", err)
	}
}

func joined(all [][]string) (flat []string) {
	for _, b := range all {
		flat = append(flat, b...)
	}
	return flat
}

// On a host that is about to end the spool is the only queue left: it takes what the disk takes.
func TestUnbound(t *testing.T) {
	cfg := testConfig(memoryDir(t))
	cfg.MaxBytes = 1 << 20
	s := opened(t, cfg, nil)
	big := record(strings.Repeat("x", 300<<10), 1)
	full := func() bool {
		_, err := s.Append([]*Record{{Buf: bytes.Clone(big.Buf), Frame: big.Frame, Events: 1}})
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		return err != nil
	}
	for range 3 {
		full()
	}
	if !full() {
		t.Fatal("it takes more than max_bytes")
	}
	s.Unbound(true)
	for i := range 10 {
		if full() {
			t.Fatalf("full after %d more", i)
		}
	}
	s.Unbound(false)
	if !full() {
		t.Error("it goes on taking more than max_bytes")
	}
}

// A segment that cannot be read any more keeps none of the others back.
func TestUnackedUnreadable(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), func(o *options) { o.segmentBytes = 300 })
	running(t, s)
	for i := range 6 {
		mustAppend(t, s, record(fmt.Sprint(i)+strings.Repeat("x", 200), 1))
	}
	paths := segments(t, dir, segmentSuffix)
	if len(paths) < 4 {
		t.Fatalf("%d segments", len(paths))
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(paths[1], 0o700); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	err := s.Unacked(t.Context(), func(b *Batch) error { n += b.Frames; return nil })
	if err == nil || n < 4 || n >= 6 {
		t.Errorf("%d frames of 6, one segment of %d is gone: %v", n, len(paths), err)
	}
}

// What was set aside is given as it was: its disk may end with the host.
func TestAside(t *testing.T) {
	dir := memoryDir(t)
	s := opened(t, testConfig(dir), nil)
	mustAppend(t, s, record("bad", 7, "k", "v"), record("good", 1))
	frames, err := s.Reader().Next(nil, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetAside(frames[0].Seq); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, setAsideDir, "00000000000000ff"+setAsideSuffix), []byte("no record"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	err = s.Aside(t.Context(), func(b *Batch) error {
		n++
		k, err := ReadRecord(b.Open())
		if err != nil || k.Seq != b.First || b.Last != b.First || b.Frames != 1 || b.Events != 7 || string(k.Frame[:3]) != "bad" {
			t.Errorf("%+v, %v: %.20q", b, err, k.Frame)
		}
		return nil
	})
	if n != 1 || err == nil || !strings.Contains(err.Error(), "00000000000000ff") {
		t.Errorf("%d frames, %v", n, err)
	}
}
