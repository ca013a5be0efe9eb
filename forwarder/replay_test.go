package forwarder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/internal/size"
)

// frameRecord is a sealed frame of one event, with a mark.
func frameRecord(tag, text string) *spool.Record {
	var b fluent.Builder
	b.Reset(tag, spool.HeaderBytes)
	b.Add(1, [][]byte{[]byte(text)}, nil, fluent.Extra{})
	b.Seal()
	return &spool.Record{Buf: spool.AppendMark(b.Buf, "k", []byte(text)), Frame: len(b.Frame()), Events: b.Events()}
}

// TestSetAsideAndReplay takes a frame out of the way as the sender does, with a later one of its tag acked first, and brings it back:
// everything arrives, once, and the positions stay what they were.
func TestSetAsideAndReplay(t *testing.T) {
	dir := t.TempDir()
	cfg := spool.Config{Dir: dir, MaxBytes: 8 * size.MiB, WhenFull: spool.WhenFullWait, SyncAfter: time.Second}
	sp, err := spool.Open(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = sp.Run(ctx) })
	if _, err := sp.Append([]*spool.Record{frameRecord("a", "1"), frameRecord("b", "2"), frameRecord("a", "3"), frameRecord("b", "4")}); err != nil {
		t.Fatal(err)
	}
	q := newQueue(sp)
	frames, err := q.Next(nil, 1, 1<<20)
	if err != nil || len(frames) != 1 {
		t.Fatal(frames, err)
	}
	q.Rewind()
	f, ok, err := q.Later(frames[0].Seq)
	if err != nil || !ok || f.Seq != frames[0].Seq+2 {
		t.Fatalf("later %+v, %v, %v", f, ok, err)
	}
	b := make([]byte, f.Len)
	if _, err := f.File.ReadAt(b, f.Off); err != nil || fluent.CheckFrame(b) != nil {
		t.Fatal(err, fluent.CheckFrame(b))
	}
	if err := errors.Join(q.AckAlone(f.Seq), q.SetAside(frames[0].Seq)); err != nil {
		t.Fatal(err)
	}
	paths, n, err := spool.SetAsideFiles(dir)
	if err != nil || len(paths) != 1 || n == 0 {
		t.Fatal(paths, n, err)
	}

	marks := fmt.Sprint(sp.Marks())
	kept, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if done, err := replay(ctx, sp, bytes.NewReader(kept)); err != nil || done.Frames != 1 || done.Events != 1 {
		t.Fatal(done, err)
	}
	if st := sp.Stats(); st.SyncedSeq < st.LastSeq || st.Replayed != 1 || fmt.Sprint(sp.Marks()) != marks {
		t.Fatalf("%+v, marks %v, want %v", st, sp.Marks(), marks)
	}
	for name, damaged := range map[string][]byte{"cut": kept[:len(kept)-1], "flipped": append(bytes.Clone(kept[:60]), append([]byte{kept[60] ^ 1}, kept[61:]...)...)} {
		if done, err := replay(ctx, sp, io.MultiReader(bytes.NewReader(kept), bytes.NewReader(damaged))); err == nil || done.Frames != 1 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
	}

	var got []string
	var mu sync.Mutex
	recv, err := receiver.Listen("127.0.0.1:0", func(e *receiver.Event) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(e.Field("log")))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer recv.Close()
	to := fluent.DefaultConfig()
	to.To = []fluent.Endpoint{{Address: recv.Addr()}}
	sender := fluent.NewSender(to, q, slog.New(slog.DiscardHandler), fluent.NewMetrics(nil))
	running.Go(func() { _ = sender.Run(ctx) })
	for end := time.Now().Add(time.Minute); sp.Stats().PendingFrames > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", sp.Stats())
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"2", "4", "1", "1", "1"}; !slices.Equal(got, want) {
		t.Fatalf("arrived %v, want %v", got, want)
	}
}
