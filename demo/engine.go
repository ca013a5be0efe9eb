package demo

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"
)

// label marks our containers, with the name of the run.
const label = "fairlead.demo"

// engine has real containers of a Docker engine write.
type engine struct {
	cli     *client.Client
	oracle  *oracle
	corpora []*corpus
	name    string // of this run; also of the image
	real    string // the engine's folder of containers
	root    string // links to those of ours in it, so that what others on this host write is not even read
	parts   string // folder that is mounted into the containers

	removed atomic.Int64
}

// openEngine finds the engine and makes an image of nothing but this program.
func openEngine(ctx context.Context, dir, executable string, o *oracle) (*engine, error) {
	e := &engine{oracle: o, name: filepath.Base(dir), root: filepath.Join(dir, "containers"), parts: filepath.Join(dir, "parts")}
	var err error
	if e.corpora, err = loadCorpora(); err != nil {
		return nil, err
	}
	for _, d := range []string{e.root, e.parts} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	if e.cli, err = client.New(client.FromEnv); err != nil {
		return nil, fmt.Errorf("find the Docker engine: %w", err)
	}
	info, err := e.cli.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask the Docker engine: %w", err), e.cli.Close())
	}
	e.real = filepath.Join(info.Info.DockerRootDir, "containers")
	if _, err := os.ReadDir(e.real); err != nil {
		return nil, errors.Join(fmt.Errorf("read the engine's logs: %w (the engine must run on this host, and the demo as root)", err), e.cli.Close())
	}
	if err := e.makeImage(ctx, cmp.Or(executable, "/proc/self/exe")); err != nil {
		return nil, errors.Join(fmt.Errorf("make the image: %w", err), e.close())
	}
	return e, nil
}

func (e *engine) logs() string { return e.root }

func (e *engine) figures() string {
	return fmt.Sprintf("by %d containers of the engine; %d removed", len(casts), e.removed.Load())
}

// run has all roles played at once.
func (e *engine) run(ctx context.Context, began time.Time, d time.Duration) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range casts {
		g.Go(func() error { return e.play(ctx, i, began, began.Add(d)) })
	}
	return g.Wait()
}

// play has one container after the other play a role. Each is removed by the engine as soon as it has ended.
func (e *engine) play(ctx context.Context, i int, began, end time.Time) error {
	for n := 1; ctx.Err() == nil && time.Now().Before(end); n++ {
		until := end
		if leaves := leave(began, i, time.Now()); leaves.Before(end) {
			until = leaves
		}
		name := fmt.Sprintf("%s-%s-%d", e.name, casts[i].role, n)
		if err := e.container(ctx, i, name, began, until); err != nil {
			return fmt.Errorf("container %s: %w", name, err)
		}
		if until.Before(end) {
			e.removed.Add(1)
		}
	}
	return nil
}

// leave is when the container that plays a role now is to end: in each round it is the turn of another role.
func leave(began time.Time, role int, now time.Time) time.Time {
	t := began.Add(time.Duration(role)*(burst+pauseFor) + removeAt)
	for t.Sub(now) < removeAge {
		t = t.Add(time.Duration(len(casts)) * (burst + pauseFor))
	}
	return t
}

// container runs one container and waits until it is gone.
func (e *engine) container(ctx context.Context, role int, name string, began, until time.Time) error {
	count, err := os.OpenFile(filepath.Join(e.parts, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if err := count.Chmod(0o666); err != nil { // the engine may run containers as another user
		return err
	}
	p := part{Corpus: casts[role].corpus, Began: began, Until: until, Count: "/parts/" + name}
	created, err := e.cli.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:   name,
		Config: &api.Config{Image: e.name, Entrypoint: []string{"/fairlead", "demo", "--writer", p.String()}, Labels: map[string]string{label: e.name}},
		HostConfig: &api.HostConfig{
			AutoRemove:     true,
			NetworkMode:    "none",
			ReadonlyRootfs: true,
			LogConfig:      api.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "200k", "max-file": "5"}},
			Mounts:         []mount.Mount{{Type: mount.TypeBind, Source: e.parts, Target: "/parts"}},
		},
	})
	if err != nil {
		return err
	}
	e.follow(created.ID, name, e.corpora[role], count)
	link := filepath.Join(e.root, created.ID)
	if err := os.Symlink(filepath.Join(e.real, created.ID), link); err != nil {
		return err
	}
	defer os.Remove(link)
	// The end is waited for also if ctx ends: only then is it known what was written.
	staying := context.WithoutCancel(ctx)
	gone := e.cli.ContainerWait(staying, created.ID, client.ContainerWaitOptions{Condition: api.WaitConditionRemoved})
	if _, err := e.cli.ContainerStart(ctx, created.ID, client.ContainerStartOptions{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		_, _ = e.cli.ContainerStop(staying, created.ID, client.ContainerStopOptions{}) // it has ended by itself, or the wait tells
	})
	defer stop()
	select {
	case r := <-gone.Result:
		if r.StatusCode != 0 {
			return fmt.Errorf("the writer ended with exit code %d", r.StatusCode)
		}
		return nil
	case err := <-gone.Error:
		return err
	}
}

// follow lets the oracle learn from a container's file how much it has written.
func (e *engine) follow(id, name string, c *corpus, count *os.File) {
	words := player{c: c}
	known := uint64(0)
	var a *account
	a = e.oracle.open(id, name, func() {
		var b [8]byte
		if _, err := count.ReadAt(b[:], 0); err != nil {
			return // it has not written yet
		}
		for n := binary.BigEndian.Uint64(b[:]); known < n; known++ {
			e.oracle.expect(a, words.group(), nil, time.Now())
		}
	})
}

// close removes what is left of ours: the image, and containers after an error.
func (e *engine) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := e.removeContainers(ctx)
	if _, ierr := e.cli.ImageRemove(ctx, e.name, client.ImageRemoveOptions{Force: true, PruneChildren: true}); ierr != nil {
		err = errors.Join(err, fmt.Errorf("remove image %s: %w", e.name, ierr))
	}
	return errors.Join(err, e.cli.Close())
}

// removeContainers removes until there is none: the engine may be removing them as well, and then refuses.
func (e *engine) removeContainers(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := e.cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", label+"="+e.name)})
		if err != nil || len(list.Items) == 0 {
			return err
		}
		var errs []error
		for _, c := range list.Items {
			_, err := e.cli.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
			errs = append(errs, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("remove containers: %w", errors.Join(errs...))
		}
	}
}
