package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/receiver"
)

type bench struct {
	binary, corpora, dir, profile string
	megabytes, runs               int
	light                         time.Duration
}

// host is a folder of container logs, a receiver, and fairlead between them.
type host struct {
	dir, containers string
	recv            *receiver.Receiver
	cmd             *exec.Cmd
	socket          string
}

func (b *bench) host(handle receiver.Handler) (*host, error) {
	dir, err := os.MkdirTemp(b.dir, "fairlead-bench-")
	if err != nil {
		return nil, err
	}
	h := &host{dir: dir, containers: filepath.Join(dir, "containers"), socket: filepath.Join(dir, "sock")}
	if err := os.Mkdir(h.containers, 0o700); err != nil {
		return nil, err
	}
	h.recv, err = receiver.Listen("127.0.0.1:0", handle)
	return h, err
}

func (h *host) close() {
	h.stop()
	_ = h.recv.Close()
	_ = os.RemoveAll(h.dir)
}

func (h *host) log(n int) (string, error) {
	id := fmt.Sprintf("%064x", n+1)
	dir := filepath.Join(h.containers, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := fmt.Sprintf(`{"Name":"/ecs-web-12-nginx-%020x"}`, n+1)
	return filepath.Join(dir, id+"-json.log"), os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(name), 0o600)
}

func (h *host) start(binary string, folding bool) error {
	conf := fmt.Sprintf(`
forward: {to: [%q]}
state: {dir: %q}
spool: {min_free: 0}
sources: {containers: {root: %q}, host: {enabled: false}, journal: {units: []}, listen: {tcp: "", unix: %q}}
fold: {enabled: %v}
health: {listen: ""}
control: {socket: %q}
cleanup: {enabled: false}
`, h.recv.Addr(), filepath.Join(h.dir, "state"), h.containers, h.fluentSocket(), folding, h.socket)
	path := filepath.Join(h.dir, "fairlead.yaml")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		return err
	}
	h.cmd = exec.Command(binary, "run", "--config", path, "--log-level", "warn")
	h.cmd.Stderr = os.Stderr
	if err := h.cmd.Start(); err != nil {
		h.cmd = nil
		return err
	}
	return nil
}

func (h *host) stop() {
	if h.cmd != nil {
		_ = h.cmd.Process.Signal(os.Interrupt)
		_ = h.cmd.Wait()
		h.cmd = nil
	}
}

// cpu is the processor time that fairlead has used, from the kernel's clock of the process (clock_getcpuclockid).
func (h *host) cpu() (time.Duration, error) {
	var ts unix.Timespec
	clock := int32(^h.cmd.Process.Pid)<<3 | 2
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("processor time of fairlead: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// memory reads a line such as VmHWM, in bytes.
func (h *host) memory(key string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return int64(kb) << 10, err
		}
	}
	return 0, fmt.Errorf("no %s", key)
}

func (h *host) get(path string, to any) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}
	c := http.Client{Transport: &http.Transport{DialContext: dial}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://fairlead" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if w, ok := to.(io.Writer); ok {
		_, err = io.Copy(w, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(to)
}

// corpora are the applications of the Rails mix: container n writes what the nth of them wrote.
var corpora = []string{"rails61-default-tags", "rails51-calls-tags", "rails61-lograge", "sidekiq", "rails61-no-tags", "rails61-simple"}

// records are those of container n, without their times.
func (b *bench) records(n int) ([][]byte, error) {
	f, err := os.Open(filepath.Join(b.corpora, corpora[n%len(corpora)], "json.log.gz"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var lines [][]byte
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Bytes()
		lines = append(lines, append([]byte(nil), line[:bytes.LastIndex(line, []byte(`"time":"`))+8]...))
	}
	return lines, sc.Err()
}
