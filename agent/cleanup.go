package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/cleanup"
	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/introspection"
)

// ecsState is where the ECS agent keeps its state: where it is, there are tasks to think of.
const ecsState = "/var/lib/ecs/data"

// journalDir is where journald keeps its files, if it keeps any on disk.
const journalDir = "/var/log/journal"

// rotatedAge is how old the last line of a rotated log must be: by then the reading loop has looked at it since.
const rotatedAge = time.Minute

// cleanupHost is the surroundings of a clean-up, without a daemon.
func cleanupHost(c Config) cleanup.Host {
	h := cleanup.Host{StateDir: c.State.Dir, Machine: machine("/"), SpoolDir: c.Forwarder.Spool.Dir, ECS: ecsTasks}
	if _, err := os.Stat(journalDir); err == nil {
		h.Journal = journalDir
	}
	return h
}

// ecsTasks asks the ECS agent.
func ecsTasks(ctx context.Context) cleanup.ECS {
	var e cleanup.ECS
	if _, err := os.Stat(ecsState); err == nil {
		e.Present = true
	}
	tasks, err := introspection.Client{}.Tasks(ctx)
	if err != nil {
		return e
	}
	e.Present, e.Answers = true, true
	for i := range tasks {
		t := &tasks[i]
		e.Tasks = append(e.Tasks, cleanup.Task{ARN: t.Arn, Family: t.Family, Revision: t.Version, Known: t.KnownStatus})
	}
	return e
}

// newCleaner makes the clean-up of a life. It asks the life's forwarder what is delivered, if there is one.
func (a *Agent) newCleaner(n *life) *cleanup.Cleaner {
	h := cleanupHost(n.loaded.Config)
	if n.forwarder != nil {
		h.Say = n.forwarder.Say
		h.TrimSpool = func(context.Context) (int64, error) { return n.forwarder.TrimSpool(), nil }
		d := deliveries{n.loaded.Config.Forwarder, func(context.Context) *forwarder.Status {
			if !n.wasReady() || n.stopping.Load() {
				return nil
			}
			return a.askForwarder(n.forwarder)
		}}
		h.Delivered, h.Logs, h.JournalRead = d.container, d.rotated, d.journal
	}
	return cleanup.New(n.loaded.Config.Cleanup, h, a.log, n.registry)
}

// deliveries answers what of the logs is with Fluentd already.
type deliveries struct {
	cfg    forwarder.Config
	status func(context.Context) *forwarder.Status // nil: it does not answer
}

// container says whether all of a container's log is delivered, or not ours to deliver. There may be a log where we do not look for it.
func (d deliveries) container(ctx context.Context, id, engines string) (bool, string) {
	if !d.cfg.Sources.Containers.Enabled {
		return true, ""
	}
	st := d.status(ctx)
	if st == nil || st.Stalled {
		return false, "the forwarder does not answer"
	}
	if slices.ContainsFunc(st.Excluded, func(e forwarder.Excluded) bool { return e.ContainerID == id }) {
		return true, ""
	}
	path := filepath.Join(d.cfg.Sources.Containers.Root, id, id+"-json.log")
	for i := range st.Sources {
		if s := &st.Sources[i]; s.Path == path {
			return s.Delivered, fmt.Sprintf("%d bytes are unread, or wait for an acknowledgement", s.LagBytes+s.PendingBytes)
		}
	}
	if engines == "" {
		engines = path
	}
	if info, err := os.Stat(engines); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return true, "" // it wrote nothing
	}
	if engines != path {
		return false, fmt.Sprintf("it is %s, which nobody reads (is sources.containers.root right?)", engines)
	}
	return false, "the forwarder does not know it"
}

