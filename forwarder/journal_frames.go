package forwarder

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// builder finds or makes the frame under construction of a tag.
func (j *journalIn) builder(tag string) *inBuilder {
	b := j.builders[tag]
	if b == nil {
		b = &inBuilder{tag: tag}
		j.builders[tag] = b
	}
	if !b.active {
		b.active = true
		j.active = append(j.active, b)
		b.Reset(tag, spool.HeaderBytes)
	}
	return b
}

func (j *journalIn) seal(b *inBuilder) {
	b.SealWith(j.packer)
	j.queue = append(j.queue, &spool.Record{Buf: b.Buf, Frame: len(b.Frame()), Events: b.Events()})
	b.Buf, b.active = nil, false
}

// endBatch seals what came together, and appends it with the mark that it makes true.
func (j *journalIn) endBatch() {
	for _, b := range j.active {
		j.seal(b)
	}
	j.active = j.active[:0]
	j.advance()
	if n := len(j.queue); n > 0 && j.emitted {
		// Only the last record may bear the mark: it speaks of what is in any of them.
		r := j.queue[n-1]
		r.Buf = spool.AppendMark(r.Buf, journalMark, j.mark())
		j.emitted = false
	}
	j.append()
}

// append writes what is sealed. It answers false while something is left.
func (j *journalIn) append() bool {
	if len(j.queue) == 0 {
		return true
	}
	n, err := j.spool.Append(j.queue)
	for _, r := range j.queue[:n] {
		j.building -= int64(r.Events)
	}
	j.queue = append(j.queue[:0], j.queue[n:]...)
	if n > 0 {
		j.appended()
	}
	if err != nil {
		j.trouble.report(j.log, refusal(err)+"; the journal is not read", err)
		return false
	}
	j.trouble.over(j.log, "spool takes records again; the journal is read on")
	return true
}

// room waits until nothing sealed waits for the spool. Meanwhile journalctl waits in its pipe.
func (j *journalIn) room(ctx context.Context) error {
	for {
		j.mu.Lock()
		done := j.append()
		j.mu.Unlock()
		if done {
			return nil
		}
		pause(ctx, journalRetry)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// advance forgets the entries before the oldest that pends, but for the last of them, which the mark names.
func (j *journalIn) advance() {
	base := j.recent[len(j.recent)-1].n
	for _, st := range j.streams {
		if j.openBuf = st.fold.Open(j.openBuf[:0]); len(j.openBuf) > 0 {
			base = min(base, j.openBuf[0].Start-1)
		}
	}
	if i := base - j.recent[0].n; i > 0 {
		k := copy(j.recent, j.recent[i:])
		clear(j.recent[k:])
		j.recent = j.recent[:k]
	}
}

// bound forces out the oldest or the largest where the folds hold too much.
func (j *journalIn) bound() {
	pending := 0
	var largest, oldest *journalStream
	if len(j.recent) < journalRecent {
		for _, st := range j.streams {
			pending += st.fold.Pending()
			if largest == nil || st.fold.Pending() > largest.fold.Pending() {
				largest = st
			}
		}
		if pending > journalFold {
			j.metrics.foldForced.Inc()
			largest.fold.Force(largest.emit)
		}
		return
	}
	j.advance()
	if len(j.recent) < journalRecent {
		return
	}
	first := int64(0)
	for _, st := range j.streams {
		if j.openBuf = st.fold.Open(j.openBuf[:0]); len(j.openBuf) > 0 && (oldest == nil || j.openBuf[0].Start < first) {
			oldest, first = st, j.openBuf[0].Start
		}
	}
	if oldest != nil {
		j.metrics.foldForced.Inc()
		oldest.fold.Flush(oldest.emit)
		j.advance()
	}
}

// note gives the spool the mark where entries were read of which no event came, so that they need not be read again.
func (j *journalIn) note(now int64) {
	if n := j.recent[0].n; n > j.notedN && now-j.noted > int64(time.Minute) && len(j.queue) == 0 {
		j.noted, j.notedN = now, n
		j.spool.SetMark(journalMark, j.mark())
	}
}

// finish brings into the spool at stop what could not be brought there yet. What is left is read from the journal again.
func (j *journalIn) finish(stopBy time.Time, hurry <-chan struct{}) {
	var events int64
	if !awaitRoom(func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		done := j.append()
		events = j.building
		return done
	}, stopBy, hurry) {
		j.log.Warn("spool is full at stop; events of the journal are read again after the next start", "events", events)
	}
}

// pends is how many bytes wait in the folds.
func (j *journalIn) pends() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, st := range j.streams {
		n += st.fold.Pending()
	}
	return n
}

// behind says whether entries from before a time may not have been read yet: journald tells of them late. newest is the time of the last
// one then, 0 where that is not known.
func (j *journalIn) behind(began time.Time, newest int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	late := now.Sub(began) < journalSettle || now.UnixNano()-j.read < int64(journalSettle) || j.newest < newest
	return j.on.Load() && j.newest < began.UnixNano() && late
}

// last asks the journal for the time of its newest entry; 0: that is not known.
func (j *journalIn) last(ctx context.Context) int64 {
	if !j.on.Load() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, settleJournal)
	defer cancel()
	newest, err := j.cfg.Newest(ctx)
	if err != nil {
		j.log.Warn("the journal does not say what its newest entry is; what comes soon is waited for", "err", err)
	}
	return newest
}

// landed says whether all that was ended is in the spool. Its own goroutine sees to that.
func (j *journalIn) landed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue) == 0
}

// flush ends what waits in the folds, whatever might still come. It is called when run has ended.
func (j *journalIn) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.streams) == 0 {
		return
	}
	for _, st := range j.streams {
		st.fold.Flush(st.emit)
	}
	j.endBatch()
}

// books are the journal's part of the ledger. f is called while they are at rest.
func (j *journalIn) books(f func(received, building int64)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(j.received, j.building)
}

// journalID is that of an event: made of the entry it begins with.
func journalID(dst []byte, cursor string, ev *fold.Event) []byte {
	h := newHash()
	h.text("journal")
	h.text(cursor)
	h.number(uint64(ev.Part))
	return h.appendHex(dst)
}
