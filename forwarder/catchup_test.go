package forwarder

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/receiver"
)

// BenchmarkCatchUp sends what piled up in small frames while the receiver was down, the receiver in the same process.
func BenchmarkCatchUp(b *testing.B) {
	for _, c := range []struct {
		name          string
		frames, bytes int
		delay         time.Duration
	}{
		{"500B", 200_000, 500, 0},
		{"5kB", 100_000, 5_000, 0},
		{"256KiB", 2_000, 256 << 10, 0},
		{"mixed", 10_000, 0, 0},
		{"500B-5ms-away", 50_000, 500, 5 * time.Millisecond},
		{"mixed-5ms-away", 5_000, 0, 5 * time.Millisecond},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				catchUp(b, c.frames, c.bytes, c.delay)
			}
		})
	}
}

func catchUp(b *testing.B, frames, bytes int, delay time.Duration) {
	b.StopTimer()
	defer b.StartTimer()
	cfg := spool.DefaultConfig()
	cfg.Dir, cfg.MinFree = b.TempDir(), 0
	sp, err := spool.Open(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer sp.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = sp.Run(ctx) }()
	text := strings.Repeat("x", 512<<10)
	var bld fluent.Builder
	var size int64
	for i := range frames {
		n := bytes
		if n == 0 { // mixed: some hundred bytes, now and then a hundred times as many
			n = 300 + 100*(i%7)
			if i%10 == 0 {
				n *= 300
			}
		}
		bld.Buf = make([]byte, 0, n+spool.HeaderBytes+512)
		bld.Reset("docker.web", spool.HeaderBytes)
		bld.Add(1, [][]byte{[]byte(text[:n-90])}, nil, fluent.Extra{})
		bld.Seal()
		r := &spool.Record{Buf: bld.Buf, Frame: len(bld.Frame()), Events: 1}
		r.Buf = spool.AppendMark(r.Buf, "/var/lib/docker/containers/x/x-json.log", make([]byte, 150))
		size += int64(r.Frame)
		if _, err := sp.Append([]*spool.Record{r}); err != nil {
			b.Fatal(err)
		}
	}
	recv, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer recv.Close()
	recv.Set(receiver.Behaviour{AckDelay: delay})
	fcfg := fluent.DefaultConfig()
	fcfg.To = []fluent.Endpoint{{Address: recv.Addr()}}
	s := fluent.NewSender(fcfg, &queue{spool: sp, reader: sp.Reader()}, slog.New(slog.DiscardHandler), fluent.NewMetrics(nil))
	b.StartTimer()
	began := time.Now()
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	for sp.Stats().PendingFrames > 0 {
		time.Sleep(time.Millisecond)
	}
	d := time.Since(began).Seconds()
	b.StopTimer()
	b.ReportMetric(float64(frames)/d, "frames/s")
	b.ReportMetric(float64(size)/d/1e6, "MB/s")
	cancel()
	<-done
}