// rotated lists the rotated logs of containers and of the ECS agent that are delivered. They are listed before the question: one that is
// rotated after it is not among them.
func (d deliveries) rotated(ctx context.Context) []cleanup.Log {
	st := d.status(ctx)
	if st == nil || st.Stalled {
		return nil
	}
	found := map[string][]cleanup.Log{}
	for i := range st.Sources {
		path := st.Sources[i].Path
		if !strings.HasPrefix(path, d.cfg.Sources.Containers.Root+"/") && !strings.HasPrefix(path, "/var/log/ecs/") {
			continue
		}
		names, err := filepath.Glob(path + ".*")
		if err != nil {
			continue // a path with brackets
		}
		for _, name := range names {
			info, err := os.Lstat(name)
			if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) < rotatedAge {
				continue
			}
			if raw, ok := info.Sys().(*syscall.Stat_t); ok {
				found[path] = append(found[path], cleanup.Log{Path: name, Dev: raw.Dev, Ino: raw.Ino, Bytes: info.Size(), Written: info.ModTime()})
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	if st = d.status(ctx); st == nil || st.Stalled {
		return nil
	}
	var list []cleanup.Log
	for i := range st.Sources {
		if s := &st.Sources[i]; s.Delivered {
			list = append(list, found[s.Path]...)
		}
	}
	return list
}

// journal says whether the journal is read as it grows.
func (d deliveries) journal(ctx context.Context) (bool, string) {
	if len(d.cfg.Sources.Journal.Units) == 0 {
		return true, ""
	}
	st := d.status(ctx)
	switch {
	case st == nil || st.Stalled:
		return false, "the forwarder does not answer"
	case st.Spool.Full != "":
		return false, "the spool takes no more"
	case st.Journal.State != "reading" && st.Journal.State != "off":
		return false, st.Journal.State
	}
	return true, ""
}

// cleanUp does a pass for `fairlead gc`.
func (a *Agent) cleanUp(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	n := a.now
	a.mu.Unlock()
	if n == nil || n.cleaner == nil || n.stopping.Load() {
		writeJSON(w, http.StatusServiceUnavailable, gcAnswer{Error: "the daemon is starting or stopping (try again)"})
		return
	}
	report, err := n.cleaner.Pass(r.Context(), r.URL.Query().Get("dry_run") == "true")
	answer := gcAnswer{Report: &report}
	code := http.StatusOK
	if err != nil {
		answer.Error, code = err.Error(), http.StatusInternalServerError
	}
	writeJSON(w, code, answer)
}

type gcAnswer struct {
	Report *cleanup.Report `json:"report,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// GC does one clean-up pass, for `fairlead gc`: the running daemon does it, or this process where none runs.
type GC struct {
	Config Config
	Log    *slog.Logger
	DryRun bool
}

// Pass does it. The report is good also with an error that says what was not done.
func (g GC) Pass(ctx context.Context) (cleanup.Report, error) {
	if socket := g.Config.Control.Socket; socket != "" {
		report, err := Client{Socket: socket}.cleanUp(ctx, g.DryRun)
		var none *noDaemonError
		if !errors.As(err, &none) {
			return report, err
		}
	}
	h := cleanupHost(g.Config)
	if len(g.Config.Forwarder.Forward.To) > 0 {
		d := deliveries{g.Config.Forwarder, func(context.Context) *forwarder.Status { return nil }}
		h.Delivered = func(ctx context.Context, id, path string) (bool, string) {
			ok, _ := d.container(ctx, id, path)
			return ok, "no daemon runs that knows"
		}
		h.JournalRead = func(context.Context) (bool, string) { return false, "no daemon runs that reads it" }
	}
	c := cleanup.New(g.Config.Cleanup, h, g.Log, prometheus.NewRegistry())
	defer c.Close()
	return c.Pass(ctx, g.DryRun)
}

// Disks says who owns the bytes of each disk that matters, for `fairlead why`. An error says what of it is guessed.
func Disks(ctx context.Context, c Config) ([]cleanup.Account, error) {
	return cleanup.Explain(ctx, cleanupHost(c))
}

// cleanUp asks the daemon for a pass.
func (c Client) cleanUp(ctx context.Context, dryRun bool) (cleanup.Report, error) {
	path := "http://fairlead/gc"
	if dryRun {
		path += "?dry_run=true"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, path, nil)
	if err != nil {
		return cleanup.Report{}, err
	}
	answer, err := c.http().Do(r)
	if err != nil {
		return cleanup.Report{}, fmt.Errorf("clean up through the daemon on %s: %w", c.Socket, explain(err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	var got gcAnswer
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	switch {
	case err != nil:
		return cleanup.Report{}, fmt.Errorf("clean up through the daemon on %s: %s: %w (is it an older version?)", c.Socket, answer.Status, err)
	case got.Report == nil:
		return cleanup.Report{}, fmt.Errorf("clean up through the daemon on %s: %s", c.Socket, got.Error)
	case got.Error != "":
		return *got.Report, fmt.Errorf("clean up through the daemon on %s: %s", c.Socket, got.Error)
	}
	return *got.Report, nil
}
