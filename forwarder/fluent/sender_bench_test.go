package fluent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// benchReceiver in the environment makes the test binary a receiver that counts, so that getrusage of the benchmark's own
// process is the cost of the sender alone.
const benchReceiver = "FLUENT_BENCH_RECEIVER"

func serveBench() {
	r, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(r.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the benchmark ends
	_ = r.Close()
}

func startBenchReceiver(b *testing.B) (addr string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchReceiver+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func startBenchSender(b *testing.B, q Queue, addr string) {
	b.Helper()
	cfg := DefaultConfig()
	cfg.To = []Endpoint{{Address: addr}}
	s := NewSender(cfg, q, slog.New(slog.DiscardHandler), NewMetrics(nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	b.Cleanup(func() {
		cancel()
		<-done
	})
}

func fillQueue(b *testing.B, q *fileQueue, frames, frameBytes int) {
	b.Helper()
	var bld Builder
	text := lines(strings.Repeat("I, [2025-10-09T08:53:20.123456 #1] INFO -- : ", 4)[:150])
	for range frames {
		bld.Reset("docker.web", 0)
		for bld.Bytes() < frameBytes {
			bld.Add(1760000000_000000000, text, nil, Extra{})
		}
		q.add(&bld)
	}
}

// BenchmarkSender sends what lies in a file to a receiver in another process, until all is acked.
func BenchmarkSender(b *testing.B) {
	for _, c := range []struct {
		name               string
		frames, frameBytes int
	}{
		{"1GB-of-256KiB", 4096, 256 << 10},
		{"256MB-of-24KiB", 10240, 24 << 10},
		{"32MB-of-1KiB", 32768, 1 << 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			addr := startBenchReceiver(b)
			q := newFileQueue(b)
			startBenchSender(b, q, addr)
			var cpu, wall time.Duration
			var sent int64
			for range b.N {
				q.mu.Lock()
				q.index, q.next, q.acked, q.size = nil, 0, 0, 0
				q.mu.Unlock()
				hold := newFileQueue(b) // filled aside, then taken over, so that filling does not count
				hold.file = q.file
				fillQueue(b, hold, c.frames, c.frameBytes)
				before, begin := cpuTime(), time.Now()
				q.mu.Lock()
				q.index, q.size = hold.index, hold.size
				q.wake()
				q.mu.Unlock()
				if err := q.drained(context.Background()); err != nil {
					b.Fatal(err)
				}
				cpu, wall, sent = cpu+cpuTime()-before, wall+time.Since(begin), sent+q.size
			}
			b.ReportMetric(float64(sent)/1e6/cpu.Seconds(), "MB/cpu-s")
			b.ReportMetric(float64(sent)/1e6/wall.Seconds(), "MB/s")
			b.ReportMetric(cpu.Seconds()*1e6/float64(b.N*c.frames), "cpu-µs/frame")
		})
	}
}

// BenchmarkLightLoad sends 50 small frames a second, one at a time: the cost of being awake.
func BenchmarkLightLoad(b *testing.B) {
	addr := startBenchReceiver(b)
	q := newFileQueue(b)
	startBenchSender(b, q, addr)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var bld Builder
	text := lines(strings.Repeat("I, [2025-10-09T08:53:20.123456 #1] INFO -- : ", 4)[:150])
	before, begin := cpuTime(), time.Now()
	for range b.N {
		<-tick.C
		bld.Reset("docker.web", 0)
		for range 4 {
			bld.Add(1760000000_000000000, text, nil, Extra{})
		}
		q.add(&bld)
	}
	if err := q.drained(context.Background()); err != nil {
		b.Fatal(err)
	}
	cpu := cpuTime() - before
	b.ReportMetric(cpu.Seconds()*1e6/float64(b.N), "cpu-µs/frame")
	b.ReportMetric(100*cpu.Seconds()/time.Since(begin).Seconds(), "%core")
}
