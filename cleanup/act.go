package cleanup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// act removes what the plan says, one thing after the other, until the disks stand at the low mark. An engine that does not answer a
// removal is left in peace until the next pass.
func (c *Cleaner) act(ctx context.Context, w *plan.World, m *plan.Memory, r *Report) {
	b := newBudget(time.Now())
	c.listing = listing{}
	defer func() { c.listing = listing{} }()
	failures := 0 // in a row
	for i := range r.Items {
		item := &r.Items[i]
		if item.Action != plan.Remove {
			continue
		}
		if ctx.Err() != nil {
			item.Action, item.Reason = plan.Wait, "the pass was ended"
			continue
		}
		if item.Step != "" {
			if err := c.refresh(ctx, w, item.Kind); err != nil {
				item.Action, item.Reason = plan.Wait, err.Error()
				r.Errors = append(r.Errors, err.Error())
				c.metrics.errors.Inc()
				c.waitForEngine(r, i+1)
				continue
			}
			if c.policy.Relieved(w, item.Step, r.Pressure) {
				item.Action, item.Reason = plan.Wait, "the disk is at its low mark: "+item.Reason
				continue
			}
		}
		if c.cfg.DryRun {
			c.measure(b, w, item)
			item.Action, item.Reason = plan.Wait, "cleanup.dry_run is set: "+item.Reason
			continue
		}
		err := c.remove(ctx, w, m, item, b)
		v, judged := asVerdict(err)
		switch {
		case err == nil:
			r.Removed++
			r.ReclaimedBytes += item.Bytes
			c.metrics.removed.WithLabelValues(string(item.Kind)).Inc()
			c.metrics.reclaimed.WithLabelValues(string(item.Kind)).Add(float64(item.Bytes))
			c.log.Info("removed", "kind", item.Kind, "id", item.ID, "name", item.Name, "bytes", item.Bytes, "reason", item.Reason)
		case judged:
			item.Action, item.Reason = v.action, v.reason
		case errors.Is(err, errGone):
			item.Action, item.Reason = plan.Keep, "it is gone already"
		case errors.Is(err, errBusy):
			item.Action, item.Reason = plan.Keep, "the engine says that it is used"
		default:
			item.Action, item.Reason = plan.Wait, err.Error()
			r.Errors = append(r.Errors, err.Error())
			c.metrics.errors.Inc()
			if fromEngine(item.Kind) {
				if failures++; failures == maxFailures || errors.Is(err, context.DeadlineExceeded) {
					c.waitForEngine(r, i+1)
				}
			}
			continue
		}
		failures = 0
	}
}

// maxFailures in a row and the engine is left in peace: it has gone, or is unwell.
const maxFailures = 3

func fromEngine(k plan.Kind) bool {
	return k == plan.KindVolume || k == plan.KindContainer || k == plan.KindImage || k == plan.KindBuildCache
}

// waitForEngine leaves the rest of what the engine holds for the next pass.
func (c *Cleaner) waitForEngine(r *Report, from int) {
	for i := from; i < len(r.Items); i++ {
		if item := &r.Items[i]; item.Action == plan.Remove && fromEngine(item.Kind) {
			item.Action, item.Reason = plan.Wait, "the engine does not answer"
		}
	}
}

// refresh looks at the disks again. A forecast shifts with what is free. The thin pool shows only to who asks the engine, which is done
// before each removal that may free something in it.
func (c *Cleaner) refresh(ctx context.Context, w *plan.World, kind plan.Kind) error {
	if fromEngine(kind) && c.gauge.pooled() {
		root, pool, err := c.docker.info(ctx)
		if err != nil {
			return err
		}
		c.gauge.engine(root, pool)
	}
	for _, d := range c.gauge.look() {
		for i := range w.Disks {
			if old := &w.Disks[i]; old.Mount == d.Mount {
				if old.UntilFull != plan.Never && old.FreeBytes > 0 {
					old.UntilFull = time.Duration(float64(old.UntilFull) * float64(d.FreeBytes) / float64(old.FreeBytes))
				}
				old.Bytes, old.FreeBytes, old.Inodes, old.FreeInodes = d.Bytes, d.FreeBytes, d.Inodes, d.FreeInodes
			}
		}
	}
	return nil
}

