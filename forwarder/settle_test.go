package forwarder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	fluentlogger "github.com/fluent/fluent-logger-golang/fluent"

	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/internal/size"
)

// arrived is how many events came from there.
func (l *lab) arrived(from string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got[from])
}

// Settle ends when all that was written before the call is acked, and does not wait for what is written meanwhile.
func TestSettle(t *testing.T) {
	l := newLab(t)
	id, busy := l.container(1), l.container(2)
	lines := numbered(0, 20000)
	l.append(l.log(id), records(lines, "stdout"))
	l.recv.Set(receiver.Behaviour{AckDelay: 300 * time.Millisecond})
	l.start()
	written := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(written)
		for i := 0; ctx.Err() == nil; i++ {
			l.append(l.log(busy), records([]string{fmt.Sprint("busy ", i)}, "stdout"))
			time.Sleep(time.Millisecond)
		}
	}()
	within, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := l.f.Settle(within)
	n := l.arrived(id)
	stop()
	<-written
	if err != nil || n != len(lines) {
		t.Fatalf("settled with %d of %d: %v", n, len(lines), err)
	}

	l.recv.Set(receiver.Behaviour{NoAcks: true})
	l.append(l.log(id), records([]string{"more"}, "stdout"))
	short, cancelShort := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancelShort()
	if err := l.f.Settle(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing is acked: %v", err)
	}
	l.recv.Set(receiver.Behaviour{})
	l.recv.DropConnections()
	ended := make(chan error, 1)
	go func() { ended <- l.f.Settle(context.Background()) }()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	l.stop()
	if err := l.f.Settle(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
}

// On a host that is about to end, what would wait for more is brought out: a line without an end, a trace in the middle, in files and of
// clients.
func TestSettleLeaving(t *testing.T) {
	l := newLab(t)
	path := filepath.Join(l.dir, "app.log")
	l.cfg.Sources.Files = []Files{{Path: path, Tag: "app"}}
	l.cfg.Sources.Listen = listen.Config{TCP: "127.0.0.1:0"}
	l.cfg.Fold.Wait = 5 * time.Second // longer than any wait but its own
	l.start()
	l.append(path, "one\nhalf a li")
	client := l.client(fluentlogger.Config{RequestAck: true})
	l.post(client, time.Now(), docker("c1", "stderr", "E, [2026-11-21T09:00:00.000000 #1] ERROR -- : RuntimeError (boom):"))
	l.post(client, time.Now(), docker("c1", "stderr", "app/models/a.rb:1:in `a'"))
	l.await(path, "one")
	time.Sleep(time.Second)
	if err := l.f.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.await(path, "one") // the host goes on: the rest of the line may come
	l.f.Leave(true)
	if err := l.f.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.await(path, "one", "half a li")
	l.await("c1", "E, [2026-11-21T09:00:00.000000 #1] ERROR -- : RuntimeError (boom):\napp/models/a.rb:1:in `a'")
	l.balanced()
}

// A stop on a host that is about to end leaves nothing before the marks, however it comes.
func TestStopLeaving(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	path := filepath.Join(l.dir, "app.log")
	l.cfg.Sources.Files = []Files{{Path: path, Tag: "app"}}
	l.cfg.Fold.Wait = 10 * time.Second
	l.start()
	at := time.Now().UnixNano()
	var want strings.Builder
	for i, line := range strings.SplitAfter(trace+"\n", "\n") {
		if line != "" {
			l.append(l.log(id), jsonRecord("stdout", line, at+int64(i)))
			want.WriteString(line)
		}
	}
	until(t, "the trace is read", func() bool {
		st := l.f.Status()
		return slices.ContainsFunc(st.Sources, func(s SourceStatus) bool { return s.Lines == 5 })
	})
	l.f.Leave(true)
	l.append(path, "written in the last moment, without an end")
	until(t, "the file is found", func() bool { return len(l.f.Status().Sources) == 2 })
	l.stop()
	l.await(id, strings.TrimSuffix(want.String(), "\n"))
	l.await(path, "written in the last moment, without an end")
}

