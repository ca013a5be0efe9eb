package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Client asks a running daemon over its control socket.
type Client struct{ Socket string }

func (c Client) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		},
	}}
}

// Raw answers the status as the daemon wrote it: JSON.
func (c Client) Raw(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := c.do(ctx, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the daemon on %s: %w", c.Socket, err)
	}
	return text, nil
}

// Reload has the daemon read its configuration again, as SIGHUP does. It does not wait for that.
func (c Client) Reload(ctx context.Context) error {
	if c.Socket == "" {
		return errors.New("it has no control.socket (systemctl reload fairlead)")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := c.do(ctx, http.MethodPost, "/reload")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		return fmt.Errorf("ask the daemon on %s to reload: %s", c.Socket, answer.Status)
	}
	return nil
}

// do asks the daemon; the answer is to be closed.
func (c Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://fairlead"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.http().Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon on %s: %w", c.Socket, explain(err))
	}
	return answer, nil
}

// Status answers the status.
func (c Client) Status(ctx context.Context) (Status, error) {
	var s Status
	text, err := c.Raw(ctx)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the answer of the daemon on %s: %w", c.Socket, err)
	}
	return s, nil
}

// explain says what a failed connection means for who asked.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &noDaemonError{"no daemon runs here, or it has another control.socket (start it: fairlead run, or systemctl start fairlead)"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &noDaemonError{"the daemon is gone, its socket was left behind (start it: fairlead run, or systemctl start fairlead)"}
	case errors.Is(err, fs.ErrPermission):
		return errors.New("the socket is for root alone (use sudo)")
	}
	return err
}

// noDaemonError is why a connection failed where no daemon runs.
type noDaemonError struct{ text string }

func (e *noDaemonError) Error() string { return e.text }
