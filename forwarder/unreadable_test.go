package forwarder

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/internal/testdisk"
)

// TestUnreadableSpool: the body of a large frame cannot be read, which is found with half of it on the wire. The sender says that it is the
// disk, does not connect again and again, and goes on when the volume is back.
func TestUnreadableSpool(t *testing.T) {
	d := testdisk.NewBad(t)
	cfg := DefaultConfig()
	cfg.Spool.Dir, cfg.Spool.MinFree, cfg.Spool.MaxBytes = filepath.Join(d.Dir, "spool"), 0, 8<<20
	var mu sync.Mutex
	got := map[int]int{}
	recv, err := receiver.Listen("127.0.0.1:0", func(e *receiver.Event) {
		mu.Lock()
		defer mu.Unlock()
		got[len(e.Field("log"))]++
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = recv.Close() }()
	cfg.Forward.To = []Endpoint{{Address: recv.Addr()}}
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	sp, err := spool.Open(cfg.Spool, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{100, 300 << 10, 200, 400 << 10, 500 << 10, 700}
	for _, n := range sizes {
		var b fluent.Builder
		b.Buf = make([]byte, 0, n+1<<10)
		b.Reset("t", spool.HeaderBytes)
		b.Add(1, [][]byte{bytes.Repeat([]byte("x"), n)}, &fluent.Fields{}, fluent.Extra{})
		b.SealWith(nil)
		r := &spool.Record{Frame: len(b.Frame()), Events: b.Events()}
		r.Buf = b.Buf
		if _, err := sp.Append([]*spool.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := filepath.Glob(filepath.Join(cfg.Spool.Dir, "*.seg"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	back := d.Spoil(paths[0], 400<<10) // within the second large frame
	q := newQueue(sp)
	sender := fluent.NewSender(cfg.Forward, q, log, fluent.NewMetrics(prometheus.NewRegistry()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sender.Run(ctx) }()
	until(t, "what is before it arrives", func() bool { mu.Lock(); defer mu.Unlock(); return got[200] == 1 })
	time.Sleep(3 * time.Second)
	st := sender.Status()
	if n := recv.Stats().Connections; n > 3 {
		t.Errorf("%d connections because of a disk", n)
	}
	if !strings.Contains(st.LastError, "input/output error") {
		t.Errorf("the status says %q", st.LastError)
	}
	if got := sp.Stats(); got.Lost > 0 || got.PendingFrames == 0 {
		t.Errorf("given up while the volume may come back: %+v", got)
	}
	back()
	until(t, "the rest arrives", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == len(sizes) })
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := sp.Close(); err != nil {
		t.Error(err)
	}
	if out := logged.String(); !strings.Contains(out, "reason=queue") || strings.Contains(out, "reason=network") {
		t.Errorf("log:\n%s", out)
	}
}
