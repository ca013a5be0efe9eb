package forwarder

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/internal/receiver"
)

func TestMain(m *testing.M) {
	if env := os.Getenv(childEnv); env != "" {
		if err := runChild(env); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// lab is a host: a folder of containers, a receiver, and one forwarder at a time.
type lab struct {
	t    *testing.T
	dir  string
	recv *receiver.Receiver
	cfg  Config

	mu  sync.Mutex
	got map[string][]string // texts by container or path, in order of arrival
	in  map[string][]string // the chunks they came in

	each func(*receiver.Event) // if set before the start, is told each event

	stop    func()
	f       *Forwarder
	taps    *Taps
	sockets *listen.Sockets // of the life before; nil: none, or those of a process that was killed
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, dir: t.TempDir(), got: map[string][]string{}, in: map[string][]string{}}
	var err error
	l.recv, err = receiver.Listen("127.0.0.1:0", func(e *receiver.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		from := string(e.Field("container_id"))
		if from == "" {
			from = string(e.Field("source"))
		}
		l.got[from] = append(l.got[from], string(e.Field("log")))
		l.in[from] = append(l.in[from], e.Chunk)
		if l.each != nil {
			l.each(e)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.recv.Close() })
	l.cfg = DefaultConfig()
	l.cfg.Forward.To = []Endpoint{{Address: l.recv.Addr()}}
	l.cfg.Forward.Grace = 5 * time.Second
	l.cfg.Spool.Dir = filepath.Join(l.dir, "spool")
	l.cfg.Spool.MinFree = 0
	l.cfg.Sources.Listen = listen.Config{}
	l.cfg.Sources.Host.Enabled, l.cfg.Sources.Journal.Units = false, nil
	l.cfg.Sources.Containers.Root = filepath.Join(l.dir, "containers")
	l.cfg.Sources.RotateWait = 200 * time.Millisecond
	if err := os.Mkdir(l.cfg.Sources.Containers.Root, 0o700); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) start() {
	l.t.Helper()
	var w testWriter
	w.t = l.t
	f, err := New(l.cfg, slog.New(slog.NewTextHandler(&w, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	if err != nil {
		l.t.Fatal(err)
	}
	f.Inherit(l.sockets, nil)
	f.Show(l.taps)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	select {
	case <-f.Ready():
	case err := <-done:
		l.t.Fatal(err)
	}
	l.f = f
	stopped := false
	l.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("run: %v", err)
		}
		l.sockets = f.Sockets()
		w.silence()
	}
	l.t.Cleanup(func() {
		l.stop()
		l.sockets.Close()
	})
}

type testWriter struct {
	mu  sync.Mutex
	t   *testing.T
	off bool
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.off {
		w.t.Log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (w *testWriter) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = true
}

func (l *lab) container(n int) string {
	l.t.Helper()
	id := fmt.Sprintf("%064x", n)
	dir := filepath.Join(l.cfg.Sources.Containers.Root, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(fmt.Sprintf(`{"Name":"/web-%d"}`, n)), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return id
}

func (l *lab) log(id string) string {
	return filepath.Join(l.cfg.Sources.Containers.Root, id, id+"-json.log")
}

func jsonRecord(stream, text string, t int64) string {
	b, err := json.Marshal(struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}{text, stream, time.Unix(0, t).UTC()})
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

func (l *lab) append(path, text string) {
	l.t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		l.t.Fatal(err)
	}
}

// await waits until the texts of a container are as wanted.
func (l *lab) await(from string, want ...string) {
	l.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		l.mu.Lock()
		got := append([]string(nil), l.got[from]...)
		l.mu.Unlock()
		if fmt.Sprintf("%q", got) == fmt.Sprintf("%q", want) {
			return
		}
		if time.Now().After(deadline) {
			l.mu.Lock()
			in := l.in[from]
			l.mu.Unlock()
			l.t.Fatalf("got  %.3000q\nwant %.3000q\nin chunks %.3000q\nstatus %+v", got, want, in, l.f.Status())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// until waits until something is so.
func (l *lab) until(what string, so func() bool) {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("never: %s; status %+v", what, l.f.Status())
		}
	}
}

func (l *lab) balanced() {
	l.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		st := l.f.Status()
		if st.Ledger.Imbalance == 0 && st.Spool.PendingFrames == 0 && st.Ledger.Building == 0 {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("the books do not balance: %+v", st)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func numbered(from, to int) (lines []string) {
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf("line number %d", i))
	}
	return lines
}

func records(lines []string, stream string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(jsonRecord(stream, line+"\n", time.Now().UnixNano()))
	}
	return b.String()
}

func TestContainerToFluentd(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	l.append(l.log(id), records(numbered(0, 10), "stdout"))
	l.start()
	l.await(id, numbered(0, 10)...)
	l.append(l.log(id), records(numbered(10, 20), "stdout"))
	l.await(id, numbered(0, 20)...)
	late := l.container(2) // after the start
	l.append(l.log(late), records(numbered(0, 5), "stderr"))
	l.await(late, numbered(0, 5)...)
	l.balanced()
}

func TestRestartRepeatsNothing(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	l.append(l.log(id), records(numbered(0, 10), "stdout"))
	l.start()
	l.await(id, numbered(0, 10)...)
	l.stop()
	l.append(l.log(id), records(numbered(10, 15), "stdout"))
	if err := os.Rename(l.log(id), l.log(id)+".1"); err != nil {
		t.Fatal(err)
	}
	l.append(l.log(id), records(numbered(15, 20), "stdout"))
	l.start()
	l.await(id, numbered(0, 20)...)
	l.balanced()
}

const trace = "F, [2026-11-21T09:17:17.804514 #1] FATAL -- : [a8b6d2d5-0000-4000-8000-000000000001]   \n" +
	"[a8b6d2d5-0000-4000-8000-000000000001] RuntimeError (no stock):\n" +
	"[a8b6d2d5-0000-4000-8000-000000000001]   \n" +
	"[a8b6d2d5-0000-4000-8000-000000000001] app/models/order.rb:3:in `take'\n" +
	"[a8b6d2d5-0000-4000-8000-000000000001] app/controllers/orders_controller.rb:21:in `invoice'"

// A trace is whole though it lies in two files and the forwarder was stopped in the middle of it.
func TestTraceAcrossRotationAndRestart(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	parts := strings.SplitAfter(trace+"\n", "\n")
	at := time.Now().UnixNano()
	head := "I, [2026-11-21T09:17:17.804000 #1]  INFO -- : [a8b6d2d5-0000-4000-8000-000000000001] Completed 500 Internal Server Error in 1ms"
	l.append(l.log(id), jsonRecord("stdout", head+"\n", at)+jsonRecord("stdout", parts[0], at)+jsonRecord("stdout", parts[1], at))
	l.start()
	l.await(id, head)
	l.stop()
	l.append(l.log(id), jsonRecord("stdout", parts[2], at))
	l.start()
	if err := os.Rename(l.log(id), l.log(id)+".1"); err != nil {
		t.Fatal(err)
	}
	l.append(l.log(id), jsonRecord("stdout", parts[3], at))
	time.Sleep(100 * time.Millisecond)
	l.append(l.log(id), jsonRecord("stdout", parts[4], at)+jsonRecord("stdout", "I, [2026-11-21T09:17:18.804000 #1]  INFO -- : [b] next\n", at))
	l.await(id, head, trace, "I, [2026-11-21T09:17:18.804000 #1]  INFO -- : [b] next")
	l.balanced()
}

func TestRemovedContainer(t *testing.T) {
	l := newLab(t)
	l.start()
	for n := range 20 {
		id := l.container(n)
		l.append(l.log(id), records(numbered(0, 50), "stdout")+jsonRecord("stderr", "the last words", time.Now().UnixNano()))
		l.until("the log is open", func() bool {
			return slices.ContainsFunc(l.f.Status().Sources, func(s SourceStatus) bool { return s.Path == l.log(id) && s.Files > 0 })
		})
		if err := os.RemoveAll(filepath.Dir(l.log(id))); err != nil {
			t.Fatal(err)
		}
		l.await(id, append(numbered(0, 50), "the last words")...)
	}
	l.balanced()
	l.until("no sources are left", func() bool { return len(l.f.Status().Sources) == 0 })
}

func TestOddInput(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	at := time.Now().UnixNano()
	long := strings.Repeat("x", 300<<10)
	piece := strings.Repeat("p", 16384)
	l.append(l.log(id), jsonRecord("stdout", "one\n", at)+
		"not json at all\n"+
		strings.Repeat("\x00", 3000)+jsonRecord("stdout", "after zeros\n", at+1)+
		`{"log":"cut li`+jsonRecord("stdout", "after a cut\n", at+2)+
		jsonRecord("stdout", piece, at+3)+jsonRecord("stderr", "between\n", at+4)+jsonRecord("stdout", piece, at+3)+jsonRecord("stdout", "end\n", at+3)+
		long+"\n"+
		strings.Repeat("\x00", 1<<20)+
		"\xff\xfe bad bytes\n"+
		jsonRecord("stdout", "last\n", at+5))
	l.start()
	l.await(id, "one", "not json at all", "after zeros", `{"log":"cut li`, "after a cut", "between", piece+piece+"end", long, "\ufffd\ufffd bad bytes", "last")
	l.balanced()
}

func TestPlainFiles(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "app") // is not there yet
	l.cfg.Sources.Files = []Files{{Path: filepath.Join(dir, "*.log*"), Tag: "app"}}
	l.start()
	time.Sleep(50 * time.Millisecond)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.log")
	l.append(path, strings.Join(numbered(0, 10), "\n")+"\nhalf a li")
	l.await(path, numbered(0, 10)...)
	l.append(path, "ne\n")
	l.await(path, append(numbered(0, 10), "half a line")...)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.append(path, "after rotation\n")
	l.await(path, append(numbered(0, 10), "half a line", "after rotation")...)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	l.append(path, "x\n")
	l.await(path, append(numbered(0, 10), "half a line", "after rotation", "x")...)
	l.balanced()
}

// The spool is full: reading waits, nothing is lost, and it goes on when there is room.
func TestFullSpool(t *testing.T) {
	l := newLab(t)
	l.cfg.Spool.MaxBytes = 8 << 20
	id := l.container(1)
	want := make([]string, 0, 30000)
	for i := range 30000 {
		want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("y", 500)))
	}
	l.recv.Set(receiver.Behaviour{Refuse: true})
	l.append(l.log(id), records(want, "stdout"))
	l.start()
	l.until("the spool is full", func() bool { return l.f.Status().Spool.Full != "" })
	l.recv.Set(receiver.Behaviour{})
	l.await(id, want...)
	l.balanced()
}
