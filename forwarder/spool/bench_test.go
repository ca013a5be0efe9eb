package spool

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend measures the writing side. Frames are acked as they are written and segments unlinked, as with a fast receiver.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name         string
		frame, batch int
	}{
		{"256KiB", 256 << 10, 1}, {"256KiBx4", 256 << 10, 4}, {"4KiB", 4 << 10, 1}, {"1KiB", 1 << 10, 1}, {"1KiBx64", 1 << 10, 64},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := opened(b, testConfig(b.TempDir()), nil)
			recs := make([]*Record, c.batch)
			for i := range recs {
				recs[i] = record(strings.Repeat("x", c.frame), 100, "file", strings.Repeat("m", 60))
			}
			b.SetBytes(int64(c.frame * c.batch))
			b.ReportAllocs()
			start := cpu()
			for b.Loop() {
				if _, err := s.Append(recs); err != nil {
					b.Fatal(err)
				}
				ackAll(b, s)
			}
			used := cpu() - start
			b.ReportMetric(float64(c.frame*c.batch)*float64(b.N)/1e6/used.Seconds(), "MB/cpu-s")
		})
	}
}

// ackAll acks what is appended without reading it, and does the syncer's work when a segment is done with.
func ackAll(b *testing.B, s *Spool) {
	s.mu.Lock()
	for _, g := range s.segs {
		s.count.frames, s.count.events, s.count.bytes = 0, 0, 0
		g.frames, g.events, g.bytes = 0, 0, 0
	}
	s.acked = s.last
	n := len(s.segs)
	s.mu.Unlock()
	if n > 1 {
		s.step(s.now())
	}
}

// BenchmarkRead measures the reader over frames in the page cache, without what the sender does with them.
func BenchmarkRead(b *testing.B) {
	for _, frame := range []int{256 << 10, 4 << 10, 1 << 10} {
		b.Run(fmt.Sprintf("%dKiB", frame>>10), func(b *testing.B) {
			s := opened(b, testConfig(b.TempDir()), nil)
			for range (64 << 20) / frame {
				mustAppend(b, s, record(strings.Repeat("x", frame), 100, "file", strings.Repeat("m", 60)))
			}
			r := s.Reader()
			var dst []Frame
			b.SetBytes(int64(frame))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				var err error
				if dst, err = r.Next(dst[:0], 256, 8<<20); err != nil {
					b.Fatal(err)
				}
				n += len(dst)
				if len(dst) == 0 {
					s.mu.Lock()
					r.flight, r.replay, r.seg, r.after, s.acked = nil, 0, nil, 0, 0
					s.mu.Unlock()
				}
			}
		})
	}
}

// BenchmarkRecover measures Open on 64 MiB that are in the page cache.
func BenchmarkRecover(b *testing.B) {
	dir := b.TempDir()
	s := opened(b, testConfig(dir), nil)
	for range 64 << 10 {
		mustAppend(b, s, record(strings.Repeat("x", 1<<10), 10, "file", strings.Repeat("m", 60)))
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(64 << 20)
	for b.Loop() {
		s := opened(b, testConfig(dir), nil)
		if got := s.Stats().PendingFrames; got != 64<<10 {
			b.Fatalf("%d frames", got)
		}
		kill(s)
	}
}

// cpu is the processor time of this process.
func cpu() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		panic(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
