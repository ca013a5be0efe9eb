package agent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "fairlead.sock")
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v, want a socket for its owner alone", info.Mode(), err)
	}
	if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}

	if _, err := listenControl(path); err == nil || !strings.Contains(err.Error(), "another fairlead answers") {
		t.Errorf("second daemon: %v, want a refusal", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("socket after close: %v, want none", err)
	}
}

func TestControlSocketOfADeadDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fairlead.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// What another daemon has put in its place meanwhile is not ours to remove.
func TestControlSocketTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fairlead.sock")
	l, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket: %v", err)
	}
}

func TestControlSocketRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, fifo, dir, filepath.Join(file, "sock")} {
		if l, err := listenControl(path); err == nil {
			_ = l.Close()
			t.Errorf("%s: made a socket there, want an error", path)
		} else if !strings.HasPrefix(err.Error(), "control.socket: ") {
			t.Errorf("%s: %v, want an error that names the key", path, err)
		}
	}
}
