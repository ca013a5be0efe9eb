package unixsocket

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := Listen(path, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// The socket has its rights from the first moment on, nothing else is left behind, and whoever listens there is respected.
func TestListen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "x.sock")
	l := listen(t, path)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o640 {
		t.Errorf("mode %v, %v, want a socket with 0640", info.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) != 1 || err != nil {
		t.Errorf("in its folder: %v, %v, want the socket alone", entries, err)
	}
	if !At(l, path) {
		t.Error("the listener does not know its socket")
	}
	if second, err := Listen(path, 0o640); !errors.Is(err, ErrTaken) {
		t.Errorf("a second listener: %v, %v, want ErrTaken", second, err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("after the second was refused: %v", err)
	} else {
		_ = c.Close()
	}
}

// What a dead process left is replaced: the file stays when the listener is closed, and nobody answers there.
func TestListenAfterTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	if err := listen(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("after close: %v, want the file to stay", err)
	}
	l := listen(t, path)
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if At(l, path) {
		t.Error("the socket is gone, and the listener is said to be there")
	}
}

// Nothing that is no socket is replaced.
func TestListenRefused(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, fifo, dir, filepath.Join(file, "sock")} {
		if l, err := Listen(path, 0o600); err == nil {
			_ = l.Close()
			t.Errorf("%s: made a socket there, want an error", path)
		}
	}
	if text, err := os.ReadFile(file); string(text) != "kept" || err != nil {
		t.Errorf("the file holds %q, %v", text, err)
	}
}
