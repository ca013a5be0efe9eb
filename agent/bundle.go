package agent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/ecsconfig"
	"github.com/fairlead/fairlead/collector"
	"github.com/fairlead/fairlead/internal/document"
	"github.com/fairlead/fairlead/internal/objects"
)

// Bundle makes one support bundle of this host.
type Bundle struct {
	Source    Source
	Build     Build
	Output    string // a file, "-" for Stdout; empty: named after instance and time, in the present folder
	Stdout    io.Writer
	Upload    string // s3://BUCKET/PREFIX; without Output nothing is written to disk
	Brief     bool
	Since     time.Duration
	Container string
	Deadline  time.Duration // 0: as configured
	Progress  func(collector.Event)
	Said      func(string) // what is worth a line meanwhile

	root, docker string // of the host; "/" and its engine but in tests
}

// Bundled is what came of it.
type Bundled struct {
	collector.Result
	File string // where it is, a path or an s3 address; empty: on Stdout
}

// Make gathers, and writes, uploads or both. When ctx ends there is still a whole archive, with less in it. stop ends the upload too.
func (b Bundle) Make(ctx, stop context.Context) (Bundled, error) {
	began := time.Now()
	var out Bundled
	loaded := b.Source.Load() // one with errors is no reason to have no bundle
	c := loaded.Config
	o := collector.Options{
		Root: cmp.Or(b.root, "/"), Docker: b.docker, Deadline: cmp.Or(b.Deadline, c.Bundle.Deadline), MaxBytes: int64(c.Bundle.MaxBytes), Brief: b.Brief, Since: b.Since, Container: b.Container,
		Emails: c.Bundle.Emails, Progress: b.Progress, Version: b.Build.Version + " " + b.Build.Commit, ECSKey: ecsconfig.Known, Given: b.given(loaded),
	}
	if collector.CheckDeadline(o.Deadline) != nil || o.MaxBytes <= 0 { // the configuration is broken
		d := collector.DefaultConfig()
		o.Deadline, o.MaxBytes = d.Deadline, int64(d.MaxBytes)
	}
	whole := o.Deadline
	o.Format = "gzip"
	named := b.Output != "" && b.Output != "-"
	if named {
		format, err := collector.Format(b.Output)
		if err != nil {
			return out, fmt.Errorf("--output %w", err)
		}
		o.Format = format
	}
	o.Instance = collector.InstanceID(ctx, o.Root)
	name := "collect-" + o.Instance + "-" + time.Now().Format("200601021504") + ".tgz"
	if o.Instance == collector.NoInstance {
		name = "collect-" + time.Now().Format("200601021504") + ".tgz"
	}

	switch {
	case b.Output == "-":
		var err error
		out.Result, err = collector.Run(ctx, o, b.Stdout)
		return out, err
	case b.Upload != "" && !named:
		place, err := objects.Parse(b.Upload)
		if err != nil {
			return out, fmt.Errorf("--upload: %w", err)
		}
		place = place.Under(name)
		u, err := collector.NewUpload(stop, place, b.Said)
		if err != nil {
			return out, err
		}
		out.Result, err = collector.Run(ctx, o, u)
		if err == nil {
			err = u.Close()
		}
		if err != nil {
			u.Abort()
			return out, err
		}
		out.File = place.String()
		return out, nil
	}
	path := name
	if named {
		path = b.Output
	}
	if err := room(ctx, o, filepath.Dir(path)); err != nil {
		return out, err
	}
	o.Deadline = max(whole-time.Since(began), 2*time.Second) // what hangs may have held up the above
	result, err := writeBundle(ctx, o, path)
	if err != nil {
		return out, err
	}
	out.Result, out.File = result, path
	if b.Upload != "" {
		out.File, err = UploadBundle(stop, path, b.Upload, b.Said)
		if err != nil {
			return out, fmt.Errorf("%w (the bundle is in %s; to go on: fairlead bundle --upload %s %s)", err, path, b.Upload, path)
		}
	}
	return out, nil
}

// UploadBundle brings a bundle that is there to S3, or what a former attempt did not, and answers its address.
func UploadBundle(ctx context.Context, path, to string, said func(string)) (string, error) {
	place, err := objects.Parse(to)
	if err != nil {
		return "", fmt.Errorf("--upload: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the bundle %s: %w", path, reason(err))
	}
	defer f.Close()
	place = place.Under(filepath.Base(path))
	if _, err := collector.UploadFile(ctx, place, f, said); err != nil {
		return "", err
	}
	return place.String(), nil
}

// writeBundle makes the file: beside its place until it is whole, for root alone.
func writeBundle(ctx context.Context, o collector.Options, path string) (result collector.Result, err error) {
	dir := filepath.Dir(path)
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return result, fmt.Errorf("--output %s: it is there and not a regular file", path)
	}
	f, err := os.CreateTemp(dir, ".fairlead-bundle-*") // 0600
	if err != nil {
		return result, fmt.Errorf("write the bundle to %s: %w (choose another place with --output, or - for standard output)", path, reason(err))
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	result, err = collector.Run(ctx, o, f)
	if err != nil {
		return result, fmt.Errorf("write the bundle to %s: %w (try --output - or --upload s3://BUCKET/PREFIX)", path, err)
	}
	if err := f.Close(); err != nil {
		return result, fmt.Errorf("write the bundle to %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return result, fmt.Errorf("write the bundle to %s: %w", path, reason(err))
	}
	return result, nil
}

// room refuses a folder that has none for what the bundle will probably be.
func room(ctx context.Context, o collector.Options, dir string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("write the bundle to %s: %w", dir, err)
	}
	need, free := collector.Estimate(ctx, o), int64(s.Bavail)*s.Bsize
	if free < need {
		return fmt.Errorf("write the bundle to %s: it needs about %d MiB and %d MiB are free (use --upload s3://BUCKET/PREFIX or --output - , which need no room, --output on another disk, or --brief)", dir, need>>20+1, free>>20)
	}
	return nil
}

