package prometheus

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// smallDisk is a file system of 24 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	for _, c := range [][]string{
		{"truncate", "-s", "24M", image}, {"mkfs.ext4", "-q", "-m", "0", image}, {"mkdir", mount}, {"mount", "-o", "loop", image, mount},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("no file system can be made here: %v: %v %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return mount
}

// tasks is what the stand-in for the ECS agent says of its tasks.
type tasks struct {
	mu   sync.Mutex
	text string
}

func (k *tasks) set(status string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []string
	for i := range 3 {
		list = append(list, fmt.Sprintf(`{"Arn":"arn:aws:ecs:eu-west-1:111122223333:task/prod/%d","KnownStatus":%q,"Family":"web","Version":"1","Containers":[]}`, i, status))
	}
	k.text = `{"Tasks":[` + strings.Join(list, ",") + `]}`
}

func (k *tasks) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.text
}

// ecsAgent is a stand-in for the ECS agent, which cannot run outside of AWS.
func (h *host) ecsAgent(k *tasks) *http.Server {
	h.t.Helper()
	l := h.listen("127.0.0.1:51678")
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/tasks" {
			_, _ = io.WriteString(w, k.String())
			return
		}
		_, _ = io.WriteString(w, `{"Cluster":"prod","ContainerInstanceArn":"arn:aws:ecs:eu-west-1:111122223333:container-instance/prod/0123","Version":"Amazon ECS Agent - v1.105.1 (8dfceca6)"}`)
	})}
	go func() { _ = s.Serve(l) }()
	h.t.Cleanup(func() { _ = s.Close() })
	return s
}

// dockerd starts an engine of our own, for none but us to stop.
func (h *host) dockerd() (socket string, engine *lab.Process) {
	t := h.t
	t.Helper()
	binary, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skip("dockerd is not installed (test/setup.sh installs it)")
	}
	dir, err := os.MkdirTemp("", "flp") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "d.sock")
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	engine = h.run(nil, binary, "--config-file="+dir+"/daemon.json", "--data-root="+dir+"/data", "--exec-root="+dir+"/exec", "--host=unix://"+socket, "--pidfile="+dir+"/pid",
		"--bridge=none", "--iptables=false", "--storage-driver=vfs")
	return socket, engine
}

// writeLines writes a line now and then until the test ends.
func writeLines(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = fmt.Fprintf(f, "line %d\n", n)
			time.Sleep(200 * time.Millisecond)
		}
	}()
	t.Cleanup(func() { cancel(); <-done; f.Close() })
}

// private begins a command in a name space of its own for mounts, where /etc and /boot may be written to and the host's stay as they are. Its pid
// is in the file pid of dir.
func private(t *testing.T, dir string, command ...string) (name string, args []string) {
	t.Helper()
	script := fmt.Sprintf(`set -e
echo $$ > %[1]s/pid
mkdir -p %[1]s/own && mount -t tmpfs own %[1]s/own && mkdir %[1]s/own/etc %[1]s/own/work
mount -t overlay own -o lowerdir=/etc,upperdir=%[1]s/own/etc,workdir=%[1]s/own/work /etc
mkdir -p /etc/ecs && mount -t tmpfs own /boot
exec "$@"`, dir)
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", "true").CombinedOutput(); err != nil {
		t.Skipf("no name space for mounts can be made here: %v %s", err, out)
	}
	return "unshare", append([]string{"--mount", "sh", "-c", script, "sh"}, command...)
}

// spill writes so many bytes of lines at once.
func spill(t *testing.T, path string, n int) {
	t.Helper()
	write(t, path, strings.Repeat(strings.Repeat("x", 1023)+"\n", n>>10))
}

// slow is the socket of an engine whose calls may take longer.
type slow struct {
	path  string
	delay atomic.Int64
}

func newSlow(t *testing.T, engine string) *slow {
	t.Helper()
	s := &slow{path: engine + ".slow"}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go s.carry(from, engine)
		}
	}()
	return s
}

func (s *slow) carry(from net.Conn, engine string) {
	defer from.Close()
	to, err := net.Dial("unix", engine)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		time.Sleep(time.Duration(s.delay.Load()))
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// volumes makes 25 volumes that nobody uses, or removes them.
func volumes(t *testing.T, socket, method string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	defer c.CloseIdleConnections()
	for i := range 25 {
		name := fmt.Sprintf("leak-%d", i)
		path, body := "/volumes/"+name, ""
		if method == http.MethodPost {
			path, body = "/volumes/create", fmt.Sprintf(`{"Name":%q}`, name)
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://docker"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode >= 300 {
			t.Fatalf("%s %s: %s", method, path, answer.Status)
		}
	}
}
