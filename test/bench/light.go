package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

const (
	lightContainers = 20
	lightRate       = 200 // lines a second, all containers together
)

// lightLoad measures cost and delay where most hosts are most of the time.
func (b *bench) lightLoad() error {
	var mu sync.Mutex
	var delays []time.Duration
	h, err := b.host(func(e *receiver.Event) {
		now := time.Now()
		text := string(e.Field("log"))
		if _, after, ok := strings.Cut(text, "sent="); ok {
			if ns, err := strconv.ParseInt(after, 10, 64); err == nil {
				mu.Lock()
				delays = append(delays, now.Sub(time.Unix(0, ns)))
				mu.Unlock()
			}
		}
	})
	if err != nil {
		return err
	}
	defer h.close()
	logs := make([]*os.File, lightContainers)
	for i := range logs {
		path, err := h.log(i)
		if err != nil {
			return err
		}
		if logs[i], err = os.Create(path); err != nil {
			return err
		}
		defer logs[i].Close()
	}
	if err := h.start(b.binary, true); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	before, err := h.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	tick := time.NewTicker(time.Second / lightRate)
	defer tick.Stop()
	for n := 0; time.Since(began) < b.light; n++ {
		<-tick.C
		now := time.Now()
		id := fmt.Sprintf("%08x-0000-4000-8000-%012x", n*2654435761&0xffffffff, n)
		line := fmt.Sprintf(`{"log":"I, [%s #1]  INFO -- : [%s] Completed 200 OK in 12ms (Views: 3.1ms | ActiveRecord: 2.0ms) sent=%d\n","stream":"stdout","time":"%s"}`+"\n",
			now.UTC().Format("2006-01-02T15:04:05.000000"), id, now.UnixNano(), now.UTC().Format(time.RFC3339Nano))
		if _, err := logs[n*7%lightContainers].WriteString(line); err != nil {
			return err
		}
	}
	took := time.Since(began)
	after, err := h.cpu()
	if err != nil {
		return err
	}
	rss, err := h.memory("VmRSS")
	if err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	if len(delays) == 0 {
		return fmt.Errorf("nothing arrived")
	}
	at := func(p float64) time.Duration {
		return delays[min(len(delays)-1, int(p*float64(len(delays))))].Round(100 * time.Microsecond)
	}
	fmt.Printf("light load: %d lines/s, %d containers: %.2f %% of a core, p50 %v, p99 %v, RSS %.1f MiB (%d lines)\n",
		lightRate, lightContainers, 100*(after-before).Seconds()/took.Seconds(), at(0.5), at(0.99), float64(rss)/(1<<20), len(delays))
	return nil
}

// idle measures what a quiet host pays.
func (b *bench) idle() error {
	h, err := b.host(nil)
	if err != nil {
		return err
	}
	defer h.close()
	for i := range lightContainers {
		path, err := h.log(i)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			return err
		}
	}
	if err := h.start(b.binary, true); err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	before, err := h.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	time.Sleep(20 * time.Second)
	after, err := h.cpu()
	if err != nil {
		return err
	}
	rss, err := h.memory("VmRSS")
	if err != nil {
		return err
	}
	fmt.Printf("idle: RSS %.1f MiB, %.2f %% of a core\n", float64(rss)/(1<<20), 100*(after-before).Seconds()/time.Since(began).Seconds())
	return nil
}
