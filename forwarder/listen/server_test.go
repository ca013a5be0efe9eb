package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/internal/handshake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink writes down what it takes, while it is open.
type sink struct {
	mu     sync.Mutex
	got    []string
	synced uint64
	full   chan struct{} // not nil: it takes nothing until it is closed
}

func (s *sink) Take(ctx context.Context, _ *Conn, entries []Entry) (uint64, error) {
	s.mu.Lock()
	full := s.full
	s.mu.Unlock()
	if full != nil {
		select {
		case <-full:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		_, rest, _ := payload(e.Record[1:])
		v, _, _ := payload(rest)
		s.got = append(s.got, string(v))
	}
	return uint64(len(s.got)), nil
}

func (s *sink) Sync(_ context.Context, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = max(s.synced, seq)
	return nil
}

func (s *sink) await(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s.mu.Lock()
		got = append([]string(nil), s.got...)
		s.mu.Unlock()
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	t.Fatalf("got %.500q, want %.500q", got, want)
}

type rig struct {
	*Server
	sink *sink
	m    *Metrics
	stop func() *Sockets
}

func start(t *testing.T, cfg Config, s *sink, in *Sockets, k Keeper) *rig {
	t.Helper()
	r := &rig{sink: s, m: NewMetrics(prometheus.NewRegistry())}
	began := time.Now()
	r.Server = New(cfg, s, func() int64 { return int64(time.Since(began)) + 1 }, slog.New(slog.DiscardHandler), r.m, in, k)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() *Sockets {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return r.Sockets()
	})
	t.Cleanup(func() { r.stop().Close() })
	<-r.Opened()
	return r
}

func socket(t *testing.T) Config { return Config{Unix: filepath.Join(t.TempDir(), "s")} }

func dial(t *testing.T, cfg Config) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", cfg.Unix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func send(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
}

func event(text, chunk string) []byte {
	if chunk == "" {
		return array(str("t"), msgp.AppendInt(nil, 7), record("k", text))
	}
	return array(str("t"), msgp.AppendInt(nil, 7), record("k", text), options(chunk, "text"))
}

func TestAcksComeInOrderAndAfterTheSync(t *testing.T) {
	cfg := socket(t)
	r := start(t, cfg, &sink{}, nil, nil)
	c := dial(t, cfg)
	send(t, c, bytes.Join([][]byte{event("a", "1"), event("b", ""), event("c", "2")}, nil))
	got := make([]byte, 2*7)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if want := "\x81\xa3ack\xa11\x81\xa3ack\xa12"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.sink.await(t, "a", "b", "c")
	if r.sink.synced != 3 {
		t.Errorf("synced %d, want 3", r.sink.synced)
	}
}

// What breaks the protocol ends its connection, and nothing else: what came before it arrives.
func TestHostilePeers(t *testing.T) {
	cfg := socket(t)
	r := start(t, cfg, &sink{}, nil, nil)
	bomb := array(str("t"), msgp.AppendBytes(nil, gzipped(bytes.Repeat([]byte{0x92, 0, 0x80}, 3<<20))), options("c", "gzip"))
	var want []string
	for name, p := range map[string][]byte{
		"http": []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "length": {0x92, 0xa1, 't', 0xc6, 0xff, 0xff, 0xff, 0xff}, "bomb": bomb,
		"deep": bytes.Repeat([]byte{0x91}, 1<<20), "malformed": {0xc1}, "json": []byte(`{"a":1}`),
	} {
		c := dial(t, cfg)
		send(t, c, event(name, ""))
		_, _ = c.Write(p) // it may be refused before it has read all
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the connection is not closed: %v", name, err)
		}
		want = append(want, name)
		r.sink.await(t, want...)
	}
	if got := testutil.ToFloat64(r.m.refused.WithLabelValues(refusedTooLarge)); got != 2 {
		t.Errorf("%v refused as too large, want 2", got)
	}
	if got := testutil.ToFloat64(r.m.refused.WithLabelValues(refusedMalformed)); got != 4 {
		t.Errorf("%v refused as malformed, want 4", got)
	}
}

// A message in many small writes, and one far larger than a socket holds, followed by another in the same write.
func TestPieces(t *testing.T) {
	cfg := socket(t)
	r := start(t, cfg, &sink{}, nil, nil)
	c := dial(t, cfg)
	for _, b := range event("slow", "") {
		send(t, c, []byte{b})
	}
	large := strings.Repeat("x", 5<<20)
	send(t, c, append(event(large, "1"), event("after", "2")...))
	got := make([]byte, 2*7)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	r.sink.await(t, "slow", large, "after")
	if r.memory.large != 0 {
		t.Errorf("%d bytes are still reserved", r.memory.large)
	}
}

// A client that ends within a message is told of, and so is one that sends nothing but a beginning.
func TestCutOff(t *testing.T) {
	cfg := socket(t)
	r := start(t, cfg, &sink{}, nil, nil)
	c := dial(t, cfg)
	p := event("lost", "")
	send(t, c, append(event("whole", ""), p[:len(p)-1]...))
	r.sink.await(t, "whole")
	_ = c.Close()
	for deadline := time.Now().Add(time.Minute); testutil.ToFloat64(r.m.refused.WithLabelValues(refusedCut)) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not counted")
		}
	}
}