// remove looks at one thing once more, and removes it if nothing has changed.
func (c *Cleaner) remove(ctx context.Context, w *plan.World, m *plan.Memory, item *plan.Item, b *budget) error {
	switch item.Kind {
	case plan.KindVolume:
		c.measure(b, w, item) // before the last look, which is to be the last
		if err := c.checkVolume(ctx, w, m, item); err != nil {
			return err
		}
		return c.recorded(ctx, item, func() error { return c.docker.removeVolume(ctx, item.ID) })
	case plan.KindContainer:
		return c.removeContainer(ctx, w, m, item, b)
	case plan.KindImage:
		if err := c.checkImage(ctx, w, m, item); err != nil {
			return err
		}
		return c.freeing(item, w.Engine.Root, func() error {
			return c.recorded(ctx, item, func() error { return c.removeImage(ctx, item.Image) })
		})
	case plan.KindLog:
		return c.recorded(ctx, item, func() error { return removeLog(item.Log) })
	case plan.KindBuildCache:
		return c.trimmed(ctx, item, func() (int64, error) { return c.docker.pruneBuildCache(ctx, 24*time.Hour) })
	case plan.KindJournal:
		return c.vacuum(ctx, item)
	case plan.KindSpool:
		if c.host.TrimSpool == nil {
			return &verdictError{plan.Keep, "everything in it waits for an acknowledgement"}
		}
		return c.trimmed(ctx, item, func() (int64, error) { return c.host.TrimSpool(ctx) })
	}
	panic("cleanup: no way to remove a " + string(item.Kind))
}

// recorded removes something, with a line of the history before, and an event after. Where the history cannot be written, the log has to
// do: a full disk is why we are here.
func (c *Cleaner) recorded(ctx context.Context, item *plan.Item, remove func() error) error {
	r := Removal{Time: time.Now().UTC(), Kind: item.Kind, ID: item.ID, Name: item.Name, Bytes: item.Bytes, Reason: item.Reason, Step: item.Step, Family: item.Family}
	if err := c.state.record(r); err != nil {
		c.metrics.errors.Inc()
		c.log.Warn("not in the history", "kind", r.Kind, "id", r.ID, "reason", r.Reason, "err", err)
	}
	if err := remove(); err != nil {
		r.Time, r.Failed = time.Now().UTC(), err.Error()
		if err := c.state.record(r); err != nil {
			c.log.Warn("not in the history", "kind", r.Kind, "id", r.ID, "failed", r.Failed, "err", err)
		}
		return err
	}
	c.say(ctx, r)
	return nil
}

// sayWithin is how long a clean-up waits for the spool to take its event. One that waits for room in a full spool must not: making
// room is what it is for.
const sayWithin = time.Second

// say sends a removal to Fluentd. The history has it in any case.
func (c *Cleaner) say(ctx context.Context, r Removal) {
	if c.host.Say == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sayWithin)
	defer cancel()
	record := map[string]any{"log": fmt.Sprintf("removed %s %s: %s", r.Kind, r.ID, r.Reason), "kind": string(r.Kind), "id": r.ID, "bytes": r.Bytes, "reason": r.Reason}
	for key, value := range map[string]string{"name": r.Name, "step": string(r.Step), "family": r.Family} {
		if value != "" {
			record[key] = value
		}
	}
	if err := c.host.Say(ctx, "fairlead.cleanup", r.Time, record); err != nil {
		c.metrics.errors.Inc()
		c.log.Debug("event not taken", "id", r.ID, "err", err)
	}
}

// surroundings completes a world that was looked at anew for one thing right before it goes. They come after the listings: an engine that was
// started again in between shows as young, and a task that has begun shows.
func (c *Cleaner) surroundings(ctx context.Context, now *plan.World, w *plan.World) {
	now.Disks, now.Engine.Root = w.Disks, w.Engine.Root
	if c.host.ECS != nil {
		now.ECS = c.host.ECS(ctx)
	}
	now.Now = c.now()
	now.Engine.Up = c.engineUp()
}

// listing is what the engine lists as unused. Of 10,000 volumes it is long, and a filter by name takes the engine longer still; so one
// serves for as many removals as come in a moment, and what concerns the one volume is asked for each.
type listing struct {
	at       plan.Clock
	unused   map[string]bool
	warnings []string
}

const listingAge = 2 * time.Second

// unused answers a listing that is no older than that.
func (c *Cleaner) unused(ctx context.Context) (listing, error) {
	now := c.now()
	if l := c.listing; l.unused != nil && l.at.Boot == now.Boot && now.Since(l.at) < listingAge {
		return l, nil
	}
	list, warnings, err := c.docker.volumes(ctx)
	if err != nil {
		return listing{}, err
	}
	c.listing = listing{now, make(map[string]bool, len(list)), warnings}
	for i := range list {
		c.listing.unused[list[i].Name] = true
	}
	return c.listing, nil
}

