package forwarder

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// Status is what the forwarder does at this moment.
type Status struct {
	Sources  []SourceStatus `json:"sources"`
	Excluded []Excluded     `json:"excluded"` // containers whose logs are not read
	Spool    SpoolStatus    `json:"spool"`
	Listen   listen.Status  `json:"listen"`
	Host     []HostStatus   `json:"host,omitempty"`
	Journal  JournalStatus  `json:"journal"`
	Volumes  []VolumeStatus `json:"volumes,omitempty"`
	Forward  fluent.Status  `json:"forward"`
	Ledger   Ledger         `json:"ledger"`
	// Stalled is set where the reading loop did not answer within a second.
	Stalled bool `json:"stalled"`
}

// SourceStatus is one source.
type SourceStatus struct {
	Path          string   `json:"path"`
	Tag           string   `json:"tag"`
	Languages     []string `json:"languages,omitempty"` // whose reports were found in its streams
	Files         int      `json:"files"`               // held open
	LagBytes      int64    `json:"lag_bytes"`
	PendingBytes  int64    `json:"pending_bytes"` // in open events
	ReadBytes     int64    `json:"read_bytes"`
	Lines         int64    `json:"lines"`
	Events        int64    `json:"events"`
	Delivered     bool     `json:"delivered"` // read to its end, nothing pending, all acknowledged
	QuietSeconds  int64    `json:"quiet_seconds"`
	NewestSeq     uint64   `json:"newest_seq"` // of the newest spool record that holds an event of it
	DetachedBytes int64    `json:"detached_bytes"`
}

// SpoolStatus is the spool.
type SpoolStatus struct {
	PendingEvents int64   `json:"pending_events"`
	PendingFrames int64   `json:"pending_frames"`
	PendingBytes  int64   `json:"pending_bytes"`
	CapacityBytes int64   `json:"capacity_bytes"`
	OldestSeconds float64 `json:"oldest_seconds"`
	// UnackedSeconds is how long frames are pending and none was acked. It is measured by the monotonic clock.
	UnackedSeconds float64 `json:"unacked_seconds"`
	Segments       int     `json:"segments"`
	Full           string  `json:"full,omitempty"`    // why it takes no more
	Failing        string  `json:"failing,omitempty"` // what the disk does not do besides
	SetAsideFiles  int     `json:"set_aside_files"`   // in the folder set-aside, of this life and former ones
	SetAsideBytes  int64   `json:"set_aside_bytes"`
}

// Ledger is the books in events. read + received + recovered + replayed = acked + building + spooled + lost + set aside at every quiet moment.
type Ledger struct {
	Read      int64 `json:"read"`      // made of lines of files and the journal since the start
	Received  int64 `json:"received"`  // from Forward clients since the start, lines folded
	Recovered int64 `json:"recovered"` // found un-acked in the spool at the start
	Replayed  int64 `json:"replayed"`  // brought back by `fairlead replay`
	Acked     int64 `json:"acked"`
	Building  int64 `json:"building"` // in frames not yet in the spool
	Spooled   int64 `json:"spooled"`
	Lost      int64 `json:"lost"`
	SetAside  int64 `json:"set_aside"`
	Imbalance int64 `json:"imbalance"` // left side less right side
}

// Status asks the loops. It can be called from the time New returned.
func (f *Forwarder) Status() Status {
	f.mu.Lock()
	disc, sender, sp, server, last := f.disc, f.sender, f.spool, f.listen, f.last
	jr := f.journal
	f.mu.Unlock()
	if disc == nil {
		return Status{}
	}
	if last == nil {
		answer := make(chan Status, 1)
		timeout := time.NewTimer(time.Second)
		defer timeout.Stop()
		select {
		case disc.questions <- func(l *loop) { answer <- l.status() }:
			disc.alarm.ring()
			select {
			case st := <-answer:
				last = &st
			case <-timeout.C:
			}
		case <-timeout.C:
		}
	}
	if last == nil {
		f.mu.Lock()
		if last = f.last; last == nil { // it did not end meanwhile
			last = &Status{Stalled: true, Spool: spoolStatus(sp.Stats(), time.Now())}
		}
		f.mu.Unlock()
	}
	st := *last
	st.Forward = sender.Status()
	st.Listen = server.Status()
	if paths, bytes, err := spool.SetAsideFiles(f.cfg.Spool.Dir); err == nil {
		st.Spool.SetAsideFiles, st.Spool.SetAsideBytes = len(paths), bytes
	}
	st.Journal = jr.status()
	st.Host = f.cfg.Sources.hostStatus(jr)
	return st
}

