package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/fairlead/fairlead/forwarder"
	"github.com/fairlead/fairlead/internal/objects"
)

// Replay brings frames out of files back into the spool, for `fairlead replay`: through the daemon that runs with the
// configuration, or into the spool itself if none does.
type Replay struct {
	Config Config
	Log    *slog.Logger
	Tell   func(ReplayNews)

	store *objects.Store // nil until it is needed
}

// ReplayNews is what there is to tell of a file: a problem, an end, or else progress.
type ReplayNews struct {
	Path string
	forwarder.Replayed
	Percent int
	Problem string
	Done    bool
	Removed bool
}

const (
	replayBytes = 1 << 20     // of records in one request
	replayRetry = time.Second // when the spool is full
	replayOpens = time.Minute // for a daemon that starts or reloads
)

// SetAside replays all that was set aside from the spool, and removes each file when its frames are on disk.
func (r Replay) SetAside(ctx context.Context) error {
	paths, err := forwarder.SetAsideFiles(r.Config.Forwarder.Spool)
	if err != nil {
		return fmt.Errorf("list what was set aside: %w", err)
	}
	if len(paths) == 0 {
		r.Log.Info("nothing is set aside", "path", r.Config.Forwarder.Spool.Dir)
		return nil
	}
	return r.files(ctx, paths, true)
}

// Files replays files, and objects of S3 that are named s3://BUCKET/KEY; with a key that ends in a slash, all below it. They stay.
func (r Replay) Files(ctx context.Context, paths []string) error {
	var all []string
	for _, path := range paths {
		if strings.HasPrefix(path, "s3://") {
			if err := r.findStore(ctx); err != nil {
				return fmt.Errorf("replay %s: %w", path, err)
			}
			found, err := r.objects(ctx, path)
			if err != nil {
				return fmt.Errorf("replay: %w", err)
			}
			all = append(all, found...)
			continue
		}
		if forwarder.IsSegment(r.Config.Forwarder.Spool, path) {
			return fmt.Errorf("replay %s: it is a segment of the spool itself, what is in it is sent anyway", path)
		}
		all = append(all, path)
	}
	return r.files(ctx, all, false)
}

func (r *Replay) findStore(ctx context.Context) error {
	if r.store != nil {
		return nil
	}
	cfg, err := awsConfig(ctx)
	if err != nil {
		return err
	}
	r.store = objects.New(cfg)
	return nil
}

// objects answers what a URI stands for: an object, or all below it.
func (r Replay) objects(ctx context.Context, uri string) ([]string, error) {
	place, err := objects.Parse(uri)
	if err != nil {
		return nil, err
	}
	if place.Key != "" && !strings.HasSuffix(place.Key, "/") {
		return []string{uri}, nil
	}
	places, err := r.store.List(ctx, place)
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("there is nothing below %s", uri)
	}
	uris := make([]string, len(places))
	for i, p := range places {
		uris[i] = p.String()
	}
	return uris, nil
}

