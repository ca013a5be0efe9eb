package prometheus

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// host is a network of its own: an ECS agent is asked at one address, which another test may look at beside this one.
type host struct {
	t     *testing.T
	space *lab.Space
}

func newHost(t *testing.T) *host {
	t.Helper()
	space, err := lab.NewNetwork()
	if err != nil {
		t.Skipf("no network of its own: %v", err)
	}
	t.Cleanup(func() { _ = space.Close() })
	return &host{t, space}
}

// do runs f where the sockets it makes are of this network.
func (h *host) do(f func() error) {
	h.t.Helper()
	if err := h.space.Do(f); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) listen(address string) (l net.Listener) {
	h.t.Helper()
	h.do(func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	return l
}

func (h *host) freePort() string {
	h.t.Helper()
	l := h.listen("127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

func (h *host) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = h.space.Do(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}}}
}

// run starts a process that ends with the test; its output is shown when the test fails.
func (h *host) run(environ []string, name string, args ...string) *lab.Process {
	t := h.t
	t.Helper()
	var out bytes.Buffer
	c := exec.Command(name, args...)
	// What tells the tests something is no setting of the daemon.
	c.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_") }), environ...)
	c.Stdout, c.Stderr = &out, &out
	p, err := lab.StartProcess(c, h.space)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGCONT)
		if err := p.End(syscall.SIGTERM, 20*time.Second); err != nil {
			_ = p.End(syscall.SIGKILL, 20*time.Second)
		}
		if t.Failed() {
			text := out.Bytes()
			t.Logf("%s:\n%s", filepath.Base(name), text[max(0, len(text)-4000):])
		}
	})
	return p
}
