package forwarder

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/forwarder/listen"
)

// child is a forwarder in a process of its own, so that it can be killed as kill -9 does it: nothing is flushed, synced or closed.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *os.File
}

const childSocket = "FAIRLEAD_TEST_SOCKET" // of the child: where it listens, if at all

const childEnv = "FAIRLEAD_TEST_CHILD" // set in the child: folder and receiver

func childConfig(dir, to string) Config {
	cfg := DefaultConfig()
	cfg.Forward.To = []Endpoint{{Address: to}}
	cfg.Forward.Grace = 5 * time.Second
	cfg.Forward.AckTimeout = time.Second
	cfg.Spool.Dir = filepath.Join(dir, "spool")
	cfg.Spool.MinFree = 0
	cfg.Sources.Host.Enabled, cfg.Sources.Journal.Units = false, nil
	cfg.Sources.Listen = listen.Config{Unix: os.Getenv(childSocket)}
	cfg.Spool.SyncAfter = time.Second
	cfg.Fold.Wait = 2 * time.Second
	cfg.Sources.Containers.Root = filepath.Join(dir, "containers")
	cfg.Sources.Files = []Files{{Path: filepath.Join(dir, "app", "*.log*"), Tag: "app"}}
	cfg.Sources.RotateWait = 200 * time.Millisecond
	return cfg
}

// runChild is the main function of the child: it answers every line on its standard input with its status, and stops at the end.
func runChild(env string) error {
	dir, to, _ := strings.Cut(env, "|")
	f, err := New(childConfig(dir, to), slog.New(slog.NewTextHandler(os.Stderr, nil)), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-f.Ready()
		_, _ = fmt.Println()
		in := bufio.NewScanner(os.Stdin)
		out := json.NewEncoder(os.Stdout)
		for in.Scan() {
			_ = out.Encode(f.Status())
		}
		cancel()
	}()
	return f.Run(ctx)
}

func startChild(t *testing.T, dir, to string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childEnv+"="+dir+"|"+to)
	var err error
	if c.stderr, err = os.OpenFile(filepath.Join(dir, "stderr"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		t.Fatal(err)
	}
	c.cmd.Stderr = c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// ready waits until it reads its sources.
func (c *child) ready() {
	c.t.Helper()
	if _, err := c.out.ReadString('\n'); err != nil {
		c.died(err)
	}
}

func (c *child) status() (st Status) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		c.died(err)
	}
	line, err := c.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &st)
	}
	if err != nil {
		c.died(err)
	}
	return st
}

// kill ends it at once.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	_ = c.stderr.Close()
}

// stop ends it in order.
func (c *child) stop() {
	c.t.Helper()
	_ = c.in.Close()
	_, _ = io.Copy(io.Discard, c.out)
	if err := c.cmd.Wait(); err != nil {
		c.died(err)
	}
	_ = c.stderr.Close()
}

func (c *child) died(err error) {
	c.t.Helper()
	text, _ := os.ReadFile(c.stderr.Name())
	c.t.Fatalf("the forwarder ended: %v\n%s", err, tailOf(string(text), 6000))
}

func tailOf(s string, n int) string { return s[max(0, len(s)-n):] }

// holds says whether it has the file open.
func (c *child) holds(st os.FileInfo) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", c.cmd.Process.Pid))
	for _, fd := range fds {
		if o, err := os.Stat(fd); err == nil && os.SameFile(st, o) {
			return true
		}
	}
	return false
}
