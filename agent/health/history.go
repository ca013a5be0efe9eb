package health

import (
	"slices"
	"sync"
	"time"
)

// An hour of samples is kept, in memory alone.
const (
	sampleEvery = 15 * time.Second
	samplesKept = int(time.Hour / sampleEvery)
)

// maxNotes bounds how many events are kept for people.
const maxNotes = 40

// Names of the series that are kept.
const (
	seriesCPU      = "cpu"      // part in use
	seriesMemory   = "memory"   // part in use
	seriesDisk     = "disk"     // part in use of the fullest
	seriesReceived = "received" // bytes a second
	seriesSent     = "sent"     // bytes a second
	seriesEvents   = "events"   // acknowledged a second
	seriesLag      = "lag"      // bytes not read yet
	seriesSpool    = "spool"    // bytes not acknowledged yet
	seriesDocker   = "docker"   // seconds that a list of containers takes
)

// Note is something that happened, for people.
type Note struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"` // code of the reason, or what it is about
	Text string    `json:"text"`
}

// History is the last hour. It outlives configurations.
type History struct {
	mu     sync.Mutex // guards what follows
	series map[string]*ring
	notes  []Note
	last   HostState
	acked  int64
	flowAt time.Time
	active map[string]string // reasons that hold, by code
	synced bool              // the clock was once
	lagged time.Time         // since when logs wait to be read; zero: none do
}

// NewHistory remembers nothing yet.
func NewHistory() *History {
	return &History{series: map[string]*ring{}, active: map[string]string{}}
}

// ring holds the last samplesKept values with their times.
type ring struct {
	values []float32
	times  []int64 // Unix seconds
	next   int
}

func (r *ring) add(at time.Time, v float64) {
	if len(r.values) < samplesKept {
		r.values, r.times = append(r.values, float32(v)), append(r.times, at.Unix())
		return
	}
	r.values[r.next], r.times[r.next] = float32(v), at.Unix()
	r.next = (r.next + 1) % samplesKept
}

// all answers times and values, the oldest first.
func (r *ring) all() ([]int64, []float32) {
	if r == nil {
		return nil, nil
	}
	return slices.Concat(r.times[r.next:], r.times[:r.next]), slices.Concat(r.values[r.next:], r.values[:r.next])
}

// Called with mu held.
func (h *History) add(name string, at time.Time, v float64) {
	r := h.series[name]
	if r == nil {
		r = &ring{}
		h.series[name] = r
	}
	r.add(at, v)
}

// Flow is what becomes of the logs, for the page and the history: what the daemon knows of its forwarder.
type Flow struct {
	Sources       []FlowSource // those that lag most first, not all
	Count         int          // of all sources
	Lines, Events int64
	ReadBytes     int64
	LagBytes      int64
	Pending       int64 // events in the spool
	PendingBytes  int64
	CapacityBytes int64
	OldestSeconds float64
	Acked, Lost   int64
	SetAside      int64
	Imbalance     int64
	Receiver      string // empty: not connected
	Connected     time.Time
	LastAck       time.Time
	Failing       string
}

// FlowSource is a log.
type FlowSource struct {
	Tag, Path    string
	LagBytes     int64
	Lines        int64
	QuietSeconds int64
}

// sample keeps what is seen at this moment.
func (h *History) sample(s HostState, d DockerState, around Around) {
	f := around.Flow
	h.mu.Lock()
	defer h.mu.Unlock()
	at := s.At
	if before := h.last; !before.At.IsZero() {
		s.Busy, s.Stolen = s.ticks.busy(before.ticks)
		h.add(seriesCPU, at, s.Busy)
		if past := at.Sub(before.At).Seconds(); past > 0 {
			h.add(seriesReceived, at, max(0, float64(s.ReceivedBytes-before.ReceivedBytes)/past))
			h.add(seriesSent, at, max(0, float64(s.SentBytes-before.SentBytes)/past))
		}
	}
	if s.MemoryBytes > 0 {
		h.add(seriesMemory, at, 1-float64(s.AvailableBytes)/float64(s.MemoryBytes))
	}
	fullest := 0.0
	for i := range s.Disks {
		disk := &s.Disks[i]
		if disk.Error != "" {
			continue
		}
		if !disk.Remote() {
			fullest = max(fullest, disk.Used())
		}
		if left, fills := around.UntilFull[disk.Mount]; fills {
			seconds := left.Seconds()
			disk.SecondsUntilFull = &seconds
		}
	}
	h.add(seriesDisk, at, fullest)
	if d.Up {
		h.add(seriesDocker, at, float64(d.Milli[callList])/1000)
	}
	h.synced = h.synced || s.ClockSynced
	switch {
	case f == nil || f.LagBytes == 0:
		h.lagged = time.Time{}
	case h.lagged.IsZero():
		h.lagged = at
	}
	if f != nil {
		if past := at.Sub(h.flowAt).Seconds(); !h.flowAt.IsZero() && past > 0 && f.Acked >= h.acked {
			h.add(seriesEvents, at, float64(f.Acked-h.acked)/past)
		}
		h.acked, h.flowAt = f.Acked, at
		h.add(seriesLag, at, float64(f.LagBytes))
		h.add(seriesSpool, at, float64(f.PendingBytes))
	}
	h.last = s
}

// note keeps what begins and what ends.
func (h *History) note(at time.Time, reasons []Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := map[string]string{}
	for _, r := range reasons {
		now[r.Code] = r.Text
		if _, before := h.active[r.Code]; !before {
			h.notes = append(h.notes, Note{at, r.Code, r.Text})
		}
	}
	for code := range h.active {
		if _, still := now[code]; !still {
			h.notes = append(h.notes, Note{at, code, "over: " + h.active[code]})
		}
	}
	h.active = now
	h.notes = slices.Delete(h.notes, 0, max(0, len(h.notes)-maxNotes))
}

// snapshot answers the last sample and the notes.
func (h *History) snapshot() (HostState, []Note, bool, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last, slices.Clone(h.notes), h.synced, h.lagged
}

// values answers a series, the oldest first.
func (h *History) values(name string) []float32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, v := h.series[name].all()
	return v
}
