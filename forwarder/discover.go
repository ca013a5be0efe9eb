package forwarder

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/pulse"
)

// discovery finds sources and opens their new files: at once on a hint of the kernel, and by polling what no hint told of. It
// opens, so that what is deleted a moment later can still be read; it never reads.
type discovery struct {
	cfg     Sources
	log     *slog.Logger
	watcher *tail.Watcher // nil where the kernel gives none: everything is polled
	folds   [2]*fold.Folder
	plain   []plainFiles
	alarm   *alarm // rung when there is something for the loop
	choice  choice // which containers are read

	questions chan func(*loop) // asked of the loop between two turns

	mu       sync.Mutex // guards what follows
	recalls  map[string][]recall
	sources  map[string]*source   // by name
	folders  map[string][]*source // by the folder that their hints come from
	excluded map[string]Excluded  // containers that are not read, by their folder
	watched  map[string]bool
	arrived  []*source // not yet taken by the loop
	rescan   bool      // hints were lost
	blind    bool      // a folder could not be watched
	rootLost trouble
	scanLost map[string]*trouble
}

const (
	pollEvery     = 1 * time.Second // roots and globs, and all paths where there are no hints
	pollPathEvery = 5 * time.Second // paths that hints are expected for
)

func newDiscovery(cfg Sources, log *slog.Logger, a *alarm, folding, plainLines *fold.Folder, recalls map[string][]recall) *discovery {
	return &discovery{
		excluded: map[string]Excluded{},
		cfg:      cfg, log: log, folds: [2]*fold.Folder{folding, plainLines}, plain: cfg.patterns(), recalls: recalls,
		alarm: a, questions: make(chan func(*loop), 16),
		sources: map[string]*source{}, folders: map[string][]*source{}, watched: map[string]bool{}, scanLost: map[string]*trouble{},
	}
}

// watch hears the kernel's hints until the context ends.
func (d *discovery) watch(ctx context.Context) error {
	if d.watcher == nil {
		<-ctx.Done()
		return nil
	}
	return d.watcher.Run(ctx, d.handle)
}

// poll looks by the clock until the context ends.
func (d *discovery) poll(ctx context.Context, p *pulse.Pulse) error {
	defer p.End()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	lastPaths := time.Now()
	for {
		p.Enter(&awaitLook)
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.Enter(&inLook)
			d.look(now)
			all := d.watcher == nil || d.lost()
			if all || now.Sub(lastPaths) >= pollPathEvery {
				lastPaths = now
				d.paths(now)
			}
		}
	}
}

// lost says whether hints were lost since it was last asked, or do not come at all.
func (d *discovery) lost() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost := d.rescan || d.blind
	d.rescan = false
	return lost
}

// paths scans every source whose path leads elsewhere than it did.
func (d *discovery) paths(now time.Time) {
	d.mu.Lock()
	sources := make([]*source, 0, len(d.sources))
	for _, s := range d.sources {
		sources = append(sources, s)
	}
	d.mu.Unlock()
	for _, s := range sources {
		if s.chain.Moved() {
			d.scan(s, now)
		}
	}
}

// look lists the containers' root and expands the globs.
func (d *discovery) look(now time.Time) {
	if d.cfg.Containers.Enabled {
		d.lookRoot(now)
	}
	for i := range d.plain {
		d.glob(&d.plain[i], now)
	}
}

func (d *discovery) lookRoot(now time.Time) {
	root := d.cfg.Containers.Root
	d.watchDir(root)
	entries, err := os.ReadDir(root)
	d.mu.Lock()
	if err != nil {
		d.rootLost.report(d.log, "cannot list the containers; waiting for the folder", err, "path", root)
		d.mu.Unlock()
		return
	}
	d.rootLost.over(d.log, "containers' folder is there", "path", root)
	d.forgetExcluded(entries)
	d.mu.Unlock()
	for _, e := range entries {
		if isContainerID(e.Name()) {
			d.container(filepath.Join(root, e.Name()), now)
		}
	}
}

