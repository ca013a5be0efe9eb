package forwarder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/forwarder/spool"
)

// Leave says that this host is about to end, or not any more. What could be read again elsewhere than here is then no reason to leave it:
// at stop all files are read to their end and all folds are flushed, half-written last lines are lines, and spool.max_bytes does not
// hold, for a log file is no better place than the spool.
func (f *Forwarder) Leave(on bool) {
	f.leaving.Store(on)
	f.mu.Lock()
	sp, last := f.spool, f.last
	f.mu.Unlock()
	if sp != nil && last == nil {
		sp.Unbound(on)
	}
}

// Settle reads what stands in the logs at the time of the call, ends the events that wait for more lines, and returns nil when Fluentd
// has acknowledged all of it. What is written later is not waited for. ErrNotRunning means that the forwarder stops or does not run.
func (f *Forwarder) Settle(ctx context.Context) error {
	sp, err := f.gather(ctx)
	if err != nil {
		return err
	}
	upto := sp.Stats().LastSeq
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		// The last record may be one that nobody acknowledges, so an empty spool counts too.
		if st := sp.Stats(); st.AckedSeq >= upto || st.PendingFrames == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for acks: %w", ctx.Err())
		case <-f.over:
			return ErrNotRunning
		case <-tick.C:
		}
	}
}

const (
	settleEvery   = 20 * time.Millisecond
	settleFolds   = 500 * time.Millisecond // beyond fold.wait, until what pends in folds is ended
	settleJournal = 10 * time.Second       // until journalctl has come to what is in the journal
)

// Spilled is what a part of the spool holds that Fluentd has not acknowledged.
type Spilled struct {
	First, Last uint64 // sequence numbers of its first and its last record, by which parts are told apart and ordered
	Frames      int64
	Events      int64
	Bytes       int64
	// Open reads the part, each time from its beginning: whole records, which replay takes.
	Open func() io.Reader
}

// Spill brings what stands in the logs into the spool, as far as that can be done within the time given, and calls put for each part of
// the spool that is not acknowledged, and then for each frame that was set aside. The spool stays as it is.
func (f *Forwarder) Spill(ctx context.Context, within time.Duration, put func(Spilled) error) error {
	hurried, cancel := context.WithTimeout(ctx, within)
	sp, err := f.gather(hurried)
	cancel()
	if sp == nil {
		return err
	}
	visit := func(b *spool.Batch) error {
		return put(Spilled{First: b.First, Last: b.Last, Frames: b.Frames, Events: b.Events, Bytes: b.Bytes, Open: b.Open})
	}
	return errors.Join(sp.Unacked(ctx, visit), sp.Aside(ctx, visit))
}

// gather brings into the spool what stands in the logs at the time of the call, events that wait for more lines included. The spool is
// answered also where not all got there in time.
func (f *Forwarder) gather(ctx context.Context) (*spool.Spool, error) {
	f.mu.Lock()
	sp, disc, in, jr, last := f.spool, f.disc, f.in, f.journal, f.last
	f.mu.Unlock()
	if sp == nil || last != nil {
		return nil, ErrNotRunning
	}
	began := time.Now()
	disc.look(began)
	disc.paths(began)
	g := &gathering{done: make(chan struct{})}
	select {
	case disc.questions <- func(l *loop) { l.gather(g) }:
		disc.alarm.ring()
	case <-ctx.Done():
		return sp, fmt.Errorf("read the logs to their end: %w", ctx.Err())
	case <-f.over:
		return nil, ErrNotRunning
	}
	var err error
	select {
	case <-g.done:
	case <-ctx.Done():
		// What pends is brought into the spool all the same, as far as the loop comes to it.
		err = fmt.Errorf("read the logs to their end: %w", ctx.Err())
		g.hurried.Store(true)
		disc.alarm.ring()
		select {
		case <-g.done:
		case <-time.After(settleFolds):
		case <-f.over:
		}
	case <-f.over:
		return nil, ErrNotRunning
	}
	// What came over the listener and the journal pends no longer than the folds wait; who writes on is not waited for.
	newest := jr.last(ctx)
	for by, caught := began.Add(f.cfg.Fold.Wait+settleFolds), began.Add(settleJournal); err == nil &&
		(in.pends()+jr.pends() > 0 && time.Now().Before(by) || jr.behind(began, newest) && time.Now().Before(caught)); {
		select {
		case <-ctx.Done():
			err = fmt.Errorf("end what is being folded: %w", ctx.Err())
		case <-f.over:
			return nil, ErrNotRunning
		case <-time.After(settleEvery):
		}
	}
	// What is ended and not in the spool yet is in no file where it could be read again: a full spool has it wait in memory.
	for err == nil && (!in.landed(f.leaving.Load()) || !jr.landed()) {
		select {
		case <-ctx.Done():
			err = fmt.Errorf("bring what clients sent into the spool: %w", ctx.Err())
		case <-f.over:
			return nil, ErrNotRunning
		case <-time.After(settleEvery):
		}
	}
	if err != nil && f.leaving.Load() {
		in.landed(true)
	}
	return sp, err
}