// open opens a file, or fetches an object into one that has no name.
func (r Replay) open(ctx context.Context, path string) (*os.File, error) {
	if !strings.HasPrefix(path, "s3://") {
		return os.Open(path)
	}
	place, err := objects.Parse(path)
	if err != nil {
		return nil, err
	}
	body, err := r.store.Get(ctx, place)
	if objects.IsNone(err) {
		return nil, fmt.Errorf("%w (for all below it, end it in a slash)", err)
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	f, err := os.CreateTemp("", "fairlead-replay-")
	if err != nil { // an image FROM scratch has no /tmp
		f, err = os.CreateTemp(r.Config.State.Dir, ".fairlead-replay-")
	}
	if err != nil {
		return nil, err
	}
	if err = os.Remove(f.Name()); err == nil {
		_, err = io.Copy(f, body)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("fetch %s: %w", path, err)
	}
	return f, nil
}

// take sends a batch of records; it returns how many are on disk.
type take func(ctx context.Context, records []byte) (forwarder.Replayed, error)

func (r Replay) files(ctx context.Context, paths []string, remove bool) error {
	all := func(t take) error {
		bad := 0
		for _, path := range paths {
			f := replayFile{r: r, path: path, take: t, remove: remove}
			if err := f.run(ctx); err != nil {
				if ctx.Err() != nil {
					return fmt.Errorf("replay %s: interrupted, run it again for the rest", path)
				}
				f.problem("%v", err)
			}
			if f.problems > 0 {
				bad++
			}
		}
		if bad > 0 {
			return fmt.Errorf("replay: %d of %d files could not be replayed whole", bad, len(paths))
		}
		return nil
	}
	client := Client{Socket: r.Config.Control.Socket}
	if client.Socket != "" {
		open, err := client.opens(ctx)
		if err != nil {
			return err
		}
		if open {
			return all(client.take)
		}
	}
	return forwarder.ReplayInto(ctx, r.Config.Forwarder.Spool, r.Log.With("component", "spool"),
		func(replay func(context.Context, io.Reader) (forwarder.Replayed, error)) error {
			return all(func(ctx context.Context, records []byte) (forwarder.Replayed, error) {
				return replay(ctx, bytes.NewReader(records))
			})
		})
}

// opens says whether a daemon has the spool open. One that starts or reloads is waited for: the spool is its own, and to take it away for a moment
// would end it.
func (c Client) opens(ctx context.Context) (bool, error) {
	for by := time.Now().Add(replayOpens); ; {
		answers, err := c.Answers(ctx)
		if err != nil || !answers {
			return false, err
		}
		done, err := c.Replay(ctx, nil) // nothing, to see whether it has the spool
		if err != nil {
			return false, err
		}
		if !done.Soon || time.Now().After(by) {
			return !done.Closed, nil
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(replayRetry / 4):
		}
	}
}

var errSpoolFull = errors.New("the spool is full")

// errSpoolSoon says that the daemon reloads or stops.
var errSpoolSoon = errors.New("the daemon has its spool closed for the moment")

func (c Client) take(ctx context.Context, records []byte) (forwarder.Replayed, error) {
	done, err := c.Replay(ctx, records)
	switch {
	case err != nil:
		return forwarder.Replayed{}, err
	case done.Full:
		return done.Replayed, fmt.Errorf("%w: %s", errSpoolFull, done.Error)
	case done.Soon:
		return done.Replayed, fmt.Errorf("%w: %s", errSpoolSoon, done.Error)
	case done.Error != "":
		return done.Replayed, errors.New(done.Error)
	}
	return done.Replayed, nil
}

// replayFile is the replay of one file.
type replayFile struct {
	r        Replay
	path     string
	take     take
	remove   bool
	size     int64
	batch    []byte
	ends     []int // where the records of the batch end in it
	done     forwarder.Replayed
	problems int
	waited   bool
}

func (f *replayFile) problem(format string, args ...any) {
	f.problems++
	f.r.Tell(ReplayNews{Path: f.path, Problem: fmt.Sprintf(format, args...)})
}

func (f *replayFile) run(ctx context.Context) error {
	file, err := f.r.open(ctx, f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	f.size = info.Size()
	err = forwarder.ReadReplay(file, f.size, func(off int64, record []byte) error {
		f.batch = append(f.batch, record...)
		f.ends = append(f.ends, len(f.batch))
		if len(f.batch) < replayBytes {
			return nil
		}
		return f.flush(ctx, off)
	}, func(text string) { f.problem("%s", text) })
	if err == nil {
		err = f.flush(ctx, f.size)
	}
	news := ReplayNews{Path: f.path, Replayed: f.done, Done: true}
	if err == nil && f.remove && f.problems == 0 && f.done.Frames > 0 {
		if err = os.Remove(f.path); err == nil {
			news.Removed = true
		}
	}
	f.r.Tell(news)
	return err
}

// flush brings the batch into the spool, however long it takes until there is room.
func (f *replayFile) flush(ctx context.Context, off int64) error {
	for len(f.ends) > 0 {
		done, err := f.take(ctx, f.batch)
		f.done.Frames += done.Frames
		f.done.Events += done.Events
		f.done.Bytes += done.Bytes
		if n := int(done.Frames); n > 0 {
			from := f.ends[n-1]
			f.batch, f.ends = f.batch[from:], f.ends[n:]
			for i := range f.ends {
				f.ends[i] -= from
			}
		}
		if err == nil && len(f.ends) > 0 {
			err = fmt.Errorf("%d records were not taken", len(f.ends))
		}
		if errors.Is(err, errSpoolFull) || errors.Is(err, errSpoolSoon) {
			if !f.waited {
				f.waited = true
				f.r.Tell(ReplayNews{Path: f.path, Problem: err.Error() + "; waiting until there is room"})
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(replayRetry):
			}
			continue
		}
		if err != nil {
			return err
		}
		if f.size > 0 {
			f.r.Tell(ReplayNews{Path: f.path, Replayed: f.done, Percent: int(100 * off / f.size)})
		}
	}
	f.batch = f.batch[:0]
	return nil
}
