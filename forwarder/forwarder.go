// Package forwarder carries log lines from files to Fluentd: it joins tail, parse, fold, spool and fluent, which know nothing of
// each other. What is still in its log file or in a synced record of the spool reaches Fluentd at least once, whatever
// stops, breaks or is killed in between.
package forwarder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/pulse"
)

// Forwarder is one forwarder. It can be run once.
type Forwarder struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	spoolM   *spool.Metrics
	sendM    *fluent.Metrics
	folding  *fold.Folder
	single   *fold.Folder // for files with `fold: false`
	tags     tagTemplate
	choice   choice
	instance instance
	taps     *Taps // nil: nobody can look
	ready    chan struct{}
	hurry    chan struct{}
	hurried  sync.Once
	follow   chan struct{}
	follows  sync.Once
	leaving  atomic.Bool
	over     chan struct{}
	inFold   *fold.Folder // of the listener, which does not fold on the reading loop
	logFold  *fold.Folder // of the journal, likewise
	listenM  *listen.Metrics
	sockets  *listen.Sockets // from the forwarder before
	keeper   listen.Keeper

	// What a simulation replaces.
	network  fluent.Network // nil: the host's
	newAlarm func() (*alarm, error)
	watcher  func() (*tail.Watcher, error)

	reading, looking pulse.Pulse // of the reading loop, and of discovery's polling

	mu      sync.Mutex // guards what follows
	spool   *spool.Spool
	sender  *fluent.Sender
	disc    *discovery
	in      *inbound
	journal *journalIn
	listen  *listen.Server
	last    *Status // once the reading loop has ended
}

// New checks the configuration and registers the metrics. It opens nothing.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Forwarder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	f := &Forwarder{cfg: cfg, log: log, ready: make(chan struct{}), hurry: make(chan struct{}), follow: make(chan struct{}), over: make(chan struct{}),
		newAlarm: newAlarm, watcher: tail.NewWatcher}
	var err error
	if f.folding, err = fold.New(cfg.Fold); err != nil {
		return nil, err
	}
	if f.inFold, err = fold.New(cfg.Fold); err != nil {
		return nil, err
	}
	f.inFold.Coarse()
	if f.logFold, err = fold.New(cfg.Fold); err != nil {
		return nil, err
	}
	off := cfg.Fold
	off.Enabled = false
	if f.single, err = fold.New(off); err != nil {
		return nil, err
	}
	if f.tags, err = parseTag(cfg.Sources.Containers.Tag); err != nil {
		return nil, err
	}
	if f.choice, err = newChoice(cfg.Sources.Containers.Exclude); err != nil {
		return nil, err
	}
	f.metrics, f.spoolM, f.sendM = newMetrics(reg), spool.NewMetrics(reg), fluent.NewMetrics(reg)
	f.listenM = listen.NewMetrics(reg)
	reg.MustRegister(&books{f: f})
	return f, nil
}

// Absent registers the metrics of a forwarder where there is none, for want of a receiver: all are 0, and rules and dashboards find them.
func Absent(reg prometheus.Registerer) {
	newMetrics(reg)
	spool.NewMetrics(reg)
	fluent.NewMetrics(reg)
	listen.NewMetrics(reg)
	reg.MustRegister(&books{})
}

// Ready is closed when the spool is open and the sources are being read.
func (f *Forwarder) Ready() <-chan struct{} { return f.ready }

// Hurry cuts the grace of a stop short.
func (f *Forwarder) Hurry() { f.hurried.Do(func() { close(f.hurry) }) }

// HandOver says that another forwarder will go on with the spool right after the stop: what is in it need not be sent before.
func (f *Forwarder) HandOver() { f.follows.Do(func() { close(f.follow) }) }

// Inherit hands over what the forwarder before left of its listener, in this process or in another; keeper, if not nil, is where the
// sockets outlive this process. It is called before Run.
func (f *Forwarder) Inherit(s *listen.Sockets, keeper listen.Keeper) { f.sockets, f.keeper = s, keeper }

// Sockets are those of the listener, open and for the next forwarder to go on with, once Run has returned.
func (f *Forwarder) Sockets() *listen.Sockets {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listen == nil {
		return f.sockets // it did not come to that
	}
	return f.listen.Sockets()
}

