package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// write fills a log with records, over and over, and answers its size.
func write(path string, records [][]byte, bytes int64, at time.Time) (int64, error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var n int64
	var when []byte
	for n < bytes {
		for _, line := range records {
			at = at.Add(100 * time.Microsecond) // a busy container: 10,000 lines a second
			when = append(at.AppendFormat(when[:0], time.RFC3339Nano), "\"}\n"...)
			_, _ = w.Write(line)
			_, _ = w.Write(when)
			if n += int64(len(line) + len(when)); n >= bytes {
				break
			}
		}
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil { // not to be written back while fairlead is measured
		return 0, err
	}
	return n, f.Close()
}

func (b *bench) throughput(name string, files int, folding bool) error {
	var perCPU, perSec, peak []float64
	for range b.runs {
		h, err := b.host(nil)
		if err != nil {
			return err
		}
		cpu, wall, rss, total, err := b.once(h, files, folding)
		h.close()
		if err != nil {
			return err
		}
		mb := float64(total) / 1e6
		perCPU = append(perCPU, mb/cpu.Seconds())
		perSec = append(perSec, mb/wall.Seconds())
		peak = append(peak, float64(rss)/(1<<20))
	}
	fmt.Printf("%-22s %6.0f MB per CPU-second  %6.0f MB/s  peak RSS %5.1f MiB   (runs: %.0f MB per CPU-second)\n",
		name, median(perCPU), median(perSec), median(peak), perCPU)
	return nil
}

func (b *bench) once(h *host, files int, folding bool) (cpu, wall time.Duration, rss, total int64, err error) {
	at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	for i := range files {
		path, err := h.log(i)
		if err != nil {
			return 0, 0, 0, 0, err
		}
		records, err := b.records(i)
		if err != nil {
			return 0, 0, 0, 0, err
		}
		n, err := write(path, records, int64(b.megabytes)*1e6/int64(files), at)
		if err != nil {
			return 0, 0, 0, 0, err
		}
		total += n
	}
	began := time.Now()
	if err := h.start(b.binary, folding); err != nil {
		return 0, 0, 0, 0, err
	}
	if b.profile != "" {
		go func() {
			time.Sleep(300 * time.Millisecond)
			if f, err := os.Create(b.profile); err == nil {
				_ = h.get("/debug/pprof/profile?seconds=2", f)
				_ = f.Close()
			}
		}()
	}
	// It is done when nothing has arrived for a while; that all did, fairlead is asked afterwards.
	var last int64
	changed := time.Now()
	for time.Since(changed) < 1500*time.Millisecond {
		time.Sleep(5 * time.Millisecond)
		if n := h.recv.Stats().Bytes; n != last {
			last, changed = n, time.Now()
		}
		if time.Since(began) > 5*time.Minute {
			return 0, 0, 0, 0, fmt.Errorf("not done after 5 minutes")
		}
	}
	if cpu, err = h.cpu(); err != nil {
		return
	}
	if rss, err = h.memory("VmHWM"); err != nil {
		return
	}
	var answer struct {
		Forwarder struct {
			Ledger  struct{ Read, Acked int64 }
			Sources []struct {
				ReadBytes int64 `json:"read_bytes"`
			}
		}
	}
	st := &answer.Forwarder
	if err = h.get("/status", &answer); err != nil {
		return
	}
	var read int64
	for _, s := range st.Sources {
		read += s.ReadBytes
	}
	if read != total || st.Ledger.Read != st.Ledger.Acked {
		return 0, 0, 0, 0, fmt.Errorf("read %d of %d bytes, acked %d of %d events", read, total, st.Ledger.Acked, st.Ledger.Read)
	}
	return cpu, changed.Sub(began), rss, total, nil
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
