package test

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/docker"
	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// Delivery is over when nothing new has arrived for stalled, or deliverWithin has passed since the last fault.
const (
	stalled       = 20 * time.Second
	deliverWithin = 2 * time.Minute
)

// What one fault may repeat at most: one batch of the sender.
const (
	batchFrames = 256
	batchBytes  = 8 << 20
)

// rig is one scenario: a daemon between writers and a receiver, and the oracle that watches both ends.
type rig struct {
	t        *testing.T
	rnd      *rand.Rand
	oracle   *oracle.Oracle
	receiver receiver
	daemon   *daemon
	faults   int       // kills and refusals so far: each may repeat a batch
	progress string    // folder in which the writers count
	files    []string  // the live logs of containers that the daemon reads
	caught   time.Time // when it was last known to have read almost all there was
}

// newRig starts the receiver, not the daemon. newReceiver is newOTelReceiver or one like it.
func newRig(t *testing.T, newReceiver func(*testing.T, *oracle.Oracle) receiver, c daemonConfig) *rig {
	t.Helper()
	r := &rig{t: t, rnd: newRand(t), oracle: oracle.New()}
	var err error
	if r.progress, err = os.MkdirTemp(bed.dir, "p"); err != nil {
		t.Fatal(err)
	}
	r.receiver = newReceiver(t, r.oracle)
	c.to = r.receiver.addr()
	r.daemon = newDaemon(t, c)
	return r
}

// between returns a random duration.
func (r *rig) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(r.rnd.Int64N(int64(hi-lo)))
}

// pause lets the world go on for a while.
func (r *rig) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.t.Context().Done():
	}
	r.daemon.alive()
}

// killDaemon is kill -9 and, after a while, a new start.
func (r *rig) killDaemon(down time.Duration) {
	r.daemon.kill()
	r.faults++
	r.pause(down)
	r.daemon.start()
}

// killReceiver is the same for the receiver.
func (r *rig) killReceiver(down time.Duration) {
	r.receiver.kill()
	r.faults++
	r.pause(down)
	r.receiver.start()
}

// caughtUp waits until the daemon holds all logs and has read almost all there is, so that the engine may delete it. One that has just been
// started has no lag as long as it knows no files.
func (r *rig) caughtUp() {
	r.t.Helper()
	var held []string
	err := poll(r.t.Context(), 2*time.Minute, func() bool {
		r.daemon.alive()
		var st struct {
			Forwarder struct {
				Sources []struct {
					Path  string
					Files int
				}
			}
		}
		held = held[:0]
		if json.Unmarshal([]byte(r.daemon.status()), &st) != nil {
			return false
		}
		for _, s := range st.Forwarder.Sources {
			if s.Files > 0 {
				held = append(held, s.Path)
			}
		}
		return !slices.ContainsFunc(r.files, func(path string) bool { return !slices.Contains(held, path) })
	})
	if err != nil {
		r.t.Errorf("the daemon holds %q, which lacks some of %q: %v", held, r.files, err)
	}
	r.daemon.waitMetric(2*time.Minute, "fairlead_tail_lag_bytes", func(v float64) bool { return v < 16<<10 })
	r.caught = time.Now()
}

// keepUp waits for that where it was so long ago that the engine might rotate away what is not read: on a busy machine one life after another
// may end before it has read anything.
func (r *rig) keepUp() {
	r.t.Helper()
	if r.caught.IsZero() {
		r.caught = time.Now()
	}
	if time.Since(r.caught) > 4*time.Second {
		r.caughtUp()
	}
}

// finish waits until everything has arrived, stops the daemon and passes the verdict.
func (r *rig) finish() {
	r.t.Helper()
	if err := r.delivered(); err != nil {
		r.t.Errorf("not everything arrived: %v\nstatus: %s", err, r.daemon.status())
	}
	r.balanced()
	r.daemon.stop()
	r.receiver.drain()
	for _, p := range r.oracle.Problems() {
		r.t.Error(p)
	}
	got := r.oracle.Totals()
	r.t.Logf("events %d, traces %d, repeated %d (%d bytes) after %d faults, foreign %d", got.Events, got.Traces, got.Repeats, got.RepeatBytes, r.faults, got.Foreign)
	if got.Events == 0 || got.Traces == 0 {
		r.t.Errorf("%d events and %d traces are no test", got.Events, got.Traces)
	}
	if ours, ok := r.receiver.(*ourReceiver); ok {
		// Every connection but the first one follows a fault, also those the receiver made by itself.
		r.faults = max(r.faults, int(ours.Stats().Connections)-1)
		r.t.Logf("frames %d, repeated %d after %d connections", len(ours.frames), ours.repeated, ours.Stats().Connections)
		if ours.repeated > r.faults*batchFrames {
			r.t.Errorf("%d frames repeated after %d faults, want at most %d each", ours.repeated, r.faults, batchFrames)
		}
	}
	if got.RepeatBytes > r.faults*batchBytes {
		r.t.Errorf("%d bytes repeated after %d faults, want at most %d bytes each", got.RepeatBytes, r.faults, batchBytes)
	}
}

// delivered waits until everything has arrived.
func (r *rig) delivered() error {
	ctx, cancel := context.WithTimeout(r.t.Context(), deliverWithin)
	defer cancel()
	for {
		r.daemon.alive()
		before := r.oracle.Totals().Events
		step, cancel := context.WithTimeout(ctx, stalled)
		err := r.oracle.Wait(step)
		cancel()
		if err == nil || ctx.Err() != nil || r.oracle.Totals().Events == before {
			return err
		}
	}
}

