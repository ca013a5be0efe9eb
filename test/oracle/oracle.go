// Package oracle judges what arrived at a receiver against what the writers of the whole-program tests wrote.
//
// It promises to notice: an event that never came, one that came in other words than it was written (also a trace in two events, or
// two events in one), one whose first arrival was out of order in its stream, one that came under another tag, with other fields or with
// another time than before, and any text of a known source that is no event at all. It counts repeats and judges none: how
// many there may be depends on the faults of the test.
package oracle

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// Event is one event as a receiver got it.
type Event struct {
	Tag    string
	Time   int64 // Unix nanoseconds
	Log    string
	Fields map[string]string // everything but log
}

// Source says how the events of a stream must come labelled. An empty tag is not checked, nor are fields not named here.
type Source struct {
	Tag     string
	Fields  map[string]string
	NoTimes bool // the log bears no times: a line read again has another one
	Debris  bool // between its events lies what is none: text without a number is no problem
}

// Totals count what arrived from known streams.
type Totals struct {
	Events, Traces       int // first arrivals; a trace is an event of several lines
	Repeats, RepeatBytes int
	Foreign              int // events of sources that are not ours
}

// Oracle collects events. Its methods may be called from several goroutines.
type Oracle struct {
	mu       sync.Mutex // all below
	streams  map[streamKey]*stream
	order    []*stream
	owners   map[string][]*stream // by tag and by container_id: whose text without a mark is
	totals   Totals
	problems []string
	more     int           // problems beyond maxProblems
	changed  chan struct{} // closed and replaced whenever something arrived
}

const maxProblems = 20

type streamKey struct {
	writer string
	name   byte
}

// stream is what is known of one stream.
type stream struct {
	script.Stream
	source Source
	seen   map[int]int64 // number to time of the first arrival
	last   int           // highest number seen
	must   int           // numbers below must arrive
	have   int           // how many of these did, once must is known
	open   bool          // must is not final yet
	cut    bool          // the writer was killed: from must on, events may be cut short
	group  int           // the group in units
	units  []script.Unit
}

// New returns an oracle that expects nothing.
func New() *Oracle {
	return &Oracle{streams: map[streamKey]*stream{}, owners: map[string][]*stream{}, changed: make(chan struct{})}
}

// Expect makes a stream known. It counts as incomplete until Must or Cut says how much of it there is.
func (o *Oracle) Expect(s script.Stream, from Source) {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := &stream{Stream: s, source: from, seen: map[int]int64{}, last: -1, open: true, group: -1}
	o.streams[streamKey{s.Writer, s.Name}] = st
	o.order = append(o.order, st)
	for _, owner := range []string{from.Tag, from.Fields["container_id"]} {
		if owner != "" {
			o.owners[owner] = append(o.owners[owner], st)
		}
	}
}

// Must says that exactly the first n events of the stream were written.
func (o *Oracle) Must(s script.Stream, n int) { o.end(s, n, false) }

// Cut says that the first n events of the stream were written in full before its writer was killed. More may come, the very last
// in part.
func (o *Oracle) Cut(s script.Stream, n int) { o.end(s, n, true) }

func (o *Oracle) end(s script.Stream, n int, cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := o.streams[streamKey{s.Writer, s.Name}]
	st.must, st.cut, st.open, st.have = n, cut, false, 0
	for number := range st.seen {
		if number < n {
			st.have++
		}
	}
	if !cut && st.last >= n {
		o.problem("%s: event %d arrived, but only %d were written", st.id(), st.last, n)
	}
	o.wake()
}

// Add takes events in the order of their arrival.
func (o *Oracle) Add(events ...Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range events {
		o.add(&events[i])
	}
	o.wake()
}

