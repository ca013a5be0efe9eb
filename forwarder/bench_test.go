package forwarder

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// railsLog is real Rails records, with times 100 µs apart.
func railsLog(b *testing.B, size int) []byte {
	b.Helper()
	f, err := os.Open(filepath.Join("fold", "testdata", "corpora", "rails61-default-tags", "json.log.gz"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		b.Fatal(err)
	}
	var lines [][]byte
	for line := range bytes.Lines(text) {
		lines = append(lines, line[:bytes.LastIndex(line, []byte(`"time":"`))+8])
	}
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	var mix []byte
	for i := 0; len(mix) < size; i++ {
		mix = append(mix, lines[i%len(lines)]...)
		mix = append(at.AppendFormat(mix, time.RFC3339Nano), "\"}\n"...)
		at = at.Add(100 * time.Microsecond)
	}
	return mix
}

// BenchmarkLoop reads, decodes, folds, encodes and appends: everything but the network. MB/s are of log file.
func BenchmarkLoop(b *testing.B) {
	for _, c := range []struct {
		name    string
		folding bool
	}{{"fold", true}, {"single", false}} {
		b.Run(c.name, func(b *testing.B) {
			mix := railsLog(b, 32<<20)
			dir := b.TempDir()
			root := filepath.Join(dir, "containers")
			id := "00000000000000000000000000000000000000000000000000000000000000aa"
			if err := os.MkdirAll(filepath.Join(root, id), 0o700); err != nil {
				b.Fatal(err)
			}
			path := filepath.Join(root, id, id+"-json.log")
			if err := os.WriteFile(filepath.Join(root, id, "config.v2.json"), []byte(`{"Name":"/ecs-web-12-nginx-0123456789abcdef0123"}`), 0o600); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(path, mix, 0o600); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(mix)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				cfg := DefaultConfig()
				cfg.Fold.Enabled = c.folding
				cfg.Forward.To = []Endpoint{{Address: "127.0.0.1:1"}}
				cfg.Sources.Containers.Root = root
				cfg.Sources.Listen = listen.Config{}
				cfg.Sources.Host.Enabled, cfg.Sources.Journal.Units = false, nil
				cfg.Spool.Dir, cfg.Spool.MinFree = filepath.Join(b.TempDir(), "spool"), 0
				log := slog.New(slog.DiscardHandler)
				f, err := New(cfg, log, prometheus.NewRegistry())
				if err != nil {
					b.Fatal(err)
				}
				sp, err := spool.Open(cfg.Spool, log, f.spoolM)
				if err != nil {
					b.Fatal(err)
				}
				disc := newDiscovery(cfg.Sources, log, newTimerAlarm(), f.folding, f.single, nil)
				l := f.newLoop(log, disc, sp, newReleaser(sp))
				reader := sp.Reader()
				var frames []spool.Frame
				disc.look(time.Now())
				b.StartTimer()
				for {
					l.turn(time.Now())
					if frames, err = reader.Next(frames[:0], 1000, 1<<40); err != nil {
						b.Fatal(err)
					}
					if len(frames) > 0 {
						if _, err := sp.Ack(frames[len(frames)-1].Seq); err != nil {
							b.Fatal(err)
						}
					}
					if len(l.sources) > 0 && l.sources[0].bytes == int64(len(mix)) {
						break
					}
				}
				b.StopTimer()
				if err := sp.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
