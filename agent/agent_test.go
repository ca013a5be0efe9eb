package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is an Agent at work.
type process struct {
	*Agent
	dir, address string
	stop         context.CancelFunc
	ended        chan error
}

// start runs an agent with the configuration text, its state and socket in a new directory and its port given by the
// system. It is stopped at the end of the test.
func start(t *testing.T, text string) *process {
	t.Helper()
	return startWith(t, text, slog.NewTextHandler(t.Output(), nil), func(*Agent) {}, nil)
}

// startWith logs to h and lets the agent be changed before it runs; err is of the preparations.
func startWith(t *testing.T, text string, h slog.Handler, change func(*Agent), err error) *process {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &process{address: l.Addr().String(), ended: make(chan error, 1)}
	_ = l.Close() // the daemon takes the port; nothing else asks for it in between
	d.dir = write(t, map[string]string{"f.yaml": text, "conf.d/a.yaml": "sources: {host: {enabled: false}, journal: {units: []}, listen: {tcp: \"\", unix: \"\"}}\ncleanup: {enabled: false}\ndrain: {enabled: false}\n"})
	d.configure(t, "")
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	d.Agent = New(Source{Path: filepath.Join(d.dir, "f.yaml")}, Build{"1.2.3", "abc", "go"}, slog.New(h))
	change(d.Agent)
	go func() { d.ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-d.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return d
}

// configure writes a drop-in with where everything is, and more.
func (d *process) configure(t *testing.T, more string) {
	t.Helper()
	text := "state: {dir: " + d.dir + "/state}\ncontrol: {socket: " + d.dir + "/s}\nhealth: {listen: \"" + d.address + "\"}\n" + more
	if err := os.MkdirAll(filepath.Join(d.dir, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "conf.d", "x.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// get asks until the answer has the code and holds the text.
func (d *process) get(t *testing.T, path string, code int, want string) string {
	t.Helper()
	var body []byte
	var last error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		r, err := http.Get("http://" + d.address + path)
		if last = err; err != nil {
			continue
		}
		body, err = io.ReadAll(r.Body)
		_ = r.Body.Close() // read to its end
		if err == nil && r.StatusCode == code && strings.Contains(string(body), want) {
			return string(body)
		}
		last = errors.Join(errors.New(r.Status), err)
	}
	t.Fatalf("%s: %v, want %d and %q; got:\n%s", path, last, code, want, body)
	return ""
}

func TestHTTP(t *testing.T) {
	d := start(t, "")
	var v Verdict
	if err := json.Unmarshal([]byte(d.get(t, "/readyz", 503, "forward.to")), &v); err != nil || v.OK || len(v.Reasons) != 1 || v.Reasons[0].Code != NoDestination {
		t.Errorf("/readyz %+v, %v, want one reason", v, err)
	}
	if got := d.get(t, "/healthz", 200, ""); !strings.Contains(got, `"ok": true`) {
		t.Errorf("/healthz %s", got)
	}
	metrics := d.get(t, "/metrics", 200, "fairlead_config_hash_info{hash=")
	for _, want := range []string{"fairlead_config_last_reload_successful 1", `fairlead_build_info{commit="abc",goversion="go",version="1.2.3"} 1`, "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/status"} {
		d.get(t, path, 404, "")
	}
	for _, path := range []string{"/status", "/debug/pprof/goroutine?debug=1"} {
		c := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("unix", d.dir+"/s")
		}}}
		if r, err := c.Get("http://x" + path); err != nil || r.StatusCode != 200 {
			t.Errorf("%s on the control socket: %v, %v", path, r, err)
		} else {
			_ = r.Body.Close()
		}
	}
}

func TestReload(t *testing.T) {
	d := start(t, "")
	before := d.get(t, "/metrics", 200, "fairlead_config_hash_info{hash=")

	d.configure(t, "nonsense: 1\n")
	hup(t)
	if got := d.get(t, "/metrics", 200, "fairlead_config_last_reload_successful 0"); hashOf(got) != hashOf(before) {
		t.Errorf("hash %s after a refused configuration, want %s", hashOf(got), hashOf(before))
	}

	// A port that is taken refuses a configuration too, and what is open stays.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := d.address
	d.address = taken.Addr().String()
	d.configure(t, "")
	d.address = free
	hup(t)
	d.refuses(t, "address already in use")
	d.get(t, "/readyz", 503, "forward.to")

	d.configure(t, "forward: {to: [\"127.0.0.1:1\"], grace: 0s}\nsources: {containers: {enabled: false}}\n")
	hup(t)
	if got := d.get(t, "/metrics", 200, `fairlead_forward_address_up{address="127.0.0.1:1"} 0`); hashOf(got) == hashOf(before) || !strings.Contains(got, "fairlead_config_last_reload_successful 1") {
		t.Errorf("hash %s after a new configuration, want another one than %s", hashOf(got), hashOf(before))
	}
	d.get(t, "/readyz", 200, "")

	// One that is valid but does not work gives way to the former.
	if err := os.WriteFile(filepath.Join(d.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.configure(t, "forward: {to: [\"127.0.0.1:1\"], grace: 0s}\nsources: {containers: {enabled: false}}\nspool: {dir: "+d.dir+"/file/spool}\n")
	hup(t)
	d.refuses(t, "not a directory")
	d.get(t, "/metrics", 200, "fairlead_config_last_reload_successful 0")
	d.get(t, "/readyz", 200, "")
}

// refuses waits until the status says why the last configuration was not taken.
func (d *process) refuses(t *testing.T, why string) {
	t.Helper()
	var s Status
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if s, err = (Client{d.dir + "/s"}).Status(t.Context()); err == nil && strings.Contains(s.Config.Refused, why) {
			return
		}
	}
	t.Fatalf("status: %v; refused %q, want %q", err, s.Config.Refused, why)
}

func hashOf(metrics string) string {
	_, rest, _ := strings.Cut(metrics, `fairlead_config_hash_info{hash="`)
	hash, _, _ := strings.Cut(rest, `"`)
	return hash
}

// hup signals this process: the agent under test listens.
func hup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "100000")
	told := func(want string) string {
		t.Helper()
		buf := make([]byte, 4096)
		_ = systemd.SetReadDeadline(time.Now().Add(time.Minute))
		for {
			n, err := systemd.Read(buf)
			if err != nil {
				t.Fatalf("systemd was not told %s: %v", want, err)
			}
			if got := string(buf[:n]); strings.HasPrefix(got, want+"\n") {
				return got
			}
		}
	}
	d := start(t, "")
	told("READY=1")
	told("WATCHDOG=1")
	hup(t)
	if got := told("RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("%q, want the time", got)
	}
	told("READY=1")
	d.stop()
	told("STOPPING=1")
}
