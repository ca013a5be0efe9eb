// Package systemd boots machines for tests: containers whose first process is a real systemd, with D-Bus, a journal and the units that a
// test puts there. It is for what units, ordering, restarts and packages do to a host.
//
// It needs root, a Docker engine, and once the Debian mirror: the file system is kept below FAIRLEAD_TEST_CACHE (~/.cache/fairlead-test).
package systemd

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/docker"
)

//go:embed tree.sh
var treeScript []byte

// Machine is a booted machine. It is removed at the end of its test.
type Machine struct {
	t      testing.TB
	engine *docker.Engine
	id     string
}

// File is a file of a machine. A Link makes it a symbolic link.
type File struct {
	Path string
	Text string
	From string // a file of this host instead of Text
	Link string
	Mode int64 // 0: 0644
}

// Boot boots a machine with the files and waits until it has come up: all jobs of the boot done, but those named in except, which hang on
// purpose. The test is skipped where no machine can be had.
func Boot(t testing.TB, files []File, except ...string) *Machine {
	t.Helper()
	image := Image(t)
	m := &Machine{t: t, engine: engine}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	name := fmt.Sprintf("fairlead-machine-%d-%s", os.Getpid(), strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())))
	if m.id, err = engine.CreateMachine(ctx, image, name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, _, _ := engine.Exec(context.Background(), m.id, "journalctl", "--no-pager", "-o", "short-monotonic", "-n", "200")
			t.Logf("the journal of the machine:\n%s", out)
		}
		if err := engine.Remove(context.Background(), m.id); err != nil {
			t.Errorf("remove the machine: %v", err)
		}
	})
	m.Put(files...)
	if err := engine.Start(ctx, m.id); err != nil {
		t.Fatal(err)
	}
	m.Up(except...)
	return m
}

// Reboot stops the machine and boots it again: what is on disk stays.
func (m *Machine) Reboot(except ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := m.engine.Halt(ctx, m.id, 60); err != nil {
		m.t.Fatal(err)
	}
	if err := m.engine.Start(ctx, m.id); err != nil {
		m.t.Fatal(err)
	}
	m.Up(except...)
}

// Up waits until the boot is over.
func (m *Machine) Up(except ...string) {
	m.t.Helper()
	m.Until("the machine has come up", func() bool {
		out, code := m.Try("systemctl", "list-jobs", "--no-legend", "--no-pager")
		if code != 0 {
			return false
		}
		for line := range strings.Lines(out) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			hangs := false
			for _, unit := range except {
				hangs = hangs || fields[1] == unit
			}
			if !hangs {
				return false
			}
		}
		_, code = m.Try("systemctl", "is-active", "-q", "dbus.socket")
		return code == 0
	})
}

// Put writes files into the machine. Below /run and /tmp it works only before the boot, and is gone then: write those with Run.
func (m *Machine) Put(files ...File) {
	m.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		text := []byte(f.Text)
		if f.From != "" {
			var err error
			if text, err = os.ReadFile(f.From); err != nil {
				m.t.Fatal(err)
			}
		}
		h := &tar.Header{Name: strings.TrimPrefix(path.Clean(f.Path), "/"), Mode: f.Mode, Size: int64(len(text)), ModTime: time.Now()}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if f.Link != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.Link, 0
			text = nil
		}
		if err := w.WriteHeader(h); err != nil {
			m.t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		m.t.Fatal(err)
	}
	if err := m.engine.Upload(context.Background(), m.id, &b); err != nil {
		m.t.Fatal(err)
	}
}

// Try runs a command in the machine and answers what it wrote and its exit code, -1 where it could not be run.
func (m *Machine) Try(args ...string) (out string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, code, err := m.engine.Exec(ctx, m.id, args...)
	if err != nil {
		return err.Error(), -1
	}
	return out, code
}

// Run is Try for a command that is to succeed.
func (m *Machine) Run(args ...string) string {
	m.t.Helper()
	out, code := m.Try(args...)
	if code != 0 {
		m.t.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// Sh runs a line of shell that is to succeed.
func (m *Machine) Sh(line string) string {
	m.t.Helper()
	return m.Run("/bin/sh", "-c", line)
}

// Property is what systemd says of a unit.
func (m *Machine) Property(unit, name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.Run("systemctl", "show", "--value", "--property="+name, unit))
}

// Journal is what a unit wrote, or systemd about it, since the boot.
func (m *Machine) Journal(unit string) string {
	m.t.Helper()
	return m.Run("journalctl", "--no-pager", "-b", "-o", "cat", "-u", unit)
}

// Until waits for something to be so, for a minute.
func (m *Machine) Until(what string, is func() bool) {
	m.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			out, _ := m.Try("systemctl", "list-jobs", "--no-pager")
			m.t.Fatalf("not within a minute: %s\n%s", what, out)
		}
		time.Sleep(100 * time.Millisecond) // another process is waited for, which tells nobody
	}
}

var engine = docker.New(fmt.Sprintf("fltmachine-%d", os.Getpid()))

// Image answers the image that machines are made of, and makes it where it is not there. The test is skipped where that cannot be.
func Image(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a machine (-short)")
	}
	if os.Geteuid() != 0 {
		t.Skip("boots a machine, which needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if _, err := engine.Version(ctx); err != nil {
		t.Skipf("boots a machine, which needs a Docker engine: %v", err)
	}
	if err := engine.Sweep(ctx); err != nil {
		t.Fatalf("remove what killed tests left: %v", err)
	}
	sum := sha256.Sum256(treeScript)
	version := hex.EncodeToString(sum[:6])
	image := "fairlead-machine:" + version
	has, err := engine.Has(ctx, image)
	if err != nil {
		t.Fatal(err)
	}
	if has {
		return image
	}
	file, err := cached("machine-" + version + ".tar")
	if err != nil {
		t.Skipf("nowhere to keep a file system: %v", err)
	}
	c := exec.CommandContext(ctx, "bash", "-s", file)
	c.Stdin = bytes.NewReader(treeScript)
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("boots a machine, whose file system cannot be made: %v: %s", err, out)
	}
	tree, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if err := engine.ImportTree(ctx, tree, "fairlead-machine", version); err != nil {
		t.Fatal(err)
	}
	return image
}

func cached(name string) (string, error) {
	if dir := os.Getenv("FAIRLEAD_TEST_CACHE"); dir != "" {
		return filepath.Join(dir, name), nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "fairlead-test", name), err
}

// Build builds a package of this module, static, and answers the path of the program. FAIRLEAD_TEST_BINARY is taken for cmd/fairlead.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	if b := os.Getenv("FAIRLEAD_TEST_BINARY"); b != "" && strings.HasSuffix(pkg, "/cmd/fairlead") {
		return b
	}
	out := filepath.Join(t.TempDir(), path.Base(pkg))
	c := exec.Command("go", "build", "-o", out, pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, text)
	}
	return out
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