// gathering is one request to bring into the spool what stands in the logs. It belongs to the reading loop.
type gathering struct {
	targets []target
	sources []*source
	read    int64       // when all of it was read
	hurried atomic.Bool // as it stands will do
	done    chan struct{}
}

// target is how far a file is to be read.
type target struct {
	source *source
	file   *openFile
	size   int64
}

// gather begins a gathering: the files as they stand are to be read to their ends.
func (l *loop) gather(g *gathering) {
	l.now = time.Now().UnixNano()
	l.arrive()
	g.sources = slices.Clone(l.sources)
	for _, s := range g.sources {
		l.adopt(s)
		s.nextLook = 0
		for _, f := range s.files[min(s.current, len(s.files)):] {
			_ = f.Look() // what went wrong shows when it is read
			g.targets = append(g.targets, target{s, f, f.Size()})
		}
	}
	l.gatherings = append(l.gatherings, g)
}

// gathered goes on with the gatherings after a turn, and ends those that have all they want.
func (l *loop) gathered() {
	l.gatherings = slices.DeleteFunc(l.gatherings, func(g *gathering) bool {
		hurried := g.hurried.Load()
		g.targets = slices.DeleteFunc(g.targets, l.reached)
		if len(g.targets) > 0 && !hurried {
			return false
		}
		if g.read == 0 {
			g.read = l.now
		}
		g.sources = slices.DeleteFunc(g.sources, func(s *source) bool { return !slices.Contains(l.sources, s) })
		pends := slices.ContainsFunc(g.sources, func(s *source) bool { return s.pending > 0 })
		if pends && !hurried && l.now-g.read < int64(l.cfg.Fold.Wait+settleFolds) {
			return false
		}
		// Where the host goes on, what pends now came later than the call: folds end by time at the end of a file.
		if l.leaving.Load() {
			for _, s := range g.sources {
				l.flushFolds(s)
			}
		}
		l.out.sealAll()
		if !l.out.append() && !hurried {
			return false
		}
		close(g.done)
		return true
	})
}

// reached says whether a file was read as far as it is to be. A half-written line at its end counts as read, unless the host is about to
// end: then it is one.
func (l *loop) reached(t target) bool {
	s, f := t.source, t.file
	i := slices.Index(s.files, f)
	switch {
	case i < s.current || s.unwanted(): // gone, or read on in the file behind it
		return true
	case f.Packed():
		return false
	case f.Offset() >= t.size:
		return true
	case f.tailN == 0 || l.now-f.tailAt < int64(halfWritten) || f.Offset()+int64(f.tailN) < t.size:
		return false
	}
	if l.leaving.Load() {
		l.lastLine(s, f)
	}
	return true
}
