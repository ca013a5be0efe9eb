package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fairlead/fairlead/forwarder"
)

// maxReplayBytes bounds one request to replay. A client sends about a megabyte, or a single larger record.
const maxReplayBytes = 260 << 20

// Replayed is the daemon's answer to a request to replay: what is in the spool, and on disk, of what was sent.
type Replayed struct {
	forwarder.Replayed
	Full   bool   `json:"full,omitempty"`   // there is no room for the rest now
	Closed bool   `json:"closed,omitempty"` // this daemon has no spool open
	Soon   bool   `json:"soon,omitempty"`   // it will have in a moment: it starts, reloads or stops
	Error  string `json:"error,omitempty"`
}

// replay brings the records of a request into the spool.
func (a *Agent) replay(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	n := a.now
	a.mu.Unlock()
	var done Replayed
	err := forwarder.ErrNotRunning
	if n != nil && n.forwarder != nil && n.wasReady() && !n.stopping.Load() {
		done.Replayed, err = n.forwarder.Replay(r.Context(), http.MaxBytesReader(w, r.Body, maxReplayBytes))
	}
	code := http.StatusOK
	if err != nil {
		done.Error, done.Full = err.Error(), errors.Is(err, forwarder.ErrFull)
		done.Closed = errors.Is(err, forwarder.ErrNotRunning)
		done.Soon = done.Closed && (n == nil || n.forwarder != nil)
		code = http.StatusBadRequest
		if done.Full || done.Closed {
			code = http.StatusServiceUnavailable
		}
		a.log.Warn("replay failed", "frames", done.Frames, "events", done.Events, "err", err)
	} else if done.Frames > 0 {
		a.log.Info("frames were brought back into the spool", "frames", done.Frames, "events", done.Events, "bytes", done.Bytes)
	}
	writeJSON(w, code, done)
}

// Replay sends records to the daemon. An answer is one also where its Error says that not all was taken.
func (c Client) Replay(ctx context.Context, records []byte) (Replayed, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://fairlead/replay", bytes.NewReader(records))
	if err != nil {
		return Replayed{}, err
	}
	answer, err := c.http().Do(r)
	if err != nil {
		return Replayed{}, fmt.Errorf("replay through the daemon on %s: %w", c.Socket, explain(err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var done Replayed
	if err == nil {
		err = json.Unmarshal(text, &done)
	}
	if err != nil {
		return Replayed{}, fmt.Errorf("replay through the daemon on %s: %s: %w", c.Socket, answer.Status, err)
	}
	return done, nil
}

// Answers reports whether a daemon listens on the socket. A socket nobody may connect to is an error.
func (c Client) Answers(ctx context.Context) (bool, error) {
	_, err := c.Raw(ctx)
	var none *noDaemonError
	if errors.As(err, &none) {
		return false, nil
	}
	return err == nil, err
}