// container adds a container's log, unless it is known or not to be read. Who it is may come to be known later.
func (d *discovery) container(dir string, now time.Time) {
	path := logPath(dir)
	d.mu.Lock()
	_, excluded := d.excluded[dir]
	known := excluded || d.sources[path] != nil
	d.mu.Unlock()
	if known {
		return
	}
	c, err := d.identify(dir)
	if err == nil && c.excluded != "" {
		d.mu.Lock()
		d.exclude(dir, c)
		d.mu.Unlock()
		return
	}
	d.watchDir(dir)
	s := &source{name: path, dir: dir, fold: d.folds[0]}
	if err == nil {
		s.found.Store(c)
	}
	d.add(s, dir, now)
}

// glob adds the plain files that match, but not what rotation made of another one.
func (d *discovery) glob(cfg *plainFiles, now time.Time) {
	folders, err := filepath.Glob(filepath.Dir(cfg.Path))
	if err == nil {
		for _, dir := range folders {
			d.watchDir(dir)
		}
	}
	paths, _ := filepath.Glob(cfg.Path)
	there := make(map[string]bool, len(paths))
	for _, path := range paths {
		there[path] = true
	}
	for i := 0; i < len(paths); i++ {
		path := paths[i]
		d.mu.Lock()
		known := d.sources[path] != nil
		live := ""
		if !known {
			live = d.rotatedFrom(path, there)
		}
		d.mu.Unlock()
		if live != "" && !there[live] { // the former life read it, and what it was rotated to is all there is yet
			there[live] = true
			paths = append(paths, live)
		}
		if known || live != "" {
			continue
		}
		s := &source{name: path, tag: cfg.Tag, format: plain, host: cfg.host, volume: cfg.volume, fold: d.folds[0]}
		if cfg.Format == "json-file" {
			s.format = jsonFile
		}
		if cfg.Fold != nil && !*cfg.Fold {
			s.fold = d.folds[1]
		}
		d.add(s, filepath.Dir(path), now)
	}
}

// rotatedFrom answers whose rotated sibling a path is: that of a file that is there, or of a source, whose own path may lead nowhere
// until its writer makes it anew, or of one that an earlier life read. It is empty for a source of its own. d.mu is held.
func (d *discovery) rotatedFrom(path string, there map[string]bool) string {
	dir, base := filepath.Split(path)
	for i := 1; i < len(base); i++ {
		if base[i] != '.' && base[i] != '-' {
			continue
		}
		live := dir + base[:i]
		if (there[live] || d.sources[live] != nil || d.recalls[live] != nil) && tail.Sibling(base[:i], base) {
			return live
		}
	}
	return ""
}

func (d *discovery) watchDir(dir string) {
	if d.watcher == nil {
		return
	}
	d.mu.Lock()
	done := d.watched[dir]
	d.mu.Unlock()
	if done {
		return
	}
	if err := d.watcher.Add(dir); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.mu.Lock()
			if !d.blind {
				d.log.Warn("folder cannot be watched; all are polled every second", "path", dir, "err", err,
					"fix", "raise fs.inotify.max_user_watches")
			}
			d.blind = true
			d.mu.Unlock()
		}
		return
	}
	d.mu.Lock()
	d.watched[dir] = true
	d.mu.Unlock()
}

// add makes a source known, opens its files and hands it to the loop.
func (d *discovery) add(s *source, dir string, now time.Time) {
	d.mu.Lock()
	if d.sources[s.name] != nil {
		d.mu.Unlock()
		return
	}
	s.recalls = d.recalls[s.name]
	delete(d.recalls, s.name)
	known := make([]tail.Known, len(s.recalls))
	for i, r := range s.recalls {
		known[i] = tail.Known{ID: r.mark.ID, Marker: r.mark.Marker, Resume: r.mark.resume()}
	}
	s.chain = tail.NewChain(s.name, known)
	s.chain.Upward = s.host != nil && s.host.upward
	d.sources[s.name] = s
	d.folders[dir] = append(d.folders[dir], s)
	d.mu.Unlock()

	d.scan(s, now)
	d.mu.Lock()
	d.arrived = append(d.arrived, s)
	d.mu.Unlock()
	d.alarm.ring()
}

