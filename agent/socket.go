package agent

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// listenControl makes the control socket, for root alone. What a dead daemon left is replaced, a living one is respected.
func listenControl(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	if err := replaceable(path); err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	// bind makes the socket with the umask's rights. It is therefore made under another name, in a directory that nobody
	// else enters, and moved to its place when its rights are right: it is never there for others, nor ever missing.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	defer func() { _ = os.Remove(dir) }()
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	info, err := os.Lstat(made)
	if err == nil {
		err = errors.Join(os.Chmod(made, 0o600), os.Rename(made, path))
	}
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", errors.Join(err, l.Close(), os.Remove(made)))
	}
	return &controlListener{Listener: l, path: path, info: info}, nil
}

// replaceable tells whether the path is free or holds a socket that nobody listens on.
func replaceable(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is there and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close() // it was only to see whether somebody answers
		return fmt.Errorf("%s: another fairlead answers there (stop it, or give this one its own control.socket and state.dir)", path)
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// controlListener removes its socket when it is closed, unless another daemon has put its own there.
type controlListener struct {
	net.Listener
	path string
	info os.FileInfo
}

func (l *controlListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.info) {
		_ = os.Remove(l.path) // the next daemon replaces what is left
	}
	return l.Listener.Close()
}
