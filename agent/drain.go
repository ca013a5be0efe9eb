package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/fairlead/fairlead/agent/drain"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/instance"
	"github.com/fairlead/fairlead/internal/introspection"
)

// drainTag is that of events about taking the instance out of service.
const drainTag = "fairlead.drain"

// spillGather is how long what stands in the logs is read for before what was read is spilled: it was waited for until then.
const spillGather = 4 * time.Second

// newDrain makes what takes this instance out of service. It outlives the lives.
func (a *Agent) newDrain(c Config) *drain.Drain {
	l := logs{a}
	return drain.New(c.Drain, c.State.Dir, drain.Parts{
		Metadata: instance.NewIMDS().Metadata,
		Agent:    introspection.Client{Base: a.ecs.host.agent()},
		Cloud: func(ctx context.Context) (drain.Cloud, error) {
			cfg, err := awsConfig(ctx)
			return drain.NewCloud(cfg), err
		},
		Logs: drain.Logs{Leave: l.Leave, Settle: l.Settle, Rest: l.Rest, Spill: l.Spill, Say: l.Say},
	}, a.log, a.metrics.registry)
}

// logs are those of the host, on their way through the forwarder at work.
type logs struct{ a *Agent }

// forwarder is the one at work. It is nil where none is; idle says that none is meant to be.
func (l logs) forwarder() (f *forwarder.Forwarder, idle bool) {
	l.a.mu.Lock()
	n := l.a.now
	l.a.mu.Unlock()
	switch {
	case n == nil:
		return nil, false
	case n.forwarder == nil:
		return nil, true
	case !n.wasReady() || n.stopping.Load():
		return nil, false
	}
	return n.forwarder, false
}

func (l logs) Leave(on bool) {
	l.a.mu.Lock()
	n := l.a.now
	l.a.mu.Unlock()
	if n != nil && n.forwarder != nil {
		n.forwarder.Leave(on)
	}
}

func (l logs) Settle(ctx context.Context) error {
	f, idle := l.forwarder()
	if idle {
		return nil // nothing is read, so nothing is to be delivered
	}
	if f == nil {
		return forwarder.ErrNotRunning
	}
	return f.Settle(ctx)
}

func (l logs) Rest() (r drain.Rest) {
	_, st := l.a.ask()
	if st == nil {
		return r
	}
	r.Events = st.Ledger.Building + st.Ledger.Spooled
	r.Aside = int64(st.Spool.SetAsideFiles)
	for i := range st.Sources {
		r.LagBytes += st.Sources[i].LagBytes
		r.Folding += st.Sources[i].PendingBytes
	}
	return r
}

func (l logs) Spill(ctx context.Context, put func(drain.Part) error) error {
	f, _ := l.forwarder()
	if f == nil {
		return forwarder.ErrNotRunning
	}
	return f.Spill(ctx, spillGather, func(s forwarder.Spilled) error {
		return put(drain.Part{First: s.First, Last: s.Last, Events: s.Events, Bytes: s.Bytes, Open: s.Open})
	})
}

func (l logs) Say(ctx context.Context, at time.Time, record map[string]any) error {
	f, idle := l.forwarder()
	if idle {
		return nil
	}
	if f == nil {
		return forwarder.ErrNotRunning
	}
	return f.Say(ctx, drainTag, at, record)
}

// drainNews is a line of the answer to a request to drain.
type drainNews struct {
	Text    string `json:"text,omitempty"`
	Done    bool   `json:"done,omitempty"`
	Failure string `json:"failure,omitempty"`
}

// takeOut takes the instance out of service and tells of it as it goes on.
func (a *Agent) takeOut(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	wait := a.loaded.Config.Drain.Wait
	a.mu.Unlock()
	if text := r.FormValue("wait"); text != "" {
		d, err := time.ParseDuration(text)
		if err == nil {
			err = drain.CheckWait(d)
		}
		if err != nil {
			http.Error(w, "wait: "+err.Error(), http.StatusBadRequest)
			return
		}
		wait = d
	}
	tellDrain(w, r, a.drain.ByHand(wait))
}

// takeBack takes it back into service.
func (a *Agent) takeBack(w http.ResponseWriter, r *http.Request) {
	v, err := a.drain.Undo()
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	tellDrain(w, r, v)
}

// tellDrain tells who asked what happens until it is done. Who goes away stops nothing.
func tellDrain(w http.ResponseWriter, r *http.Request, v *drain.Viewer) {
	defer v.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, out := json.NewEncoder(w), http.NewResponseController(w)
	result, err := v.Watch(r.Context(), func(text string) error {
		if err := enc.Encode(drainNews{Text: text}); err != nil {
			return err
		}
		return out.Flush()
	})
	if err == nil {
		_ = enc.Encode(drainNews{Done: true, Failure: result.Failure}) // who asked may have gone
	}
}

// ErrDrainFailed is in what Drain returns when all went its way and something is left.
var ErrDrainFailed = errors.New("not all is done")

// Drain has the daemon take the instance out of service, and calls line for each thing it tells of it. A wait of 0 is that of the daemon's
// configuration.
func (c Client) Drain(ctx context.Context, wait time.Duration, line func(string)) error {
	query := ""
	if wait > 0 {
		query = "?wait=" + url.QueryEscape(wait.String())
	}
	return c.drain(ctx, http.MethodPost, query, line)
}

// TakeBack has the daemon take the instance back into service.
func (c Client) TakeBack(ctx context.Context, line func(string)) error {
	return c.drain(ctx, http.MethodDelete, "", line)
}

func (c Client) drain(ctx context.Context, method, query string, line func(string)) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://fairlead/drain"+query, nil)
	if err != nil {
		return err
	}
	answer, err := c.http().Do(r)
	if err != nil {
		return fmt.Errorf("ask the daemon on %s: %w", c.Socket, explain(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return errors.New(cmp.Or(string(bytes.TrimSpace(why)), answer.Status))
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var n drainNews
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			return fmt.Errorf("read the answer of the daemon on %s: %w", c.Socket, err)
		}
		switch {
		case !n.Done:
			line(n.Text)
		case n.Failure != "":
			return fmt.Errorf("%w: %s", ErrDrainFailed, n.Failure)
		default:
			return nil
		}
	}
	return fmt.Errorf("the daemon on %s has gone before it was done: %w", c.Socket, cmp.Or(ctx.Err(), lines.Err(), io.ErrUnexpectedEOF))
}
