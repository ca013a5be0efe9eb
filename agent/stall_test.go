package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// watched is systemd as far as it wants signs of life.
type watched struct {
	*testing.T
	conn *net.UnixConn
}

func newWatched(t *testing.T, watchdog time.Duration) *watched {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	return &watched{t, conn}
}

// fed counts the signs of life that come within d.
func (s *watched) fed(d time.Duration) (n int) {
	s.Helper()
	buf := make([]byte, 4096)
	for end := time.Now().Add(d); ; {
		_ = s.conn.SetReadDeadline(end)
		m, err := s.conn.Read(buf)
		if err != nil {
			return n
		}
		if bytes.HasPrefix(buf[:m], []byte("WATCHDOG=1\n")) {
			n++
		}
	}
}

// until waits until so is true of the signs of life within some span of time.
func (s *watched) until(what string, span time.Duration, so func(n int) bool) {
	s.Helper()
	for end := time.Now().Add(time.Minute); ; {
		n := s.fed(span)
		if so(n) {
			return
		}
		if time.Now().After(end) {
			s.Fatalf("the watchdog: never %s: %d times in %v", what, n, span)
		}
	}
}

// hang is a log that hangs at a message, as one does whose reader is stuck: who logs it stands still.
type hang struct {
	slog.Handler
	at      string
	release chan struct{}
	once    *sync.Once
	hung    chan struct{}
}

func (h hang) Handle(ctx context.Context, r slog.Record) error {
	if h.at != "" && r.Message == h.at {
		h.once.Do(func() { close(h.hung) })
		<-h.release
	}
	return h.Handler.Handle(ctx, r)
}

func (h hang) WithAttrs(a []slog.Attr) slog.Handler { h.Handler = h.Handler.WithAttrs(a); return h }

const impatientEnv = "FAIRLEAD_TEST_IMPATIENT" // set in a child that is to be impatient

// impatient makes what takes half a minute take a second.
func impatient(a *Agent) {
	a.monitor.Slack, a.monitor.Chance = time.Second, 50*time.Millisecond
}

func verdict(t *testing.T, text string) (v Verdict) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A loop that stands still is seen at /healthz and /readyz, and systemd hears nothing until it turns again.
func TestStalledLoop(t *testing.T) {
	for _, c := range []struct {
		name, at string // where the log hangs
		loop     string
	}{
		{"reading", "log file was truncated or rewritten; read from its start", "reading loop"},
		{"sending", "cannot deliver to fluentd", "sender"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sd := newWatched(t, 100*time.Millisecond)
			h := hang{slog.NewTextHandler(t.Output(), nil), c.at, make(chan struct{}), &sync.Once{}, make(chan struct{})}
			dir := t.TempDir()
			d := startWith(t, fmt.Sprintf("forward: {to: [%q], grace: 0s, ack_timeout: 1s, connect_timeout: 100ms}\n"+
				"sources: {containers: {enabled: false}, files: [{path: %s/app.log, tag: app}]}\nspool: {min_free: 0}\n", deadPort(t), dir), h, impatient, nil)
			released := sync.OnceFunc(func() { close(h.release) })
			t.Cleanup(released)
			path := filepath.Join(dir, "app.log")
			if c.name == "reading" {
				d.get(t, "/metrics", 200, "fairlead_tail_files 0")
				if err := os.WriteFile(path, []byte("a line\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				d.get(t, "/metrics", 200, "fairlead_tail_lines_total 1")
				if err := os.Truncate(path, 0); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-h.hung:
			case <-time.After(time.Minute):
				t.Fatalf("never logged: %s", c.at)
			}
			for _, path := range []string{"/healthz", "/readyz"} {
				// A sender that hangs in its log keeps the reading loop from its part of the sending too.
				v := verdict(t, d.get(t, path, 503, "the "+c.loop+" stands still"))
				if slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Code != LoopStalled }) {
					t.Errorf("%s: %+v, want nothing but stalls", path, v)
				}
			}
			// What was begun to be told when the loop was not known to stand still ends with the wait for a status.
			sd.until("hears nothing", answerWithin+2*time.Second, func(n int) bool { return n == 0 })
			released()
			d.get(t, "/healthz", 200, "")
			sd.until("is fed after the loop turned again", 500*time.Millisecond, func(n int) bool { return n >= 3 })
		})
	}
}

// Outages of the receiver are no stall of ours: the watchdog is fed however long they last, and /readyz says why.
func TestOutageIsNoStall(t *testing.T) {
	for _, c := range []struct {
		name string
		to   func(t *testing.T) string
		want Code
	}{
		{"nobody listens", deadPort, Unreachable},
		{"accepts and is silent", silentPort, Unreachable},
		{"does not accept", stoppedPort, Unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			sd := newWatched(t, 100*time.Millisecond)
			dir := t.TempDir()
			d := startWith(t, fmt.Sprintf("forward: {to: [%q], grace: 0s, ack_timeout: 1s, heartbeat: 1s, connect_timeout: 100ms}\n"+
				"sources: {containers: {enabled: false}, files: [{path: %s/app.log, tag: app}]}\nspool: {min_free: 0, max_bytes: 8MiB}\n", c.to(t), dir),
				slog.NewTextHandler(t.Output(), nil), impatient, os.WriteFile(filepath.Join(dir, "app.log"), bytes.Repeat([]byte("0123456789abcdef0123456789abcde\n"), 1<<19), 0o600))
			v := verdict(t, d.get(t, "/readyz", 503, string(c.want)))
			d.get(t, "/readyz", 503, string(SpoolFull))
			sd.fed(100 * time.Millisecond)
			for range 3 { // each longer than the slack
				if n := sd.fed(1200 * time.Millisecond); n < 3 {
					t.Errorf("the watchdog was fed %d times in over a second, with %+v", n, v)
				}
				d.get(t, "/healthz", 200, "")
			}
		})
	}
}

// A process that was stopped for long is not judged before its loops had the chance to move.
func TestStoppedProcess(t *testing.T) {
	sd := newWatched(t, 100*time.Millisecond)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	dir := write(t, map[string]string{"f.yaml": "forward: {to: [" + fmt.Sprintf("%q", silentPort(t)) + "], grace: 0s}\nsources: {containers: {enabled: false}}\ncleanup: {enabled: false}\n"})
	d := &process{dir: dir, address: address}
	d.configure(t, "")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), agentEnv+"="+filepath.Join(dir, "f.yaml"), impatientEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, _ := os.ReadFile(stderr.Name()); t.Failed() {
			t.Logf("%s", text)
		}
	})
	d.get(t, "/metrics", 200, "fairlead_spool_pending_frames 0")
	for range 2 {
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		sd.fed(3 * time.Second) // three times the slack
		if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		r, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != 200 {
			t.Errorf("/healthz right after SIGCONT: %s %s", r.Status, body)
		}
		sd.until("is fed after SIGCONT", 500*time.Millisecond, func(n int) bool { return n >= 3 })
	}
	if text, _ := os.ReadFile(stderr.Name()); bytes.Contains(text, []byte("stands still")) {
		t.Error("a loop was said to stand still")
	}
}

// deadPort is one that nobody listens on.
func deadPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silentPort reads what comes and never answers.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// stoppedPort is that of a process that is stopped: its kernel accepts and takes what fits into a socket buffer.
func stoppedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
