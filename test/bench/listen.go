package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"
	"golang.org/x/sync/errgroup"
)

const (
	listenConns    = 20
	listenMessages = 2_000_000 // all connections together
	idleConns      = 1000
)

func (h *host) fluentSocket() string { return filepath.Join(h.dir, "fluent.sock") }

// dial waits for the listener.
func (h *host) dial() (net.Conn, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", h.fluentSocket())
		if err == nil || time.Now().After(deadline) {
			return c, err
		}
	}
}

// message is a line as Docker's driver sends it: in Message mode, its record a map of texts.
func message(dst []byte, tag, id, text string, at time.Time) []byte {
	dst = msgp.AppendArrayHeader(dst, 3)
	dst = msgp.AppendString(dst, tag)
	dst = append(dst, 0xd7, 0)
	dst = append(dst, byte(at.Unix()>>24), byte(at.Unix()>>16), byte(at.Unix()>>8), byte(at.Unix()))
	ns := at.Nanosecond()
	dst = append(dst, byte(ns>>24), byte(ns>>16), byte(ns>>8), byte(ns))
	dst = msgp.AppendMapHeader(dst, 4)
	for _, s := range []string{"container_id", id, "container_name", "/ecs-web-12-nginx-" + id[:20], "source", "stdout", "log", text} {
		dst = msgp.AppendString(dst, s)
	}
	return dst
}

// texts are the lines of container n, without newline.
func (b *bench) texts(n int) ([]string, error) {
	records, err := b.records(n)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, r := range records {
		var v struct{ Log string }
		if err := json.Unmarshal(append(slices.Clone(r), `"}`...), &v); err != nil {
			return nil, err
		}
		texts = append(texts, strings.TrimSuffix(v.Log, "\n"))
	}
	return texts, nil
}

// forwardClients measures what 20 containers cost that log as fast as they can over Docker's fluentd driver: each message is a write.
func (b *bench) forwardClients() error {
	var perCPU, perSec, peak []float64
	for range b.runs {
		cpu, wall, rss, err := b.forwardOnce()
		if err != nil {
			return err
		}
		perCPU = append(perCPU, listenMessages/cpu.Seconds())
		perSec = append(perSec, listenMessages/wall.Seconds())
		peak = append(peak, float64(rss)/(1<<20))
	}
	fmt.Printf("listener: %d connections: %.0f messages per CPU-second, %.0f messages/s, peak RSS %.1f MiB   (runs: %.0f per CPU-second)\n",
		listenConns, median(perCPU), median(perSec), median(peak), perCPU)
	return nil
}

func (b *bench) forwardOnce() (cpu, wall time.Duration, rss int64, err error) {
	h, err := b.host(nil)
	if err != nil {
		return 0, 0, 0, err
	}
	defer h.close()
	if err := h.start(b.binary, true); err != nil {
		return 0, 0, 0, err
	}
	first, err := h.dial()
	if err != nil {
		return 0, 0, 0, err
	}
	_ = first.Close() // it was only to see that the listener is there
	began := time.Now()
	var g errgroup.Group
	for i := range listenConns {
		texts, err := b.texts(i)
		if err != nil {
			return 0, 0, 0, err
		}
		g.Go(func() error {
			c, err := h.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			at := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
			id := fmt.Sprintf("%064x", i+1)
			var buf []byte
			for n := range listenMessages / listenConns {
				at = at.Add(100 * time.Microsecond)
				buf = message(buf[:0], id[:12], id, texts[n%len(texts)], at)
				if _, err := c.Write(buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, 0, 0, err
	}
	var answer struct {
		Forwarder struct {
			Listen struct{ Entries int64 }
			Ledger struct{ Received, Acked, Imbalance int64 }
			Spool  struct {
				PendingFrames int64 `json:"pending_frames"`
			}
		}
	}
	st := &answer.Forwarder
	for st.Listen.Entries < listenMessages || st.Spool.PendingFrames > 0 {
		if time.Since(began) > 5*time.Minute {
			return 0, 0, 0, fmt.Errorf("not done after 5 minutes: %+v", st)
		}
		time.Sleep(5 * time.Millisecond)
		if err := h.get("/status", &answer); err != nil {
			return 0, 0, 0, err
		}
	}
	wall = time.Since(began)
	if cpu, err = h.cpu(); err != nil {
		return 0, 0, 0, err
	}
	if st.Listen.Entries != listenMessages || st.Ledger.Imbalance != 0 {
		return 0, 0, 0, fmt.Errorf("books: %+v", st)
	}
	rss, err = h.memory("VmHWM")
	return cpu, wall, rss, err
}

// idleClients measures what connections cost that carried a message and are silent since.
func (b *bench) idleClients() error {
	h, err := b.host(nil)
	if err != nil {
		return err
	}
	defer h.close()
	if err := h.start(b.binary, true); err != nil {
		return err
	}
	c, err := h.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	time.Sleep(3 * time.Second) // the daemon lets go of what its start took
	id := fmt.Sprintf("%064x", 1)
	for range 100 { // the code that a message needs is not the connections' cost
		if _, err := c.Write(message(nil, "idle", id, "I am here", time.Now())); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	before, err := h.memory("VmRSS")
	if err != nil {
		return err
	}
	for range idleConns {
		c, err := h.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write(message(nil, "idle", id, "I am here", time.Now())); err != nil {
			return err
		}
	}
	time.Sleep(10 * time.Second)
	after, err := h.memory("VmRSS")
	if err != nil {
		return err
	}
	fmt.Printf("listener: %d idle connections: %.1f MiB more resident (%.1f MiB in all)\n", idleConns, float64(after-before)/(1<<20), float64(after)/(1<<20))
	return nil
}
