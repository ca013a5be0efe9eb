package agent

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/fairlead/fairlead/internal/unixsocket"
)

// listenControl makes the control socket, for root alone. What a dead daemon left is replaced, a living one is respected.
func listenControl(path string) (net.Listener, error) {
	l, err := unixsocket.Listen(path, 0o600)
	if errors.Is(err, unixsocket.ErrTaken) {
		return nil, fmt.Errorf("control.socket: %s: another fairlead answers there (stop it, or give this one its own control.socket and state.dir)", path)
	}
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("control.socket: %w", errors.Join(err, l.Close()))
	}
	return &controlListener{Listener: l, path: path, info: info}, nil
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