func (d *discovery) scan(s *source, now time.Time) {
	err := s.chain.Scan(now)
	d.name(s) // the folder may be gone when the loop comes to it
	s.hinted.Store(true)
	d.mu.Lock()
	t := d.scanLost[s.name]
	if t == nil && err != nil {
		t = &trouble{}
		d.scanLost[s.name] = t
	}
	if t != nil {
		t.report(d.log, "log file cannot be opened; tried again every second or so", err, "source", s.name)
		if err == nil {
			t.over(d.log, "log file can be opened again", "source", s.name)
			delete(d.scanLost, s.name)
		}
	}
	d.mu.Unlock()
}

// handle acts on hints, each folder's files once however many there are.
func (d *discovery) handle(hints []tail.Hint) {
	now := time.Now()
	var scan []*source
	for _, h := range hints {
		if h.Lost {
			d.mu.Lock()
			d.rescan = true
			d.mu.Unlock()
			d.look(now)
			d.paths(now)
			continue
		}
		if h.Name == "" {
			d.mu.Lock()
			delete(d.watched, h.Dir)
			d.mu.Unlock()
		}
		if h.Name != "" && h.Dir == d.cfg.Containers.Root && d.cfg.Containers.Enabled {
			if isContainerID(h.Name) {
				dir := filepath.Join(h.Dir, h.Name)
				if _, err := os.Stat(dir); err == nil {
					d.container(dir, now)
				} else {
					// The folder itself says nothing of its end while a file that was in it is held open.
					d.mu.Lock()
					scan = append(scan, d.folders[dir]...)
					d.mu.Unlock()
				}
			}
			continue
		}
		d.mu.Lock()
		for _, s := range d.folders[h.Dir] {
			// A container's configuration is there before its log: to read it at once names also those that are gone in a moment.
			named := s.dir != "" && (h.Name == "config.v2.json" || h.Name == "hostconfig.json") && !s.known()
			if (h.Name == "" || named || strings.HasPrefix(h.Name, filepath.Base(s.name))) && !slices.Contains(scan, s) {
				scan = append(scan, s)
			}
		}
		d.mu.Unlock()
		for i := range d.plain {
			if ok, _ := filepath.Match(d.plain[i].Path, filepath.Join(h.Dir, h.Name)); ok {
				d.glob(&d.plain[i], now)
			}
		}
	}
	for _, s := range scan {
		d.scan(s, now)
	}
	if len(scan) > 0 {
		d.alarm.ring()
	}
}

// take hands the sources that were found since it was last called to the loop.
func (d *discovery) take() []*source {
	d.mu.Lock()
	defer d.mu.Unlock()
	arrived := d.arrived
	d.arrived = nil
	return arrived
}

// forget drops a source that has ended. If its path comes again it is another source.
func (d *discovery) forget(s *source) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sources, s.name)
	delete(d.scanLost, s.name)
	if s.excluded {
		d.exclude(s.dir, s.found.Load())
	}
	for dir, list := range d.folders {
		if i := slices.Index(list, s); i >= 0 {
			if list = slices.Delete(list, i, i+1); len(list) == 0 {
				delete(d.folders, dir)
			} else {
				d.folders[dir] = list
			}
		}
	}
}

// unclaimed answers the keys of marks whose sources are gone: their folder can be listed and they are not in it.
func (d *discovery) unclaimed() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var keys []string
	for name, rs := range d.recalls {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		parent := filepath.Dir(name)
		if strings.HasPrefix(name, d.cfg.Containers.Root+"/") {
			parent = d.cfg.Containers.Root
		}
		if _, err := os.Stat(parent); err != nil {
			continue // not mounted yet, it may be
		}
		for _, r := range rs {
			keys = append(keys, r.key)
		}
		delete(d.recalls, name)
	}
	return keys
}

// isContainerID says whether a folder's name is that of a container: 64 hex digits.
func isContainerID(name string) bool {
	if len(name) != 64 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
