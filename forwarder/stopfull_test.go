package forwarder

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// TestStopWithFullSpool: a container was removed while the spool was full. At the stop its log, which only we still hold, is read as
// the receiver, back by then, makes room.
func TestStopWithFullSpool(t *testing.T) {
	for _, follows := range []bool{false, true} {
		t.Run(fmt.Sprintf("follows=%v", follows), func(t *testing.T) { stopWithFullSpool(t, follows) })
	}
}

func stopWithFullSpool(t *testing.T, follows bool) {
	l := newLab(t)
	l.cfg.Spool.MaxBytes = 8 * size.MiB
	l.cfg.Forward.Grace = 20 * time.Second
	l.recv.Kill()
	l.start()
	id := l.container(1)
	dir := filepath.Join(l.cfg.Sources.Containers.Root, id)
	var text bytes.Buffer
	const lines = 14000
	pad := bytes.Repeat([]byte("x"), 1000)
	for i := range lines {
		_, _ = fmt.Fprintf(&text, `{"log":"%d %s\n","stream":"stdout","time":"2026-11-21T09:00:00.%09dZ"}`+"\n", i, pad, i*50000)
	}
	if err := os.WriteFile(filepath.Join(dir, id+"-json.log"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); l.f.Status().Spool.Full == ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the spool does not fill: %+v", l.f.Status())
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := l.recv.Restart(); err != nil {
		t.Fatal(err)
	}
	if follows {
		l.f.HandOver()
		l.stop()
		l.start()
		for end := time.Now().Add(time.Minute); l.f.Status().Spool.PendingFrames > 0 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{} // the batch on its way at a hand-over comes twice
	for _, text := range l.got[id] {
		seen[text] = true
	}
	if len(seen) != lines {
		t.Errorf("%d lines arrived, want %d", len(seen), lines)
	}
}
