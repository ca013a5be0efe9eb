package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

// Ledger holds what was written and what arrived. It believes nobody: a line counts as written when its write has returned, and as
// received when a receiver has decoded it with the very text that was written.
type Ledger struct {
	mu       sync.Mutex // all below
	streams  map[streamKey]*account
	order    []*account
	problems []string
	wrong    int
	foreign  int
	changed  chan struct{} // closed and replaced whenever something new arrived
}

type streamKey struct {
	writer string
	stream byte
}

type account struct {
	streamKey
	written    int
	arrivals   map[int]arrival
	last       int
	repeats    int
	misordered int
}

type arrival struct{ written, received int64 }

// Result is the verdict of a ledger.
type Result struct {
	Written    int // lines
	Received   int // of these, at least once
	Lost       int // of these, never
	Repeated   int // arrivals beyond the first
	Misordered int // first arrivals after one of a higher number of the same stream
	Wrong      int // arrivals that are no line as it was written

	P50, P99, Max time.Duration // from the write to the first arrival
	CaughtUp      time.Duration // from the end of the fault until all written before had arrived; 0: at once
	Connections   int64         // that a sender made
}

// NewLedger knows of no writer.
func NewLedger() *Ledger {
	return &Ledger{streams: map[streamKey]*account{}, changed: make(chan struct{})}
}

// Expect makes a stream known: its lines count from now on.
func (l *Ledger) Expect(writer string, stream byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &account{streamKey: streamKey{writer, stream}, arrivals: map[int]arrival{}, last: -1}
	l.streams[a.streamKey] = a
	l.order = append(l.order, a)
}

// Wrote says that the first n lines of a stream have been written.
func (l *Ledger) Wrote(writer string, stream byte, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[streamKey{writer, stream}].written = n
}

// Receive books the text of an event. Texts of writers that are not ours are foreign: the machine may have other containers.
func (l *Ledger) Receive(text []byte, now time.Time) {
	line, ok := script.ParseNumbered(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.streams[streamKey{line.Writer, line.Stream}]
	if !ok {
		for _, a := range l.order { // one of ours, cut or glued
			if strings.Contains(string(text), "w="+a.writer+" ") {
				l.wrong++
				l.problem("an event of %s is not what was written: %.200q", a.writer, text)
				return
			}
		}
	}
	if a == nil {
		l.foreign++
		return
	}
	if _, again := a.arrivals[line.N]; again {
		a.repeats++
		return
	}
	a.arrivals[line.N] = arrival{line.At, now.UnixNano()}
	if line.N < a.last {
		a.misordered++
		l.problem("%s/%c: line %d arrived for the first time after line %d", a.writer, a.stream, line.N, a.last)
	}
	a.last = max(a.last, line.N)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Ledger) problem(format string, args ...any) {
	if len(l.problems) < 5 {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

// missing counts the lines that were written and have not arrived.
func (l *Ledger) missing() (n int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.order {
		for i := range a.written {
			if _, ok := a.arrivals[i]; !ok {
				n++
			}
		}
	}
	return n, l.changed
}

// Settle waits until nothing is missing, or nothing new has arrived for quiet, or for most in all.
func (l *Ledger) Settle(ctx context.Context, quiet, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		n, changed := l.missing()
		if n == 0 {
			return
		}
		select {
		case <-changed:
			select { // a backlog arrives line by line: it need not be counted after each
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		case <-time.After(quiet):
			return
		case <-ctx.Done():
			return
		}
	}
}

// Result counts. Of lines written before over it tells how long after it the last one came.
func (l *Ledger) Result(over time.Time) Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Result{Wrong: l.wrong}
	var delays []time.Duration
	for _, a := range l.order {
		r.Written += a.written
		r.Repeated += a.repeats
		r.Misordered += a.misordered
		for n := range a.written {
			got, ok := a.arrivals[n]
			if !ok {
				r.Lost++
				continue
			}
			r.Received++
			delays = append(delays, time.Duration(got.received-got.written))
			if got.written <= over.UnixNano() {
				r.CaughtUp = max(r.CaughtUp, time.Duration(got.received-over.UnixNano()))
			}
		}
		for n := range a.arrivals {
			if n < 0 || n >= a.written {
				r.Wrong++
				l.problem("%s/%c: line %d arrived, but only %d were written", a.writer, a.stream, n, a.written)
			}
		}
	}
	if len(delays) > 0 {
		slices.Sort(delays)
		at := func(p float64) time.Duration { return delays[min(len(delays)-1, int(p*float64(len(delays))))] }
		r.P50, r.P99, r.Max = at(0.5), at(0.99), delays[len(delays)-1]
	}
	return r
}

// Problems are the first few faults other than loss, in words, and which lines are missing.
func (l *Ledger) Problems() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.problems)
	for _, a := range l.order {
		var missing []string
		for n := range a.written {
			if _, ok := a.arrivals[n]; !ok {
				missing = append(missing, fmt.Sprint(n))
			}
		}
		if n := len(missing); n > 0 {
			all = append(all, fmt.Sprintf("%s/%c: %d of %d lines never arrived: %s", a.writer, a.stream, n, a.written, strings.Join(missing[:min(n, 30)], " ")))
		}
	}
	return all
}