// What is spilled is whole and is replayed, and what the spool had no room for before is in it.
func TestSpill(t *testing.T) {
	l := newLab(t)
	l.cfg.Spool.MaxBytes = 8 * size.MiB
	id := l.container(1)
	var want []string
	for i := range 11000 {
		want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("y", 1000)))
	}
	l.recv.Set(receiver.Behaviour{Refuse: true})
	l.append(l.log(id), records(want, "stdout")+jsonRecord("stdout", trace[:strings.LastIndexByte(trace, '\n')+1], time.Now().UnixNano()))
	l.start()
	until(t, "the spool is full", func() bool { return l.f.Status().Spool.Full != "" })
	l.f.Leave(true)
	var parts [][]byte
	var events, frames int64
	if err := l.f.Spill(t.Context(), 20*time.Second, func(s Spilled) error {
		text, err := io.ReadAll(s.Open())
		again, _ := io.ReadAll(s.Open())
		if err != nil || int64(len(text)) != s.Bytes || !bytes.Equal(text, again) {
			t.Errorf("a part of %d bytes, read %d and %d: %v", s.Bytes, len(text), len(again), err)
		}
		parts, events, frames = append(parts, text), events+s.Events, frames+s.Frames
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if events != int64(len(want))+1 || len(parts) < 2 {
		t.Errorf("%d events in %d parts, want %d", events, len(parts), len(want)+1)
	}
	l.f.Hurry()
	l.stop()

	other := newLab(t) // another host
	other.cfg.Sources.Containers.Enabled = false
	other.start()
	for _, text := range parts {
		if err := ReadReplay(bytes.NewReader(text), int64(len(text)), func(_ int64, record []byte) error {
			_, err := other.f.Replay(t.Context(), bytes.NewReader(record))
			frames--
			return err
		}, func(problem string) { t.Error(problem) }); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all is replayed", func() bool { return other.arrived(id) == len(want)+1 })
	other.mu.Lock()
	defer other.mu.Unlock()
	if got := other.got[id]; !slices.Equal(got[:len(want)], want) || frames != 0 {
		t.Errorf("not what was written; frames %d", frames)
	}
}

// With no time left, what is in the spool is spilled all the same.
func TestSpillInAHurry(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	l.recv.Kill()
	l.start()
	l.append(l.log(id), records(numbered(0, 100), "stdout"))
	until(t, "all is read", func() bool { return l.f.Status().Spool.PendingEvents == 100 })
	n := int64(0)
	if err := l.f.Spill(t.Context(), 0, func(s Spilled) error { n += s.Events; return nil }); err != nil || n != 100 {
		t.Errorf("%d events, %v", n, err)
	}
	if err := l.f.Spill(t.Context(), 0, func(Spilled) error { return spool.ErrFull }); !errors.Is(err, spool.ErrFull) {
		t.Errorf("a part that cannot be put: %v", err)
	}
	l.f.Hurry()
}

// What clients sent and a full spool had no room for is in no file: it is waited for like the rest.
func TestSettleFull(t *testing.T) {
	l := newLab(t)
	l.cfg.Spool.MaxBytes = 8 * size.MiB
	l.cfg.Sources.Listen = listen.Config{TCP: "127.0.0.1:0"}
	l.recv.Set(receiver.Behaviour{Refuse: true})
	l.start()
	client := l.client(fluentlogger.Config{WriteTimeout: 100 * time.Millisecond, MaxRetry: 1})
	long := strings.Repeat("y", 10_000)
	full := func() bool {
		st := l.f.Status()
		return st.Spool.Full != "" && st.Ledger.Building > 0
	}
	for by := time.Now().Add(20 * time.Second); !full() && time.Now().Before(by); {
		_ = client.PostWithTime("app", time.Now(), map[string]string{"log": long}) // it is not taken at last
	}
	if !full() {
		t.Fatalf("%+v", l.f.Status())
	}
	had := l.f.Status().Ledger.Received
	ended := make(chan error, 1)
	go func() { ended <- l.f.Settle(t.Context()) }()
	time.Sleep(l.cfg.Fold.Wait + settleFolds + time.Second)
	l.recv.Set(receiver.Behaviour{})
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if st := l.f.Status(); st.Ledger.Acked < had {
		t.Errorf("settled with %d of %d events acknowledged", st.Ledger.Acked, had)
	}
}
