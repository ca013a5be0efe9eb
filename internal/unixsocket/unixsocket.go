// Package unixsocket makes the socket files of a daemon: never there with wrong rights, never missing, never another daemon's.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrTaken means that another process answers at the path.
var ErrTaken = errors.New("another process answers there")

// Listen makes the socket file and its folder. What a dead daemon left is replaced, a living one is respected. The file stays when the
// listener is closed.
func Listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := replaceable(path); err != nil {
		return nil, err
	}
	// bind makes the socket with the umask's rights. It is therefore made under another name, in a directory that nobody
	// else enters, and moved to its place when its rights are right: it is never there for others, nor ever missing.
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(dir) }()
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(made, mode), os.Rename(made, path)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(made))
	}
	return l, nil
}

// At says whether a listener is the one that Listen, in this process or another, put at path.
func At(l *net.UnixListener, path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	bound := l.Addr().String() // the name it was made under, if it was made by Listen
	made, err := filepath.Match("."+filepath.Base(path)+".*", filepath.Base(filepath.Dir(bound)))
	return bound == path || err == nil && made && filepath.Dir(filepath.Dir(bound)) == filepath.Dir(path)
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
		return fmt.Errorf("%s: %w", path, ErrTaken)
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
