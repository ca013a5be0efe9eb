package cleanup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"

	"github.com/fairlead/fairlead/cleanup/plan"
	"github.com/fairlead/fairlead/internal/dockerd"
)

// engine is what is asked of Docker. Tests have one that does things in between.
type engine interface {
	// info answers the engine's root folder, and its thin pool if it has one.
	info(ctx context.Context) (root string, pool *plan.Disk, err error)
	// volumes lists those that no container refers to.
	volumes(ctx context.Context) (list []plan.Volume, warnings []string, err error)
	// volume answers the volume, used or not.
	volume(ctx context.Context, name string) (plan.Volume, error)
	// containers lists them in all states: those that mount one of the volumes, by name or by path, or all.
	containers(ctx context.Context, volumes ...string) ([]plan.Container, error)
	images(ctx context.Context) ([]plan.Image, error)
	inspect(ctx context.Context, id string) (inspected, error)
	inspectImage(ctx context.Context, id string) (i plan.Image, tagged time.Time, err error)

	removeVolume(ctx context.Context, name string) error
	removeContainer(ctx context.Context, id string, withVolumes bool) error
	removeImage(ctx context.Context, reference string) error
	pruneBuildCache(ctx context.Context, unusedFor time.Duration) (bytes int64, err error)

	// up is for how long the engine runs, if that can be seen.
	up() (time.Duration, bool)
	// events calls what for each event until the connection ends; ready once it listens.
	events(ctx context.Context, ready func(), what func(event)) error
	close() error
}

// inspected is what only a look at the container itself tells.
type inspected struct {
	final     plan.Final // without whether its log is delivered
	logDriver string
	logPath   string // of the engine's own log of it; "": it has none
	volumes   []string
	plain     bool // all of those with a name that the engine makes up are of the local driver
}

// event is something that happened in the engine.
type event struct {
	kind, action, id string
}

// errGone says that a thing is not there any more; errBusy that the engine refuses to remove it because it is used.
var (
	errGone = errors.New("it is gone")
	errBusy = errors.New("it is in use")
)

// Limits for one call. A list of 10,000 volumes takes a second on a busy host, a removal as long as the disk does.
const (
	askTimeout    = 30 * time.Second
	removeTimeout = 2 * time.Minute
	pruneTimeout  = 5 * time.Minute
)

// docker is the real engine.
type docker struct{ c *client.Client }

func openDocker(host string) (*docker, error) {
	c, err := dockerd.New(host)
	if err != nil {
		return nil, err
	}
	return &docker{c}, nil
}

func (d *docker) close() error { return d.c.Close() }

func (d *docker) up() (time.Duration, bool) { return dockerd.Up(d.c.DaemonHost()) }

// refused is an error of the engine as ours, with what was tried.
func refused(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return errGone
	case errdefs.IsConflict(err):
		return fmt.Errorf("%w: %w", errBusy, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (d *docker) info(ctx context.Context) (string, *plan.Disk, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", nil, refused("ask for the engine's figures", err)
	}
	return r.Info.DockerRootDir, thinPool(r.Info.Driver, r.Info.DriverStatus), nil
}

func (d *docker) volumes(ctx context.Context) ([]plan.Volume, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.c.VolumeList(ctx, client.VolumeListOptions{Filters: client.Filters{}.Add("dangling", "true")})
	if err != nil {
		return nil, nil, refused("list unused volumes", err)
	}
	list := make([]plan.Volume, len(r.Items))
	for i := range r.Items {
		list[i] = newVolume(&r.Items[i])
	}
	return list, r.Warnings, nil
}

func (d *docker) volume(ctx context.Context, name string) (plan.Volume, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.c.VolumeInspect(ctx, name, client.VolumeInspectOptions{})
	if err != nil {
		return plan.Volume{}, refused("look at volume "+name, err)
	}
	return newVolume(&r.Volume), nil
}

func newVolume(v *volume.Volume) plan.Volume {
	return plan.Volume{Name: v.Name, Driver: v.Driver, Scope: v.Scope, Mountpoint: v.Mountpoint, CreatedAt: v.CreatedAt, Labels: v.Labels, Options: v.Options}
}

func (d *docker) containers(ctx context.Context, volumes ...string) ([]plan.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	options := client.ContainerListOptions{All: true}
	if len(volumes) > 0 {
		options.Filters = client.Filters{}.Add("volume", volumes...)
	}
	r, err := d.c.ContainerList(ctx, options)
	if err != nil {
		return nil, refused("list containers", err)
	}
	list := make([]plan.Container, len(r.Items))
	for i := range r.Items {
		list[i] = newContainer(&r.Items[i])
	}
	return list, nil
}

func newContainer(s *container.Summary) plan.Container {
	c := plan.Container{ID: s.ID, Image: s.Image, ImageID: s.ImageID, State: string(s.State), Exit: exitCode(s.Status), Created: time.Unix(s.Created, 0), Labels: s.Labels}
	if len(s.Names) > 0 {
		c.Name = strings.TrimPrefix(s.Names[0], "/")
	}
	for _, m := range s.Mounts {
		switch {
		case m.Type == "volume" && m.Name != "":
			c.Volumes = append(c.Volumes, m.Name)
		case m.Type == "bind":
			c.Binds = append(c.Binds, m.Source)
		}
	}
	return c
}

// exitCode reads "Exited (1) 5 minutes ago"; the listing has it nowhere else.
func exitCode(status string) int {
	rest, ok := strings.CutPrefix(status, "Exited (")
	if !ok {
		return 0
	}
	code := 0
	for _, r := range rest {
		if r < '0' || r > '9' || code > 1<<20 {
			break
		}
		code = 10*code + int(r-'0')
	}
	return code
}

func (d *docker) images(ctx context.Context) ([]plan.Image, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.c.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, refused("list images", err)
	}
	list := make([]plan.Image, len(r.Items))
	for i := range r.Items {
		list[i] = newImage(&r.Items[i])
	}
	return list, nil
}