// While the sink is full nothing is read, so the client is held up; at the stop what it wrote is still in the socket, for the next
// server. Half a message stays with its beginning.
func TestHandover(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			cfg := socket(t)
			s := &sink{full: make(chan struct{})}
			first := start(t, cfg, s, nil, nil)
			c := dial(t, cfg)
			send(t, c, event("a", ""))
			half := event(strings.Repeat("h", size), "")
			written := make(chan error, 1)
			go func() {
				_, err := c.Write(append(event("b", "1"), half[:len(half)-1]...))
				written <- err
			}()
			if size > 1<<16 { // more than the socket holds
				close(s.full)
				s.mu.Lock()
				s.full = nil
				s.mu.Unlock()
				s.await(t, "a", "b")
				if err := <-written; err != nil {
					t.Fatal(err)
				}
			}
			sockets := first.stop()
			if s.full != nil {
				close(s.full)
				s.mu.Lock()
				s.full = nil
				s.mu.Unlock()
				if err := <-written; err != nil {
					t.Fatal(err)
				}
			}
			waiting := dial(t, cfg) // nobody listens, but it is not refused
			send(t, waiting, event("w", "1"))
			second := start(t, cfg, s, sockets, nil)
			if _, err := io.ReadFull(waiting, make([]byte, 7)); err != nil {
				t.Fatal(err)
			}
			send(t, c, half[len(half)-1:])
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				s.mu.Lock()
				got := map[string]int{}
				for _, g := range s.got {
					got[g]++
				}
				s.mu.Unlock()
				if len(got) == 4 && got["a"] == 1 && got["b"] == 1 && got["w"] == 1 && got[strings.Repeat("h", size)] == 1 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("got %d texts: %.300v", len(got), got)
				}
			}
			second.stop()
		})
	}
}

func TestSharedKey(t *testing.T) {
	cfg := socket(t)
	cfg.SharedKey = "secret"
	r := start(t, cfg, &sink{}, nil, nil)
	c := dial(t, cfg)
	if _, err := (handshake.Client{Hostname: "client", SharedKey: "secret"}).Do(c); err != nil {
		t.Fatal(err)
	}
	send(t, c, event("a", ""))
	r.sink.await(t, "a")
	var refused *handshake.RefusedError
	if _, err := (handshake.Client{Hostname: "client", SharedKey: "wrong"}).Do(dial(t, cfg)); !errors.As(err, &refused) {
		t.Errorf("a wrong key: %v, want that it is refused", err)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %q", cfg, cfg, cfg.SharedKey), "secret\"") {
		t.Error("the key can be printed")
	}
}

// Where as many are connected as may be, who comes waits for room: what it has sent already would be lost with a refusal. Where they stay, it is
// refused in the end.
func TestRoom(t *testing.T) {
	most, wait := maxConns, roomWait
	maxConns, roomWait = 2, time.Second
	t.Cleanup(func() { maxConns, roomWait = most, wait })
	cfg, s := socket(t), &sink{}
	r := start(t, cfg, s, nil, nil)
	t.Cleanup(func() { r.stop().Close() }) // before the limits are as they were
	idle := []net.Conn{dial(t, cfg), dial(t, cfg)}
	for _, c := range idle {
		send(t, c, event("first", ""))
	}
	for i := range 5 { // each goes when it has sent
		c := dial(t, cfg)
		send(t, c, event(fmt.Sprint(i), ""))
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond)
	if err := idle[0].Close(); err != nil {
		t.Fatal(err)
	}
	s.await(t, "first", "first", "0", "1", "2", "3", "4")
	dial(t, cfg)
	late := dial(t, cfg)
	if _, err := late.Read(make([]byte, 1)); err == nil {
		t.Error("one too many is not refused")
	}
	if n := testutil.ToFloat64(r.m.refused.WithLabelValues(refusedTooMany)); n != 1 {
		t.Errorf("%v refused, want 1", n)
	}
}

// A Message that comes again, on whatever connection, is acked and not passed on; one that only looks like it is another.
func TestSentAgain(t *testing.T) {
	cfg := socket(t)
	r := start(t, cfg, &sink{}, nil, nil)
	acked := func(text, chunk string) {
		t.Helper()
		c := dial(t, cfg)
		defer c.Close()
		send(t, c, event(text, chunk))
		want := string(appendAck(nil, str(chunk)))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	const chunk = "cf0BawAAAACsGqNBTZN53Q=="
	acked("one", chunk)
	acked("one", chunk)
	acked("two", chunk)
	acked("three", "short")
	acked("three", "short")
	r.sink.await(t, "one", "two", "three", "three")
	r.sink.mu.Lock()
	synced := r.sink.synced
	r.sink.mu.Unlock()
	if got := testutil.ToFloat64(r.m.resent); got != 1 || synced != 4 {
		t.Errorf("%v sent again, synced %d; want 1 and 4", got, synced)
	}
	var ids []uint64
	for i := range len(r.resent.ids) {
		ids = append(ids, uint64(i)<<1|1)
	}
	r.resent.add(ids, 9)
	acked("one", chunk) // too long ago
	r.sink.await(t, "one", "two", "three", "three", "one")
	if got := len(r.resent.seqs); got != len(r.resent.ids) {
		t.Errorf("%d are known, want %d", got, len(r.resent.ids))
	}
}