func (o *Oracle) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *Oracle) add(e *Event) {
	var mine []script.Mark
	for _, m := range script.Marks(e.Log) {
		if o.streams[streamKey{m.Writer, m.Stream}] != nil {
			mine = append(mine, m)
		}
	}
	if len(mine) == 0 {
		o.unmarked(e)
		return
	}
	st := o.streams[streamKey{mine[0].Writer, mine[0].Stream}]
	repeat := o.arrive(st, mine[0].N, e)
	for _, m := range mine[1:] {
		o.problem("%s: event %d came glued to event %d: %s", st.id(), m.N, mine[0].N, quote(e.Log))
		o.arrive(o.streams[streamKey{m.Writer, m.Stream}], m.N, e)
	}
	if repeat || len(mine) > 1 {
		return
	}
	o.label(st, mine[0].N, e)
	want := st.event(mine[0].N)
	if e.Log == want || (st.mayBeCut(mine[0].N) && strings.HasPrefix(want, e.Log)) {
		return
	}
	o.problem("%s: event %d is not what was written: %s", st.id(), mine[0].N, difference(e.Log, want))
}

// arrive books one number and says whether it was there before.
func (o *Oracle) arrive(st *stream, n int, e *Event) (repeat bool) {
	if at, ok := st.seen[n]; ok {
		o.totals.Repeats++
		o.totals.RepeatBytes += len(e.Log)
		if at != e.Time && !st.source.NoTimes {
			o.problem("%s: event %d came with time %s and again with %s", st.id(), n, stamp(at), stamp(e.Time))
		}
		return true
	}
	st.seen[n] = e.Time
	if n < st.must {
		st.have++
	}
	o.totals.Events++
	if strings.Contains(e.Log, "\n") {
		o.totals.Traces++
	}
	if !st.open && !st.cut && n >= st.must {
		o.problem("%s: event %d arrived, but only %d were written", st.id(), n, st.must)
	}
	if n < st.last {
		o.problem("%s: event %d arrived for the first time after event %d", st.id(), n, st.last)
	}
	st.last = max(st.last, n)
	return false
}

// label checks tag, fields and time of a first arrival.
func (o *Oracle) label(st *stream, n int, e *Event) {
	if st.source.Tag != "" && e.Tag != st.source.Tag {
		o.problem("%s: event %d has tag %q, want %q", st.id(), n, e.Tag, st.source.Tag)
	}
	for k, want := range st.source.Fields {
		if got, ok := e.Fields[k]; !ok || got != want {
			o.problem("%s: event %d has %s %q, want %q", st.id(), n, k, got, want)
		}
	}
	if d := time.Since(time.Unix(0, e.Time)); d < -time.Minute || d > time.Hour {
		o.problem("%s: event %d has time %s, which is not of today's run", st.id(), n, stamp(e.Time))
	}
}

// unmarked judges a text without a number: foreign, the cut end of a killed writer, or a piece of something.
func (o *Oracle) unmarked(e *Event) {
	owners := o.owners[e.Fields["container_id"]]
	if owners == nil {
		owners = o.owners[e.Tag]
	}
	if owners == nil {
		o.totals.Foreign++
		return
	}
	for _, st := range owners {
		if st.source.Debris {
			return
		}
		for n := st.must; st.cut && n < st.must+2*script.GroupEvents; n++ {
			if strings.HasPrefix(st.event(n), e.Log) {
				return
			}
		}
	}
	o.problem("%s: text without a number: %s", owners[0].id(), quote(e.Log))
}

func (o *Oracle) problem(format string, args ...any) {
	if len(o.problems) >= maxProblems {
		o.more++
		return
	}
	o.problems = append(o.problems, fmt.Sprintf(format, args...))
}

// Problems returns what is wrong, apart from what is missing.
func (o *Oracle) Problems() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := slices.Clone(o.problems)
	if o.more > 0 {
		all = append(all, fmt.Sprintf("and %d problems more", o.more))
	}
	return all
}

// Arrived says how many events of a stream have arrived.
func (o *Oracle) Arrived(s script.Stream) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.streams[streamKey{s.Writer, s.Name}].seen)
}

// Totals returns the counts so far.
func (o *Oracle) Totals() Totals {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.totals
}
