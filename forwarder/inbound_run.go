package forwarder

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/fairlead/fairlead/forwarder/listen"
)

// inSlowest is how long nothing is looked at at the most.
const inSlowest = 10 * time.Second

// recoverBytes is how much of input records is folded before it is brought into the spool again.
const recoverBytes = 1 << 20

// recover gives the lines that an earlier life left in input records to the folds again. It is called before any client is.
func (in *inbound) recover(ctx context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.recovers = true
	lines, bytes := 0, 0
	err := in.spool.Inputs(func(seq uint64, frame []byte) error {
		if err := in.room(ctx); err != nil {
			return err
		}
		input := &inputRecord{seq: seq}
		err := eachInput(frame, func(index uint32, clock int64, e *listen.Entry) {
			if e.Line = listen.ReadLine(e.Record); e.Line == nil {
				return // it was when it was written: a program of another version
			}
			st := in.stream(e.Tag, e.Line)
			if in.recalled.done(st.key, seq, index) {
				return
			}
			st.gap = max(0, clock-st.clock)
			if st.fresh && len(st.lines) == 0 {
				st.clock, st.gap = clock, 0
			}
			st.recalled, st.read = true, in.now()
			st.lastTime, st.whole = e.Time, e.Whole
			input.pending++
			in.line(st, e, inLine{time: e.Time, entry: -1, input: input, index: index})
			lines++
			bytes += len(e.Record)
		})
		if err != nil {
			in.log.Error("input record cannot be read; its lines are lost", "seq", seq, "err", err)
		}
		in.inputs = append(in.inputs, input)
		in.last = seq
		in.bound()
		in.retain() // the frame goes
		if bytes > recoverBytes {
			bytes = 0
			in.endBatch(nil, seq)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recover lines of Forward clients: %w", err)
	}
	// At once where it can be: a mark that speaks of less than the one it replaces would let lines come twice after the next kill.
	in.endBatch(nil, in.last)
	if err := in.room(ctx); err != nil {
		return err
	}
	in.recovers = false
	in.raiseFloor()
	in.spool.SetInputFloor(in.floor)
	if lines > 0 {
		in.log.Info("lines of Forward clients recovered that were being folded", "lines", lines)
	}
	in.arm()
	return nil
}

// run ends by time what waits in the folds, and tries a full spool again, until ctx ends.
func (in *inbound) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.stopped = true
		in.alarmIn(0)
	})()
	defer in.pulse.End()
	for ctx.Err() == nil {
		in.pulse.Enter(&inTick)
		in.tick()
		in.pulse.Enter(&awaitTick)
		in.alarm.hear() // until arm says, or the context ends
	}
	return nil
}

// tick ends what has waited long enough.
func (in *inbound) tick() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.wake = math.MaxInt64
	now := in.now()
	in.ticked = now
	if in.append() {
		for _, st := range in.waiting {
			d := st.fold.Deadline()
			if d == 0 {
				continue
			}
			if clock, _ := st.due(d, now); clock > 0 {
				st.fold.Tick(clock, st.emit)
				if !st.touched {
					st.touched = true
					in.touched = append(in.touched, st)
				}
			}
		}
		in.endBatch(nil, in.last)
		in.dropIdle()
		in.sweep(now)
	}
	in.arm()
}

// dropIdle takes the streams of which nothing pends any more off the list of those that wait.
func (in *inbound) dropIdle() {
	kept := in.waiting[:0]
	for _, st := range in.waiting {
		if st.waiting = len(st.lines) > 0; st.waiting {
			kept = append(kept, st)
		}
	}
	clear(in.waiting[len(kept):])
	in.waiting = kept
}

// flushWaiting ends what waits in the folds, whatever might still come.
func (in *inbound) flushWaiting() {
	for _, st := range in.waiting {
		st.fold.Flush(st.emit)
		st.touch(in)
	}
}

// pends is how many bytes wait in the folds.
func (in *inbound) pends() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.pending
}

// landed says whether all that was ended is in the spool. On a host that is about to end, what waits in the folds is ended before,
// whatever might still come.
func (in *inbound) landed(leaving bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.append() {
		return false // nothing more goes in before that
	}
	if !leaving {
		return true
	}
	in.flushWaiting()
	in.endBatch(nil, in.last)
	in.dropIdle()
	in.arm()
	return len(in.queue) == 0
}

// arm sets the alarm to the first time at which something is to be done.
func (in *inbound) arm() {
	if in.stopped {
		in.alarmIn(0)
		return
	}
	now := in.now()
	next := now + int64(inSlowest)
	if len(in.queue) > 0 {
		next = now + int64(inRetry)
	} else {
		for _, st := range in.waiting {
			if d := st.fold.Deadline(); d > 0 {
				from := st.read
				if st.recalled {
					from += int64(inReconnect)
				}
				next = min(next, from+d-st.clock)
			}
		}
		next = max(next, in.ticked+int64(inTickEvery))
	}
	if next < in.wake {
		in.wake = next
		in.alarmIn(time.Duration(next - now))
	}
}

// finish brings into the spool at stop what could not be brought there yet.
func (in *inbound) finish(stopBy time.Time, hurry <-chan struct{}) {
	var events int64
	if !awaitRoom(func() bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		done := in.append()
		events = in.building
		return done
	}, stopBy, hurry) {
		in.log.Error("spool is full at stop; events of Forward clients were not appended; clients that ask for acks send them again", "events", events)
	}
}

// books are the listener's part of the ledger. f is called while they are at rest.
func (in *inbound) books(f func(received, building int64)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	f(in.received, in.building)
}

// alarmIn sets the alarm. A time set before is forgotten; run hears each, so none is missed.
func (in *inbound) alarmIn(d time.Duration) {
	in.alarm.set(d)
}