// checkVolume is the look at a volume right before it goes: the whole law once more, on what is so now.
func (c *Cleaner) checkVolume(ctx context.Context, w *plan.World, m *plan.Memory, item *plan.Item) error {
	l, err := c.unused(ctx)
	if err != nil {
		return err
	}
	now := &plan.World{Engine: plan.Engine{Warnings: l.warnings}}
	// Any container of the task definition may be about to use the volume of a task, so for those all are listed; for an anonymous one it
	// is enough to see who uses it.
	var of []string
	if plan.Anonymous(item.ID) {
		of = []string{item.ID, item.Volume.Mountpoint}
	}
	if now.Containers, err = c.docker.containers(ctx, of...); err != nil {
		return err
	}
	// The volume itself comes last: a container that came and went meanwhile has left its trace in it.
	v, err := c.docker.volume(ctx, item.ID)
	if err != nil {
		return err
	}
	now.Volumes = []plan.Volume{v}
	c.surroundings(ctx, now, w)
	if !l.unused[item.ID] || c.wasUsed(item.ID) {
		delete(m.Volumes, item.ID)
		return &verdictError{plan.Keep, "it was used meanwhile"}
	}
	if action, reason := c.policy.JudgeVolume(now, m, &now.Volumes[0], item.Tight()); action != plan.Remove {
		return &verdictError{action, reason}
	}
	return nil
}

func (c *Cleaner) wasUsed(volume string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used[volume]
}

// removeContainer looks at a container and its task, and removes it. Anonymous volumes go with it only for a family that fails again and
// again, and only if all of them are plain ones; otherwise they are left to have their own grace.
func (c *Cleaner) removeContainer(ctx context.Context, w *plan.World, m *plan.Memory, item *plan.Item, b *budget) error {
	now := &plan.World{}
	// Its task has others, and one that was made meanwhile shows that the task goes on.
	var err error
	if now.Containers, err = c.docker.containers(ctx); err != nil {
		return err
	}
	c.surroundings(ctx, now, w)
	var fresh *plan.Container
	for i := range now.Containers {
		if now.Containers[i].ID == item.ID {
			fresh = &now.Containers[i]
		}
	}
	if fresh == nil {
		return errGone
	}
	if action, reason := c.policy.JudgeContainer(now, m, fresh); action != plan.Remove {
		return &verdictError{action, reason}
	}
	in, err := c.docker.inspect(ctx, item.ID)
	if err != nil {
		return err
	}
	final := in.final
	if fresh.State == "created" { // for a task that is over: it has stood there since
		final.Finished = fresh.Created
	}
	final.Delivered = true
	if c.host.Delivered != nil && (in.logDriver == "json-file" || in.logDriver == "") {
		final.Delivered, final.Why = c.host.Delivered(ctx, item.ID, in.logPath)
	}
	if action, reason := c.policy.JudgeFinal(now.Now.Wall, &final, item.Family != ""); action != plan.Remove {
		return &verdictError{action, reason}
	}
	if item.WithVolumes {
		if item.WithVolumes, err = c.plainVolumes(ctx, now, item.ID, in); err != nil {
			return err
		}
	}
	c.measureContainer(b, w, item, in.volumes)
	if !item.WithVolumes && m.Leave(now.Now.Wall, fresh.Volumes) {
		c.remember(*m) // before they are left: we may be killed in between
	}
	return c.recorded(ctx, item, func() error { return c.docker.removeContainer(ctx, item.ID, item.WithVolumes) })
}

// plainVolumes says whether the anonymous volumes of a container may go with it: each is of the local driver, without options, without
// foreign labels, and nobody else refers to it.
func (c *Cleaner) plainVolumes(ctx context.Context, w *plan.World, id string, in inspected) (bool, error) {
	if !in.plain {
		return false, nil
	}
	for _, name := range in.volumes {
		if !plan.Anonymous(name) {
			continue // stays
		}
		v, err := c.docker.volume(ctx, name)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return false, err
		}
		if !c.policy.Plain(w, &v) {
			return false, nil
		}
		for i := range w.Containers {
			if o := &w.Containers[i]; o.ID != id && slices.Contains(o.Uses(), name) {
				return false, nil
			}
		}
	}
	return true, nil
}