func newImage(s *image.Summary) plan.Image {
	return plan.Image{ID: s.ID, Tags: named(s.RepoTags), Digests: named(s.RepoDigests), Created: time.Unix(s.Created, 0), Bytes: s.Size, Labels: s.Labels}
}

// named leaves out <none>:<none>, by which older engines say that there is no name.
func named(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return strings.HasPrefix(s, "<none>") })
}

func (d *docker) inspect(ctx context.Context, id string) (inspected, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return inspected{}, refused("look at container "+id, err)
	}
	c, out := r.Container, inspected{plain: true}
	if c.State == nil || c.HostConfig == nil {
		return inspected{}, fmt.Errorf("look at container %s: the engine does not tell its state", id)
	}
	out.final.RestartPolicy = string(c.HostConfig.RestartPolicy.Name)
	out.logDriver, out.logPath = c.HostConfig.LogConfig.Type, c.LogPath
	if out.final.Finished, err = time.Parse(time.RFC3339Nano, c.State.FinishedAt); err != nil {
		return inspected{}, fmt.Errorf("look at container %s: %q is no time", id, c.State.FinishedAt)
	}
	// Those with a name of the user's stay when the container goes, whatever their driver. The engine knows them by their source; here the
	// name itself has to do, which may take one for anonymous that is not: then it is looked at in vain.
	for _, m := range c.Mounts {
		if m.Type != "volume" || m.Name == "" {
			continue
		}
		out.volumes = append(out.volumes, m.Name)
		out.plain = out.plain && (m.Driver == "local" || !plan.Anonymous(m.Name))
	}
	return out, nil
}

func (d *docker) inspectImage(ctx context.Context, id string) (plan.Image, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := d.c.ImageInspect(ctx, id)
	if err != nil {
		return plan.Image{}, time.Time{}, refused("look at image "+id, err)
	}
	i := plan.Image{ID: r.ID, Tags: named(r.RepoTags), Digests: named(r.RepoDigests), Bytes: r.Size}
	if r.Config != nil {
		i.Labels = r.Config.Labels
	}
	return i, r.Metadata.LastTagTime, nil
}

func (d *docker) removeVolume(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	_, err := d.c.VolumeRemove(ctx, name, client.VolumeRemoveOptions{})
	return refused("remove volume "+name, err)
}

func (d *docker) removeContainer(ctx context.Context, id string, withVolumes bool) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	_, err := d.c.ContainerRemove(ctx, id, client.ContainerRemoveOptions{RemoveVolumes: withVolumes})
	return refused("remove container "+id, err)
}

func (d *docker) removeImage(ctx context.Context, reference string) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	_, err := d.c.ImageRemove(ctx, reference, client.ImageRemoveOptions{PruneChildren: true})
	return refused("remove image "+reference, err)
}

func (d *docker) pruneBuildCache(ctx context.Context, unusedFor time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	r, err := d.c.BuildCachePrune(ctx, client.BuildCachePruneOptions{Filters: client.Filters{}.Add("until", unusedFor.String())})
	return int64(r.Report.SpaceReclaimed), refused("remove old build cache", err)
}

func (d *docker) events(ctx context.Context, ready func(), what func(event)) error {
	r := d.c.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.Add("type", "volume", "container").
		Add("event", "create", "mount", "unmount", "die", "destroy")})
	ready()
	for {
		select {
		case m := <-r.Messages:
			what(event{string(m.Type), string(m.Action), m.Actor.ID})
		case err := <-r.Err:
			return err
		}
	}
}
