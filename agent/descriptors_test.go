package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/fairlead/fairlead/internal/receiver"
)

const agentEnv = "FAIRLEAD_TEST_AGENT" // set in a child: the configuration it runs with

func TestMain(m *testing.M) {
	if path := os.Getenv(agentEnv); path != "" {
		a := New(Source{Path: path}, Build{}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if os.Getenv(impatientEnv) != "" {
			impatient(a)
		}
		if err := a.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	_ = os.Setenv("AWS_EC2_METADATA_DISABLED", "true") // else the daemons of the tests find out that nobody answers
	os.Exit(m.Run())
}

// systemd plays the service manager: it takes descriptors into its store, and passes them to the next process.
type systemd struct {
	t      *testing.T
	socket *net.UnixConn
	path   string
	config string
	told   chan string

	mu    sync.Mutex
	store map[string]int
}

func newSystemd(t *testing.T, config string) *systemd {
	s := &systemd{t: t, path: filepath.Join(t.TempDir(), "notify"), config: config, told: make(chan string, 1000), store: map[string]int{}}
	var err error
	if s.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() {
		_ = s.socket.Close()
		<-done
		for _, fd := range s.store {
			_ = syscall.Close(fd)
		}
	})
	return s
}

func (s *systemd) serve() {
	buf, oob := make([]byte, 4096), make([]byte, 1024)
	for {
		n, on, _, _, err := s.socket.ReadMsgUnix(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		text := string(buf[:n])
		_, name, _ := strings.Cut(text, "FDNAME=")
		s.mu.Lock()
		if strings.HasPrefix(text, "FDSTOREREMOVE=1\n") || strings.HasPrefix(text, "FDSTORE=1\n") {
			if fd, ok := s.store[name]; ok { // systemd would hold both; one is the other
				_ = syscall.Close(fd)
				delete(s.store, name)
			}
		}
		if strings.HasPrefix(text, "FDSTORE=1\n") {
			messages, _ := syscall.ParseSocketControlMessage(oob[:on])
			fds, err := syscall.ParseUnixRights(&messages[0])
			if err != nil || len(fds) != 1 {
				s.t.Errorf("%q with %v, %v", text, fds, err)
			} else {
				syscall.CloseOnExec(fds[0])
				s.store[name] = fds[0]
			}
		}
		s.mu.Unlock()
		s.told <- text
	}
}

// await waits until the process says something that begins so.
func (s *systemd) await(want string) {
	s.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		select {
		case text := <-s.told:
			if strings.HasPrefix(text, want) || strings.Contains(text, "\nFDNAME="+want) {
				return
			}
		case <-deadline:
			s.t.Fatalf("systemd was not told %s", want)
		}
	}
}

// start runs the daemon with what is in the store.
func (s *systemd) start() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	s.mu.Lock()
	var names []string
	for name, fd := range s.store {
		dup, err := syscall.Dup(fd)
		if err != nil {
			s.t.Fatal(err)
		}
		f := os.NewFile(uintptr(dup), name)
		defer f.Close()
		names = append(names, name)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	s.mu.Unlock()
	cmd.Env = append(os.Environ(), agentEnv+"="+s.config, "NOTIFY_SOCKET="+s.path)
	if len(names) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	cmd.Stderr = s.t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func forwardMessage(text, chunk string) []byte {
	b := msgp.AppendArrayHeader(nil, 4)
	b = msgp.AppendString(b, "t")
	b = msgp.AppendInt64(b, 7)
	b = msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(b, 1), "message"), text)
	if chunk == "" {
		return msgp.AppendNil(b)
	}
	return msgp.AppendString(msgp.AppendString(msgp.AppendMapHeader(b, 1), "chunk"), chunk)
}

// A restart and a kill, with systemd's descriptor store: no connection ends, none is refused, nothing that was sent is lost, though the
// client asks for no acks, and half a message is gone on with.
func TestDescriptorStore(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	recv, err := receiver.Listen("127.0.0.1:0", func(e *receiver.Event) {
		mu.Lock()
		defer mu.Unlock()
		got[string(e.Field("message"))]++
	})
	if err != nil {
		t.Fatal(err)
	}
	defer recv.Close()
	dir := write(t, map[string]string{"f.yaml": ""})
	socket := filepath.Join(dir, "fluent.sock")
	text := fmt.Sprintf("forward: {to: [%q], grace: 100ms}\nstate: {dir: %s/state}\nspool: {min_free: 0}\nhealth: {listen: \"\"}\ncontrol: {socket: %s/s}\n"+
		"sources: {containers: {enabled: false}, host: {enabled: false}, journal: {units: []}, listen: {tcp: 127.0.0.1:0, unix: %s}}\ncleanup: {enabled: false}\n", recv.Addr(), dir, dir, socket)
	if err := os.WriteFile(filepath.Join(dir, "f.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sd := newSystemd(t, filepath.Join(dir, "f.yaml"))
	dial := func() net.Conn {
		c, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	send := func(c net.Conn, p []byte) {
		t.Helper()
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	arrives := func(texts ...string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			missing := []string{}
			mu.Lock()
			for _, text := range texts {
				if got[text] == 0 {
					missing = append(missing, text)
				}
			}
			mu.Unlock()
			if len(missing) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("missing %q", missing)
			}
		}
	}

	daemon := sd.start()
	sd.await("READY=1")
	c := dial()
	send(c, forwardMessage("before", ""))
	sd.await("fluent-conn-")
	arrives("before")

	for i, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		half := forwardMessage(fmt.Sprint("half", i), "")
		send(c, half[:5])
		_ = daemon.Process.Signal(signal)
		if err := daemon.Wait(); signal == syscall.SIGTERM && err != nil {
			t.Fatal(err)
		}
		send(c, append(half[5:], forwardMessage(fmt.Sprint("while", i), "")...))
		d := dial() // nobody is there, and it is not refused
		send(d, forwardMessage(fmt.Sprint("new", i), "1"))
		began := time.Now()
		daemon = sd.start()
		if _, err := io.ReadFull(d, make([]byte, 7)); err != nil {
			t.Fatalf("no ack: %v", err)
		}
		t.Logf("ack %v after the start", time.Since(began))
		arrives(fmt.Sprint("half", i), fmt.Sprint("while", i), fmt.Sprint("new", i))
		send(c, forwardMessage(fmt.Sprint("after", i), ""))
		arrives(fmt.Sprint("after", i))
	}

	// One that we close is closed for its client as well, though systemd has a descriptor of it.
	send(c, []byte("GET / HTTP/1.1\r\n\r\n"))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a refused connection is still open: %v", err)
	}
}
