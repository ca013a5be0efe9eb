package cleanup

import (
	"slices"
	"sync"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// gauge knows how the disks stand and how they got there.
type gauge struct {
	mu      sync.Mutex // guards what follows: the loop and passes write, scrapes read
	places  []place
	prober  prober
	pool    *plan.Disk // of the engine, as of the last pass
	samples map[string][]plan.Sample
}

func newGauge(h Host) *gauge {
	g := &gauge{samples: map[string][]plan.Sample{}}
	g.places = []place{{plan.RoleRoot, "/"}, {plan.RoleDocker, "/var/lib/docker"}, {plan.RoleLogs, "/var/log"}}
	if h.SpoolDir != "" {
		g.places = append(g.places, place{plan.RoleSpool, h.SpoolDir})
	}
	if h.Journal != "" {
		g.places = append(g.places, place{plan.RoleJournal, h.Journal})
	}
	return g
}

// engine notes where the engine keeps its files, and its pool.
func (g *gauge) engine(root string, pool *plan.Disk) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if root != "" {
		g.places[1].path = root
	}
	g.pool = pool
}

// pooled says whether the engine has a thin pool.
func (g *gauge) pooled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pool != nil
}

// look answers the disks with their forecasts. Roles are as of now; no sample is taken.
func (g *gauge) look() []plan.Disk {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.prober.disks(g.places)
	if g.pool != nil {
		list = append(list, *g.pool)
	}
	for i := range list {
		if samples := g.samples[list[i].Mount]; len(samples) > 0 {
			last := samples[len(samples)-1]
			last.FreeBytes, last.FreeInodes = list[i].FreeBytes, list[i].FreeInodes
			list[i].UntilFull = plan.UntilFull(append(slices.Clone(samples[:len(samples)-1]), last))
		}
	}
	return list
}

// sample takes one of each disk.
func (g *gauge) sample(now plan.Clock) []plan.Disk {
	list := g.look()
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range list {
		d := &list[i]
		before := g.samples[d.Mount]
		if n := len(before); n > 0 && before[n-1].Up >= now.Up {
			continue
		}
		samples := plan.Trim(append(before, plan.Sample{Up: now.Up, FreeBytes: d.FreeBytes, FreeInodes: d.FreeInodes}))
		g.samples[d.Mount] = samples
		d.UntilFull = plan.UntilFull(samples)
	}
	return list
}