// status is answered by the loop between two turns, so that what it counts itself is at rest.
func (l *loop) status() Status {
	var sp spool.Stats
	var received, building, journaled int64
	if l.in == nil {
		sp = l.out.spool.Stats()
	} else {
		l.in.books(func(r, b int64) {
			l.journal.books(func(jr, jb int64) {
				sp, received, building, journaled = l.out.spool.Stats(), r, b+jb, jr
			})
		})
	}
	now := time.Now()
	st := Status{
		Spool: spoolStatus(sp, now),
		Ledger: Ledger{
			Read: l.metrics.read + l.metrics.events + journaled, Received: received, Recovered: sp.Recovered, Replayed: sp.Replayed, Acked: sp.Acked, Building: l.out.building + building,
			Spooled: sp.PendingEvents, Lost: sp.Dropped + sp.Lost, SetAside: sp.SetAside,
		},
	}
	st.Excluded = l.disc.excludedList()
	st.Volumes = l.volumeStatus()
	st.Ledger.balance()
	for _, s := range l.sources {
		o := SourceStatus{
			Path: s.name, Tag: s.tag, Files: len(s.files), PendingBytes: int64(s.pending), ReadBytes: s.bytes, Lines: s.lines, Events: s.events,
			QuietSeconds: (now.UnixNano() - s.lastData) / int64(time.Second), NewestSeq: s.lastSeq,
		}
		for _, stream := range s.streams {
			if lang := stream.fold.Language(); lang != "" && !slices.Contains(o.Languages, lang) {
				o.Languages = append(o.Languages, lang)
			}
		}
		for i, f := range s.files {
			if i >= s.current {
				o.LagBytes += max(0, f.Size()-f.Offset())
			}
			if f.Deleted() {
				o.DetachedBytes += f.Blocks()
			}
		}
		o.Delivered = s.eof && s.pending == 0 && !s.unmarked && s.lastSeq <= sp.AckedSeq
		st.Sources = append(st.Sources, o)
	}
	return st
}

func spoolStatus(sp spool.Stats, now time.Time) SpoolStatus {
	st := SpoolStatus{
		PendingEvents: sp.PendingEvents, PendingFrames: sp.PendingFrames, PendingBytes: sp.PendingBytes,
		UnackedSeconds: sp.Unacked.Seconds(), CapacityBytes: sp.Capacity, Segments: sp.Segments, Full: sp.Full, Failing: sp.Failing,
	}
	if sp.Oldest > 0 {
		st.OldestSeconds = float64(now.UnixMilli()-sp.Oldest) / 1000
	}
	return st
}

func (b *Ledger) balance() {
	b.Imbalance = b.Read + b.Received + b.Recovered + b.Replayed - (b.Acked + b.Building + b.Spooled + b.Lost + b.SetAside)
}

// books shows the ledger to Prometheus.
type books struct{ f *Forwarder } // nil: there is none

var (
	lostEvents = prometheus.NewDesc("fairlead_lost_events_total", "Events given up after they were read.", []string{"reason"}, nil)
	imbalance  = prometheus.NewDesc("fairlead_ledger_imbalance_events",
		"Events read or recovered that are neither acknowledged nor anywhere on the way; 0 unless there is a bug.", nil, nil)
)

// Describe implements prometheus.Collector.
func (b *books) Describe(ch chan<- *prometheus.Desc) {
	ch <- lostEvents
	ch <- imbalance
}

// Collect implements prometheus.Collector.
func (b *books) Collect(ch chan<- prometheus.Metric) {
	var dropped, damaged, off int64
	if b.f != nil {
		off = b.f.Status().Ledger.Imbalance
		b.f.mu.Lock()
		sp := b.f.spool
		b.f.mu.Unlock()
		if sp != nil {
			s := sp.Stats()
			dropped, damaged = s.Dropped, s.Lost
		}
	}
	ch <- prometheus.MustNewConstMetric(lostEvents, prometheus.CounterValue, float64(dropped), lostDropOldest)
	ch <- prometheus.MustNewConstMetric(lostEvents, prometheus.CounterValue, float64(damaged), lostSpoolDamage)
	ch <- prometheus.MustNewConstMetric(imbalance, prometheus.GaugeValue, float64(off))
}
