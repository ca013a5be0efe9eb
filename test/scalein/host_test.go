package scalein

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	rcv "github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/test/cloud"
	"github.com/fairlead/fairlead/test/lab"
)

// host is a container instance: a network, AWS around it, a receiver, and the folder of its containers.
type host struct {
	t     *testing.T
	rand  *rand.Rand
	dir   string
	space *lab.Space
	aws   *cloud.Cloud
	recv  *rcv.Receiver
	proc  *lab.Process
	conf  string

	mu       sync.Mutex  // guards what follows
	arrived  map[int]int // line: how often
	reports  []string    // phases of the events of fairlead.drain
	arrivals int
}

const (
	recvAddr = "127.0.0.1:24300"
	imdsAddr = "127.0.0.1:8169"
	awsAddr  = "127.0.0.1:8443"
	s3Addr   = "127.0.0.1:8333"
)

func newHost(t *testing.T, seed uint64, c *cloud.Cloud, drain string) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network of its own takes root")
	}
	h := &host{t: t, rand: rand.New(rand.NewPCG(seed, 1)), aws: c, arrived: map[int]int{}}
	var err error
	if h.dir, err = os.MkdirTemp("", "flt-"); err != nil { // short: the path of a socket is
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(h.dir) })
	if h.space, err = lab.NewNetwork(); err != nil {
		t.Skipf("no network of its own: %v", err)
	}
	t.Cleanup(func() { _ = h.space.Close() })
	backend := s3mem.New()
	if err := backend.CreateBucket("logs"); err != nil {
		t.Fatal(err)
	}
	h.serve("127.0.0.1:51678", c.Introspection())
	h.serve(imdsAddr, c.Metadata())
	h.serve(awsAddr, c)
	h.serve(s3Addr, gofakes3.New(backend).Server())
	h.do(func() (err error) {
		h.recv, err = rcv.Listen(recvAddr, h.event)
		return err
	})
	t.Cleanup(func() { _ = h.recv.Close() })
	h.conf = h.config("fairlead", "sources: {containers: {root: "+h.dir+"/containers}, host: {enabled: false}, journal: {units: []}, listen: {tcp: \"\", unix: \"\"}}\n"+drain)
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			text, _ := os.ReadFile(h.dir + "/fairlead.log")
			t.Logf("log of fairlead, its end:\n%s", text[max(0, len(text)-12_000):])
		}
	})
	return h
}

// config writes the configuration of a daemon and answers its path.
func (h *host) config(name, more string) string {
	h.t.Helper()
	text := fmt.Sprintf("forward: {to: [%q], ack_timeout: 5s, connect_timeout: 2s, grace: 2s}\nstate: {dir: %[2]s/%[3]s}\ncontrol: {socket: %[2]s/%[3]s.sock}\nhealth: {listen: \"\"}\n%s",
		recvAddr, h.dir, name, more)
	path := filepath.Join(h.dir, name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

func (h *host) do(f func() error) {
	h.t.Helper()
	if err := h.space.Do(f); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) serve(addr string, handler http.Handler) {
	h.t.Helper()
	var l net.Listener
	h.do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	h.t.Cleanup(func() { _ = s.Close() })
}

// event hears the receiver.
func (h *host) event(e *rcv.Event) {
	var n int
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Tag == "fairlead.drain" {
		h.reports = append(h.reports, string(e.Field("phase")))
		return
	}
	if !strings.HasPrefix(e.Tag, "docker.") { // what else fairlead has to say of its host
		return
	}
	if _, err := fmt.Sscanf(string(e.Field("log")), "line %d ", &n); err != nil {
		h.t.Errorf("an event that nobody wrote: %q", e.Field("log"))
		return
	}
	h.arrived[n]++
	h.arrivals++
}

// command is a fairlead in the host's network.
func (h *host) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(slices.DeleteFunc(lab.Environment(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.Contains(strings.ToLower(v), "_proxy=")
	}),
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://"+imdsAddr, "AWS_ENDPOINT_URL=http://"+awsAddr, "AWS_ENDPOINT_URL_S3=http://"+s3Addr,
		"AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=hunter2hunter2", "AWS_CONFIG_FILE=/none", "AWS_SHARED_CREDENTIALS_FILE=/none")
	return cmd
}

func (h *host) start(conf string) {
	h.t.Helper()
	out, err := os.OpenFile(h.dir+"/fairlead.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	cmd := h.command("run", "--config", conf)
	cmd.Stdout, cmd.Stderr = out, out
	if h.proc, err = lab.StartProcess(cmd, h.space); err != nil {
		h.t.Fatal(err)
	}
}

// kill is the end of the host.
func (h *host) kill() {
	if h.proc != nil {
		if err := h.proc.End(syscall.SIGKILL, 10*time.Second); err != nil {
			h.t.Error(err)
		}
		h.proc = nil
	}
}

// fairlead runs a command to its end.
func (h *host) fairlead(args ...string) string {
	h.t.Helper()
	var out strings.Builder
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := lab.StartProcess(cmd, h.space)
	if err != nil {
		h.t.Fatal(err)
	}
	h.until(time.Minute, strings.Join(args, " "), p.Died)
	if err := p.Err(); err != nil {
		h.t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

// until waits until it is so.
func (h *host) until(within time.Duration, what string, so func() bool) {
	h.t.Helper()
	for began := time.Now(); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > within {
			h.t.Fatalf("after %s: not yet %s", within, what)
		}
		if h.proc != nil && h.proc.Died() {
			h.t.Fatalf("fairlead ended by itself: %v", h.proc.Err())
		}
	}
}

// missing are lines that did not arrive, the first few.
func (h *host) missing(n int) (lines []int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range n {
		if h.arrived[i] == 0 {
			if lines = append(lines, i); len(lines) == 20 {
				break
			}
		}
	}
	return lines
}

func (h *host) repeats() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.arrivals - len(h.arrived)
}

// container is one that writes its log as the engine does.
type container struct {
	dir, log string
	f        *os.File
}

func (h *host) container(n int) *container {
	h.t.Helper()
	id := fmt.Sprintf("%064x", n+1)
	dir := filepath.Join(h.dir, "containers", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	conf := fmt.Sprintf(`{"ID":%q,"Name":"/ecs-web-%d","LogPath":"%s/%s-json.log","Config":{"Labels":{"com.amazonaws.ecs.cluster":"prod"}},"HostConfig":{"LogConfig":{"Type":"json-file"}}}`, id, n, dir, id)
	if err := os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(conf), 0o600); err != nil {
		h.t.Fatal(err)
	}
	c := &container{dir: dir, log: filepath.Join(dir, id+"-json.log")}
	var err error
	if c.f, err = os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// write writes lines from first to last-1.
func (c *container) write(first, last int) error {
	var b strings.Builder
	for n := first; n < last; n++ {
		text, err := json.Marshal(map[string]string{"log": fmt.Sprintf("line %d of an application that says what it does\n", n), "stream": "stdout", "time": time.Now().UTC().Format(time.RFC3339Nano)})
		if err != nil {
			return err
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	_, err := c.f.WriteString(b.String())
	return err
}

// remove is `docker rm`.
func (c *container) remove() error { return os.RemoveAll(c.dir) }