// checkImage is the look at an image right before it goes.
func (c *Cleaner) checkImage(ctx context.Context, w *plan.World, m *plan.Memory, item *plan.Item) error {
	now := &plan.World{}
	i, tagged, err := c.docker.inspectImage(ctx, item.ID)
	if err != nil {
		return err
	}
	i.ID = item.ID
	if now.Containers, err = c.docker.containers(ctx); err != nil {
		return err
	}
	c.surroundings(ctx, now, w)
	if now.Now.Wall.Sub(tagged) < c.policy.Pressure.ImageGrace {
		delete(m.Images, item.ID)
		return &verdictError{plan.Wait, "it was pulled or tagged just now"}
	}
	if action, reason := c.policy.JudgeImage(now, m, &i); action != plan.Remove {
		return &verdictError{action, reason}
	}
	item.Image = &i
	return nil
}

// removeImage takes each of its names away; with the last one the image goes. The engine refuses where a container uses it.
func (c *Cleaner) removeImage(ctx context.Context, i *plan.Image) error {
	if len(i.Tags) == 0 {
		return c.docker.removeImage(ctx, i.ID)
	}
	for _, tag := range i.Tags {
		if err := c.docker.removeImage(ctx, tag); err != nil && !errors.Is(err, errGone) {
			return err
		}
	}
	return nil
}

// removeLog removes a rotated log file, and no other that has come to its name: it gets a name that nobody else gives, and what then
// stands there is what is removed, or put back.
func removeLog(l *plan.Log) error {
	aside := l.Path + ".fairlead-remove"
	if err := unix.Renameat2(unix.AT_FDCWD, l.Path, unix.AT_FDCWD, aside, unix.RENAME_NOREPLACE); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return errGone
		}
		return fmt.Errorf("set %s aside: %w", l.Path, err)
	}
	var st unix.Stat_t
	err := unix.Lstat(aside, &st)
	if err == nil && st.Dev == l.Dev && st.Ino == l.Ino && st.Size == l.Bytes {
		return os.Remove(aside)
	}
	if back := unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, l.Path, unix.RENAME_NOREPLACE); back != nil {
		return fmt.Errorf("put %s back as %s: %w", aside, l.Path, errors.Join(err, back))
	}
	return &verdictError{plan.Keep, "another file has its name now"}
}

// measure fills in what an item takes on disk.
func (c *Cleaner) measure(b *budget, w *plan.World, item *plan.Item) {
	switch v := item.Volume; {
	case v != nil && v.Driver == "local" && len(v.Options) == 0:
		item.Bytes, _ = b.du(v.Mountpoint)
	case item.Container != nil:
		c.measureContainer(b, w, item, item.Container.Volumes)
	}
}

// measureContainer fills in what a container takes beside its layer: its logs and the volumes that go with it.
func (c *Cleaner) measureContainer(b *budget, w *plan.World, item *plan.Item, volumes []string) {
	item.Bytes, _ = b.du(filepath.Join(w.Engine.Root, "containers", item.ID))
	if !item.WithVolumes {
		return
	}
	for _, name := range volumes {
		if plan.Anonymous(name) {
			n, _ := b.du(filepath.Join(w.Engine.Root, "volumes", name))
			item.Bytes += n
		}
	}
}

// freeing has an image count what its disk has more of afterwards: layers are shared.
func (c *Cleaner) freeing(item *plan.Item, path string, remove func() error) error {
	before := free(path)
	if err := remove(); err != nil {
		return err
	}
	item.Bytes = min(max(0, free(path)-before), item.Bytes)
	return nil
}

// trimmed has somebody else make room in what is theirs; it answers how much, and is recorded if that was any, also where not all could be done.
func (c *Cleaner) trimmed(ctx context.Context, item *plan.Item, trim func() (int64, error)) error {
	n, err := trim()
	switch {
	case err != nil && n == 0:
		return fmt.Errorf("trim the %s: %w", item.ID, err)
	case err != nil:
		c.metrics.errors.Inc()
		c.log.Warn("not trimmed to the end", "kind", item.Kind, "bytes", n, "err", err)
	case n == 0:
		return &verdictError{plan.Keep, "there is nothing in it that may go"}
	}
	item.Bytes = n
	return c.recorded(ctx, item, func() error { return nil })
}

func free(path string) int64 {
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) != nil {
		return 0
	}
	return fs.Bsize * int64(fs.Bfree)
}