// given are the sources that the packages below the agent know: the daemon, its spool, the rendered ecs.config.
func (b Bundle) given(loaded Loaded) []collector.Given {
	c := loaded.Config
	client := Client{Socket: c.Control.Socket}
	ask := func(path string) func(context.Context) ([]byte, error) {
		return func(ctx context.Context) ([]byte, error) {
			if client.Socket == "" {
				return nil, fs.ErrNotExist
			}
			return client.bytes(ctx, path)
		}
	}
	list := []collector.Given{
		{Path: "fairlead/status.json", Within: 6 * time.Second, Gather: ask("/status"), Found: foundStatus},
		{Path: "fairlead/metrics.txt", Within: 6 * time.Second, Gather: ask("/metrics")},
		{Path: "fairlead/goroutines.txt", Within: 5 * time.Second, Gather: ask("/debug/pprof/goroutine?debug=1")},
		{Path: "fairlead/heap.txt", Within: 5 * time.Second, Gather: ask("/debug/pprof/heap?debug=1")},
		{Path: "fairlead/spool.txt", Within: 3 * time.Second, Gather: func(context.Context) ([]byte, error) { return listing(c.State.Dir) }},
		{Path: "fairlead/config.json", Within: time.Second, Gather: func(context.Context) ([]byte, error) {
			return json.Marshal(struct {
				Files    []string
				Findings []document.Finding
				Config   Config
			}{loaded.Files, loaded.Findings, c})
		}},
	}
	if b.root == "" && b.Source.Path != "" {
		list = append(list, collector.Given{Path: "ecs-agent/ecs.config.diff", Within: 9 * time.Second, Gather: b.rendered, Found: foundRendering})
	}
	return list
}

// bytes is do for an answer of any kind.
func (c Client) bytes(ctx context.Context, path string) ([]byte, error) {
	answer, err := c.do(ctx, http.MethodGet, path)
	if err != nil {
		var none *noDaemonError
		if errors.As(err, &none) {
			return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
		}
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 8<<20))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return text, err
}

// foundStatus reads what rules want to know off the daemon's status.
func foundStatus(text []byte, f *collector.Facts) {
	var s Status
	f.Fairlead.Asked = true
	if err := json.Unmarshal(text, &s); err != nil {
		f.Fairlead.Why = err.Error()
		return
	}
	l := &f.Fairlead
	l.Up = true
	for _, r := range s.Ready.Reasons {
		l.NotReady = append(l.NotReady, r.Text)
	}
	if s.Forwarder == nil {
		return
	}
	st := s.Forwarder
	l.Forwarding = true
	l.Lost, l.Imbalance = st.Ledger.Lost, st.Ledger.Imbalance
	l.PendingBytes, l.Capacity, l.UnackedSeconds = st.Spool.PendingBytes, st.Spool.CapacityBytes, st.Spool.UnackedSeconds
	l.Full, l.Failing = st.Spool.Full, st.Spool.Failing
	for _, src := range st.Sources {
		l.Sources = append(l.Sources, collector.Flow{Tag: src.Tag, ReadBytes: src.ReadBytes, LagBytes: src.LagBytes, Pending: src.PendingBytes, Lines: src.Lines, Events: src.Events})
	}
}

// rendered compares ecs.config with what fairlead render would make of it.
func (b Bundle) rendered(ctx context.Context) ([]byte, error) {
	r := Rendering{Source: b.Source, Output: ECSConfig}
	if _, err := os.Stat(filepath.Dir(ECSConfig)); err != nil {
		return nil, fs.ErrNotExist
	}
	out, err := r.Plan(ctx)
	var text bytes.Buffer
	for _, f := range out.Findings {
		fmt.Fprintf(&text, "%s%s\n", findingMark, f)
	}
	if err != nil {
		return text.Bytes(), err
	}
	if d := out.Diff(ECSConfig, out.Before); d != "" {
		text.WriteString(d)
	} else {
		text.WriteString("what stands in " + ECSConfig + " is what fairlead render would write\n")
	}
	return text.Bytes(), nil
}

const findingMark = "finding: "

func foundRendering(text []byte, f *collector.Facts) {
	for l := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(bytes.TrimSpace(l), []byte(findingMark)); ok {
			f.Config = append(f.Config, string(rest))
		}
	}
}

// listing names the files below the state folder, with their sizes and times.
func listing(dir string) ([]byte, error) {
	var b bytes.Buffer
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == dir {
				return err
			}
			return nil
		}
		if n++; n > 10_000 {
			b.WriteString("and more\n")
			return filepath.SkipAll
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%s %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), path)
		}
		return nil
	})
	return b.Bytes(), err
}