// balanced waits for a quiet moment and looks into the books.
func (r *rig) balanced() {
	r.t.Helper()
	var m map[string]float64
	err := poll(r.t.Context(), time.Minute, func() bool {
		var err error
		m, err = r.daemon.metrics(r.t.Context())
		return err == nil && m["fairlead_spool_pending_frames"] == 0 && m["fairlead_ledger_imbalance_events"] == 0
	})
	imbalance, there := m["fairlead_ledger_imbalance_events"]
	if err != nil || !there {
		r.t.Errorf("books: imbalance %v events (metric there: %v), %v frames pending: %v\nstatus: %s",
			imbalance, there, m["fairlead_spool_pending_frames"], err, r.daemon.status())
	}
	if lost := m["fairlead_lost_events_total"]; lost != 0 {
		r.t.Errorf("fairlead counts %v events as lost", lost)
	}
}

// writerOptions say what a container writes and how Docker keeps it.
type writerOptions struct {
	out, err   script.Layout // "": nothing on this stream
	groups     int           // 0: until stopped
	rate       int           // bytes a second and stream
	long, cut  bool
	log        map[string]string
	driver     string            // "": json-file
	fields     map[string]string // more of them that each event must have
	labels     map[string]string
	tag        string // empty: docker. and the name
	autoRemove bool
	unread     bool // nothing of it is to arrive
}

// container is a running writer.
type container struct {
	r       *rig
	name    string
	id      string
	streams []script.Stream
	options writerOptions
}

// launch creates and starts a container and tells the oracle.
func (r *rig) launch(part string, o writerOptions) *container {
	r.t.Helper()
	c := &container{r: r, name: writerName(r.t, part), options: o}
	args := []string{"-writer", c.name, "-out", string(o.out), "-err", string(o.err), "-groups", strconv.Itoa(o.groups),
		"-rate", strconv.Itoa(o.rate), "-progress", "/progress/" + c.name}
	for flag, on := range map[string]bool{"-long": o.long, "-cut": o.cut} {
		if on {
			args = append(args, flag)
		}
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	var err error
	c.id, err = bed.engine.Create(ctx, docker.Spec{Image: bed.image, Name: c.name, Args: args, Env: []string{"STAGE=test"}, Labels: o.labels, Driver: o.driver, Log: o.log, Mount: r.progress, AutoRemove: o.autoRemove})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := docker.IgnoreGone(bed.engine.Remove(ctx, c.id)); err != nil {
			r.t.Error(err)
		}
	})
	for i, layout := range []script.Layout{o.out, o.err} {
		if layout == "" || o.unread {
			continue
		}
		s := script.Stream{Writer: c.name, Name: "oe"[i], Layout: layout, Long: o.long}
		from := oracle.Source{Tag: cmp.Or(o.tag, "docker."+c.name), Fields: map[string]string{
			"container_id": c.id, "container_name": "/" + c.name, "source": []string{"stdout", "stderr"}[i]}}
		for k, v := range o.fields {
			from.Fields[k] = v
		}
		c.streams = append(c.streams, s)
		r.oracle.Expect(s, from)
	}
	if o.driver == "" && !o.unread {
		r.files = append(r.files, filepath.Join(bed.logs, c.id, c.id+"-json.log"))
	}
	if err := bed.engine.Start(ctx, c.id); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// counted is how many events of a stream the writer knows to have written.
func (c *container) counted(s script.Stream) int {
	var b [16]byte
	f, err := os.Open(filepath.Join(c.r.progress, c.name))
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		c.r.t.Error(err)
		return 0
	}
	defer f.Close()
	_, _ = f.ReadAt(b[:], 0) // shorter as long as stderr has no group
	groups := binary.LittleEndian.Uint64(b[:8])
	if s.Name == 'e' {
		groups = binary.LittleEndian.Uint64(b[8:])
	}
	return int(groups) * script.GroupEvents
}

// stop asks the writer to end and tells the oracle how much there is.
func (c *container) stop() {
	c.r.t.Helper()
	ctx, cancel := context.WithTimeout(c.r.t.Context(), time.Minute)
	defer cancel()
	if err := bed.engine.Stop(ctx, c.id); err != nil {
		c.r.t.Error(err)
	}
	c.wait()
}

// wait waits for the end of the writer and tells the oracle how much there is.
func (c *container) wait() {
	c.r.t.Helper()
	ctx, cancel := context.WithTimeout(c.r.t.Context(), time.Minute)
	defer cancel()
	code, err := bed.engine.Wait(ctx, c.id)
	if err := docker.IgnoreGone(err); err != nil {
		c.r.t.Error(err)
	}
	if code != 0 {
		c.r.t.Errorf("%s ended with exit code %d", c.name, code)
	}
	for _, s := range c.streams {
		n := c.counted(s)
		if want := c.options.groups * script.GroupEvents; want > 0 && n != want {
			c.r.t.Errorf("%s wrote %d events, want %d", c.name, n, want)
		}
		c.r.oracle.Must(s, n)
	}
}

// remove is `docker rm -f` on a writer that has ended.
func (c *container) remove() {
	c.r.t.Helper()
	ctx, cancel := context.WithTimeout(c.r.t.Context(), time.Minute)
	defer cancel()
	if err := bed.engine.Remove(ctx, c.id); err != nil {
		c.r.t.Error(err)
	}
}

// destroy is `docker rm -f` on a running writer: what it had written in full must arrive.
func (c *container) destroy() {
	c.r.t.Helper()
	c.remove()
	for _, s := range c.streams {
		c.r.oracle.Cut(s, c.counted(s))
	}
}
