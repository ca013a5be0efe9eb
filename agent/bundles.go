package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/collector"
)

// BundleStatus says how the last support bundle that the daemon was asked for fares.
type BundleStatus struct {
	Reason  string    `json:"reason"`
	Began   time.Time `json:"began"`
	Running bool      `json:"running"`
	File    string    `json:"file,omitempty"` // or its address in S3
	Error   string    `json:"error,omitempty"`
}

// bundles makes support bundles for those who ask the daemon, one at a time and seldom. A process of its own makes them: its memory and
// whatever hangs it are not the daemon's.
type bundles struct {
	source  Source
	log     *slog.Logger
	asked   chan string // why
	program string      // this one, but in tests

	mu     sync.Mutex // guards what follows
	status *BundleStatus
}

func newBundles(source Source, log *slog.Logger) *bundles {
	return &bundles{source: source, log: log.With("component", "bundle"), asked: make(chan string, 1), program: "/proc/self/exe"}
}

// Status is nil before the first one.
func (b *bundles) Status() *BundleStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status == nil {
		return nil
	}
	s := *b.status
	return &s
}

var errBusy = errors.New("one is being made")

// alertAfter is how long the daemon is not ready before bundle.on_alert counts that.
const alertAfter = 5 * time.Minute

// run makes bundles until the context ends: for a signal, for who asks on the control socket, and on an alert.
func (b *bundles) run(ctx context.Context, signals <-chan os.Signal, config func() collector.Config, ready func(context.Context) Verdict) {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	var since time.Time // when it was ready last; zero: it is
	alerted := false
	for {
		reason := ""
		select {
		case <-ctx.Done():
			return
		case <-signals:
			reason = "SIGUSR1"
		case reason = <-b.asked:
		case now := <-tick.C:
			c := config()
			if !c.OnAlert {
				continue
			}
			v := ready(ctx)
			switch {
			case v.OK:
				since, alerted = time.Time{}, false
			case since.IsZero():
				since = now
			case !alerted && now.Sub(since) >= alertAfter:
				alerted = true
				reason = "not ready: " + v.Reasons[0].Text
			}
		}
		if reason == "" {
			continue
		}
		if err := b.begin(config(), reason, time.Now()); err != nil {
			b.log.Warn("no bundle is made", "asked by", reason, "err", err)
			continue
		}
		file, err := b.make(ctx, config())
		b.end(file, err)
	}
}

// begin refuses one that comes too soon after another.
func (b *bundles) begin(c collector.Config, reason string, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := newestBundle(c.Dir)
	if b.status != nil && b.status.Began.After(last) {
		last = b.status.Began
	}
	if wait := c.Every - now.Sub(last); wait > 0 {
		return fmt.Errorf("the last one is of %s, and bundle.every allows the next in %v (by hand: fairlead bundle)", last.UTC().Format(time.RFC3339), wait.Round(time.Second))
	}
	b.status = &BundleStatus{Reason: reason, Began: now, Running: true}
	return nil
}

func (b *bundles) end(file string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Running = false
	if err != nil {
		b.status.Error = err.Error()
		b.log.Error("no bundle", "asked by", b.status.Reason, "err", err)
		return
	}
	b.status.File = file
	b.log.Info("bundle made", "asked by", b.status.Reason, "file", file)
}

func bundlesIn(dir string) []string {
	list, _ := filepath.Glob(filepath.Join(dir, "collect-*.tgz"))
	slices.Sort(list) // named after their time
	return list
}

func newestBundle(dir string) (at time.Time) {
	for _, path := range bundlesIn(dir) {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	return at
}

// make runs fairlead bundle.
func (b *bundles) make(ctx context.Context, c collector.Config) (string, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return "", err
	}
	defer b.prune(c) // also where only the upload fails, again and again
	path := filepath.Join(c.Dir, "collect-"+time.Now().UTC().Format("20060102T150405Z")+".tgz")
	args := []string{"bundle", "--output", path, "--config", b.source.Path}
	if c.Upload != "" {
		args = append(args, "--upload", c.Upload)
	}
	cmd := exec.Command(b.program, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(slices.Clone(b.source.Environ), "NOTIFY_SOCKET=", "LISTEN_FDS=")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGTERM) // it ends with what there is
		t := time.NewTimer(5 * time.Second)
		defer t.Stop()
		select {
		case err = <-ended:
		case <-t.C:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			err = <-ended
		}
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	last := lines[len(lines)-1]
	if err != nil {
		return "", fmt.Errorf("fairlead bundle: %w: %s", err, last)
	}
	return cmp.Or(last, path), nil
}

// prune leaves the newest.
func (b *bundles) prune(c collector.Config) {
	list := bundlesIn(c.Dir)
	for _, path := range list[:max(0, len(list)-c.Keep)] {
		if err := os.Remove(path); err != nil {
			b.log.Warn("an old bundle stays", "path", path, "err", err)
		}
	}
}

// bundleConfig is that of the life at work.
func (a *Agent) bundleConfig() collector.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loaded.Config.Bundle
}

// askBundle has one made for who asks on the control socket. It does not wait: GET /status says how it goes.
func (a *Agent) askBundle(w http.ResponseWriter, r *http.Request) {
	reason := cmp.Or(r.URL.Query().Get("reason"), "control socket")
	if s := a.bundles.Status(); s != nil && s.Running {
		http.Error(w, errBusy.Error(), http.StatusTooManyRequests)
		return
	}
	c := a.bundleConfig()
	if wait := c.Every - time.Since(newestBundle(c.Dir)); wait > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		http.Error(w, fmt.Sprintf("bundle.every allows the next in %v", wait.Round(time.Second)), http.StatusTooManyRequests)
		return
	}
	select {
	case a.bundles.asked <- fmt.Sprintf("%.100s", reason):
		w.WriteHeader(http.StatusAccepted)
	default:
		http.Error(w, errBusy.Error(), http.StatusTooManyRequests)
	}
}