// Run opens the spool and forwards until the context ends. Then it stops in order: reading first; what could not be read again is
// brought into the spool; the sender goes on for `grace` or until the spool is empty; the spool is synced and closed.
func (f *Forwarder) Run(ctx context.Context) (err error) {
	bounded := f.cfg.withinVolumes()
	if bounded.MaxBytes != f.cfg.Spool.MaxBytes {
		f.log.Info("the spool lies on a volume that sources.files.max_bytes bounds, and gets half of it", "dir", bounded.Dir, "max_bytes", bounded.MaxBytes.String())
	}
	sp, err := spool.Open(bounded, f.log.With("component", "spool"), f.spoolM)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sp.Close()) }()

	q := newQueue(sp)
	sender := fluent.NewSender(f.cfg.Forward, q, f.log.With("component", "fluent"), f.sendM)
	if f.network != nil {
		sender.Through(f.network)
	}
	log := f.log.With("component", "tail")
	inLog := f.log.With("component", "listen")
	in := newInbound(f.cfg.Record, f.inFold, sp, inLog, f.metrics, f.alarm(inLog))
	defer in.alarm.close()
	in.root, in.labels, in.instance, in.taps = f.cfg.Sources.Containers.Root, f.cfg.Sources.Containers.Labels, &f.instance, f.taps
	in.packer = fluent.NewCompressor(f.cfg.Forward.Compress)
	marks := sp.Marks()
	in.recalled = recallInputs(marks, inLog)
	back := newBackfiller(in, recallHads(marks), inLog)
	in.before = back.hads.streams
	cp := newCopies(f.cfg.Sources.Host)
	jr := newJournalIn(f.cfg, f.logFold, sp, cp, f.log.With("component", "journal"), f.metrics)
	jr.recall(marks, jr.log)
	jr.prepare()
	jr.instance, jr.taps = &f.instance, f.taps
	server := listen.New(f.cfg.Sources.Listen, in, in.now, inLog, f.listenM, f.sockets, f.keeper)
	disc := newDiscovery(f.cfg.Sources, log, f.alarm(log), f.folding, f.single, recallAll(marks, log))
	disc.choice = f.choice
	defer disc.alarm.close()
	if disc.watcher, err = f.watcher(); err != nil {
		log.Warn("no hints of new files from the kernel; they are polled, and one that lives less than a second may be missed", "err", err)
	}
	f.mu.Lock()
	f.spool, f.sender, f.disc, f.in, f.listen, f.journal = sp, sender, disc, in, server, jr
	f.mu.Unlock()
	sp.Unbound(f.leaving.Load())

	// The sender and the syncer outlive ctx by the grace, so they have a context of their own; the first error ends all.
	g, all := errgroup.WithContext(context.WithoutCancel(ctx))
	all, end := context.WithCancel(all)
	defer end()
	reading, stop := context.WithCancel(all)
	defer stop()
	defer context.AfterFunc(ctx, stop)()

	rel := newReleaser(sp)
	l := f.newLoop(log, disc, sp, rel)
	l.send, l.out.wake = func() { q.send(sender) }, q.wake
	l.lastTurn = func() { sender.TurnsOver(); q.wake() }
	l.in, in.appended = in, q.wake
	l.journal, l.copies, jr.appended = jr, cp, q.wake
	l.syncSoon = rel.syncTo
	for _, p := range disc.plain {
		if p.volume != nil {
			p.volume.spooled = sameDisk(p.folder(), f.cfg.Spool.Dir)
			l.volumes = append(l.volumes, p.volume)
		}
	}
	journaled := make(chan struct{}) // closed when the journal is read no more
	listening := make(chan struct{}) // closed when the listener has ended
	looked := make(chan struct{})    // closed when the sources were looked for
	g.Go(func() error {
		// Who starts after us expects that the listener answers. That its port is taken, or the spool full, keeps nobody waiting.
		tooLate := time.NewTimer(listenWait)
		defer tooLate.Stop()
		select {
		case <-server.Opened():
		case <-tooLate.C:
		case <-all.Done():
			return nil
		}
		select {
		case <-looked:
			close(f.ready)
		case <-all.Done():
		}
		return nil
	})
	g.Go(func() error { return sp.Run(all) })
	g.Go(func() error { return sender.Run(all) })
	g.Go(func() error { return rel.run(all) })
	g.Go(func() error { return disc.watch(reading) })
	g.Go(func() error { return disc.poll(reading, &f.looking) })
	g.Go(func() error { return in.run(reading) })
	g.Go(func() error {
		defer close(journaled)
		return jr.run(reading)
	})
	g.Go(func() error {
		defer close(listening)
		if err := in.recover(reading); err != nil && reading.Err() == nil {
			return err
		}
		back.prepare(f.cfg.Sources.Listen)
		g.Go(func() error { return back.run(reading) })
		return server.Run(reading)
	})
	g.Go(func() error {
		defer end()
		disc.look(time.Now())
		close(looked)
		err := l.run(reading)
		stop()
		<-listening
		<-journaled
		if f.leaving.Load() {
			in.landed(true)
			jr.flush()
		}
		in.finish(l.stopBy, f.hurry)
		jr.finish(l.stopBy, f.hurry)
		q.wake()
		last := l.status()
		f.mu.Lock()
		f.last = &last
		close(f.over)
		f.mu.Unlock()
		if err != nil || ctx.Err() == nil {
			return err
		}
		f.drain(all, sp, l.stopBy)
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	rel.closeAll()
	return nil
}

// listenWait is how long the listener is waited for before the forwarder is said to be ready.
const listenWait = 2 * time.Second

// alarm makes an alarm; where the kernel gives none, one that costs more.
func (f *Forwarder) alarm(log *slog.Logger) *alarm {
	a, err := f.newAlarm()
	if err != nil {
		log.Warn("waking up costs more than it should", "err", err)
		a = newTimerAlarm()
	}
	return a
}

// drain waits until the spool is empty, for what is left of `grace` at most.
func (f *Forwarder) drain(ctx context.Context, sp *spool.Spool, stopBy time.Time) {
	began := time.Now()
	deadline := time.NewTimer(time.Until(stopBy))
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for sp.Stats().PendingFrames > 0 {
		select {
		case <-ctx.Done():
			return
		case <-f.follow:
			return
		case <-f.hurry:
		case <-deadline.C:
		case <-tick.C:
			continue
		}
		st := sp.Stats()
		f.log.Warn("stopped before the spool was empty; the rest is sent after the next start",
			"pending_events", st.PendingEvents, "pending_bytes", st.PendingBytes, "waited", time.Since(began).Round(time.Millisecond))
		return
	}
}

func (f *Forwarder) newLoop(log *slog.Logger, disc *discovery, sp *spool.Spool, rel *releaser) *loop {
	l := &loop{
		cfg: f.cfg, log: log, metrics: f.metrics, disc: disc, tags: f.tags, instance: &f.instance, unpack: f.cfg.Spool.Dir, hurry: f.hurry, leaving: &f.leaving,
		buf: make([]byte, bufferBytes+tail.MarkerBytes), scratch: make([]byte, 0, visitBytes),
	}
	l.pulse, l.foundSeq = &f.reading, sp.Stats().LastSeq
	l.out = &output{spool: sp, log: f.log.With("component", "spool"), metrics: f.metrics, packer: fluent.NewCompressor(f.cfg.Forward.Compress), builders: map[string]*builder{}, marks: l.marks, retire: rel.add, record: f.cfg.Record, taps: f.taps}
	return l
}

// recallAll reads the marks of earlier lives. One that cannot be read is left out: its file is read again from the start.
func recallAll(marks map[string][]byte, log *slog.Logger) map[string][]recall {
	recalls := map[string][]recall{}
	for key, value := range marks {
		m, err := decodeMark(value)
		if err != nil {
			log.Error("position cannot be read; its file is read from the start", "source", sourceOf(key), "err", err)
			continue
		}
		recalls[sourceOf(key)] = append(recalls[sourceOf(key)], recall{key, m})
	}
	for _, rs := range recalls {
		slices.SortFunc(rs, func(a, b recall) int { return cmp.Compare(a.mark.Number, b.mark.Number) })
	}
	return recalls
}

// Validate names the first key that is wrong, its value and what would be accepted.
func (c Config) Validate() error {
	if err := c.Forward.Validate(); err != nil {
		return err
	}
	if err := c.Spool.Validate(); err != nil {
		return err
	}
	if err := c.Fold.Validate(); err != nil {
		return err
	}
	if err := c.Sources.Listen.Validate(); err != nil {
		return err
	}
	return c.Sources.Validate()
}

// Validate names the first key that is wrong, its value and what would be accepted.
func (c Sources) Validate() error {
	if c.Containers.Enabled {
		if !filepath.IsAbs(c.Containers.Root) {
			return fmt.Errorf("sources.containers.root: %q is not an absolute path", c.Containers.Root)
		}
	}
	if err := c.Containers.validateNames(); err != nil {
		return err
	}
	for i, f := range c.Files {
		key := fmt.Sprintf("sources.files[%d]", i)
		switch {
		case !filepath.IsAbs(f.Path):
			return fmt.Errorf("%s.path: %q is not an absolute path", key, f.Path)
		case f.Tag == "":
			return fmt.Errorf("%s.tag: is missing: give the files of %s a tag", key, f.Path)
		case f.Format != "" && f.Format != "plain" && f.Format != "json-file":
			return fmt.Errorf("%s.format: %q is not known: use plain or json-file", key, f.Format)
		case f.MaxBytes != 0 && f.MaxBytes < minVolume:
			return fmt.Errorf("%s.max_bytes: %v is too small: use at least %v, or 0 for no bound", key, f.MaxBytes, minVolume)
		}
		if _, err := filepath.Match(f.Path, ""); err != nil {
			return fmt.Errorf("%s.path: %q is not a valid pattern: use * ? [a-z] as a shell does", key, f.Path)
		}
	}
	if c.Host.Enabled && !filepath.IsAbs(c.Host.Root) {
		return fmt.Errorf("sources.host.root: %q is not an absolute path", c.Host.Root)
	}
	if err := c.Journal.Validate(); err != nil {
		return err
	}
	if c.RotateWait < 0 || c.RotateWait > time.Hour {
		return fmt.Errorf("sources.rotate_wait: %s is out of range: use 0s to 1h", c.RotateWait)
	}
	if c.MaxDetachedBytes < 0 {
		return fmt.Errorf("sources.max_detached_bytes: %d is negative", c.MaxDetachedBytes)
	}
	return nil
}
