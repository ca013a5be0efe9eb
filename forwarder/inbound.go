package forwarder

import (
	"bytes"
	"context"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/pulse"
)

const (
	inFoldBytes    = 4 << 20                // all folds of listener streams together
	inSpareBytes   = 1 << 20                // buffers kept for the next frames
	inStreams      = 4096                   // streams that are remembered
	inTags         = 1024                   // tags whose builders are remembered
	maxFoldTag     = 512                    // a longer tag is no container's: what bears it is not folded
	inTickEvery    = 20 * time.Millisecond  // folds are ended by time at most this often
	inQuiet        = time.Hour              // a stream silent for so long is forgotten
	inPartialGrace = time.Second            // how long an incomplete message holds up the end of the events before it
	inReconnect    = 3 * time.Second        // for a client to come back after we were away, and go on with its trace
	inRetry        = 100 * time.Millisecond // when a full spool is asked again
)

// inbound is the listener's way into the spool: its folds, frames and input records. It is the Sink of the connections, whose goroutines
// do the work, under its mutex; one more goroutine ends by time what waits in the folds. It has nothing to do with the reading
// loop but the spool: no turn of the loop holds up a client that waits for its ack.
//
// When a burst ends, everything of it is in the spool: events in frames; lines that still pend in a fold as they were received, in an
// input record, which is never sent. The frame that later holds such a line bears a mark that says so (inbound_mark.go).
type inbound struct {
	folding *fold.Folder // used under mu
	spool   *spool.Spool
	log     *slog.Logger
	metrics *metrics
	alarm   *alarm
	pulse   pulse.Pulse // of run
	began   time.Time

	parseJSON bool
	root      string   // where Docker keeps its containers; empty: nothing is known of them
	labels    []string // that become fields
	instance  *instance
	taps      *Taps

	appended func() // wakes the sender

	mu       sync.Mutex      // guards what follows
	gaps     map[string]*gap // by container id, while Docker's cache may have what did not reach us
	came     chan<- string
	before   map[string]map[string]had // how far streams were received by an earlier life
	locals   map[string]bool           // containers of this host that the spool has marks of
	streams  map[string]*inStream
	waiting  []*inStream // lines pend in their folds
	touched  []*inStream // in this batch
	builders map[string]*inBuilder
	active   []*inBuilder // of this batch
	queue    []*inRecord  // sealed, not yet in the spool; nothing else is taken until they are
	moved    chan struct{}
	inputs   []*inputRecord // that hold pending lines, oldest first
	last     uint64         // the newest input record in the spool
	seq      uint64         // the newest record of ours there
	floor    uint64         // as the spool knows it: 0 for none up to floorAt
	floorAt  uint64
	recalled inRecall // what an earlier life said in its marks
	recovers bool     // not all of what it left was given to the folds yet
	stopped  bool     // run has ended or is to end

	fields []fluent.Field // of one event
	joined []byte         // its text, where it is JSON of several lines

	spare    [][]byte
	spareN   int
	pending  int   // bytes in the folds
	received int64 // events, ever
	building int64 // of them, not in the spool yet
	wake     int64 // when the alarm rings
	ticked   int64
	swept    int64
	trouble  trouble
	keyBuf   []byte
	openBuf  []fold.Pos
	valueBuf []byte
	recs     []*spool.Record
	packer   *fluent.Compressor // nil: frames are not compressed
}

var inSeed = maphash.MakeSeed()

// inBuilder is the frame under construction of one tag. It has a buffer only during a batch.
type inBuilder struct {
	fluent.Builder
	tag    string
	active bool
	last   int // size of its last frame
}

// inRecord is a frame or an input record on its way into the spool.
type inRecord struct {
	spool.Record
	input *inputRecord
}

// inputRecord is an input record of the spool some of whose lines still pend.
type inputRecord struct {
	seq     uint64
	pending int
}

func newInbound(cfg Record, folding *fold.Folder, sp *spool.Spool, log *slog.Logger, m *metrics, a *alarm) *inbound {
	return &inbound{
		folding: folding, spool: sp, log: log, metrics: m, alarm: a, began: time.Now(), parseJSON: cfg.ParseJSON,
		streams: map[string]*inStream{}, builders: map[string]*inBuilder{}, locals: map[string]bool{}, moved: make(chan struct{}),
	}
}

// now is a clock in Unix nanoseconds that is never set, so no step of the wall clock ends or holds up an event.
func (in *inbound) now() int64 { return in.began.UnixNano() + int64(time.Since(in.began)) }

// Take implements listen.Sink.
func (in *inbound) Take(ctx context.Context, c *listen.Conn, entries []listen.Entry) (uint64, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.await(ctx, entries); err != nil {
		return 0, err
	}
	if err := in.room(ctx); err != nil {
		return 0, err
	}
	now := in.now()
	for i := range entries {
		e := &entries[i]
		if e.Time == 0 { // "now" at the receiver, which is us
			e.Time = now
		}
		if e.Line != nil && len(e.Tag) <= maxFoldTag {
			st := in.stream(e.Tag, e.Line)
			again := st.again(c, e)
			st.tell(c, e, now)
			if st.local != "" && !again {
				again = in.hear(st, e)
				st.touch(in)
			}
			if again {
				in.metrics.repeated.Inc()
				continue
			}
			in.line(st, e, inLine{time: e.Time, entry: i})
		} else {
			in.whole(e)
		}
	}
	in.endBatch(entries, in.last)
	in.arm()
	if err := in.room(ctx); err != nil {
		return 0, err
	}
	return in.seq, nil
}

// Sync implements listen.Sink.
func (in *inbound) Sync(ctx context.Context, seq uint64) error { return in.spool.SyncTo(ctx, seq) }

// room waits until nothing sealed waits for the spool. mu is held, but not while it waits.
func (in *inbound) room(ctx context.Context) error {
	for len(in.queue) > 0 && !in.append() {
		moved := in.moved
		in.mu.Unlock()
		select {
		case <-ctx.Done():
			in.mu.Lock()
			return ctx.Err()
		case <-moved:
		}
		in.mu.Lock()
	}
	return nil
}

// whole takes a record that is an event as it is.
func (in *inbound) whole(e *listen.Entry) {
	b := in.builder(e.Tag)
	at := len(b.Buf)
	b.AddRecord(e.Time, e.Record)
	in.taps.offer(b.tag, b.Buf[at:])
	in.received++
	in.building++
	in.sealFull(b)
}

// line gives a line to the fold of its stream.
func (in *inbound) line(st *inStream, e *listen.Entry, at inLine) {
	l := e.Line
	if !st.known || st.sum != l.Fields {
		st.fold.Flush(st.emit) // with the fields it came with
		st.partial = false
		st.known, st.sum = true, l.Fields
		st.fields.Reset()
		listen.Fields(e.Record, st.fields.AddRaw)
		in.addNames(st)
	}
	if !st.placed && in.instance.known() {
		in.addNames(st)
	}
	goesOn := st.partial
	if len(l.PartialID) > 0 || len(st.partialID) > 0 {
		goesOn = st.partial && bytes.Equal(st.partialID, l.PartialID) && (l.Ordinal == 0 || l.Ordinal == st.ordinal+1)
	}
	if st.partial && !goesOn {
		st.fold.EndLine(st.emit)
	}
	if !goesOn {
		st.clock += st.gap // the pieces of a line bear one time, by which the fold knows them
	}
	st.gap = 0
	st.lastText, st.lastOrdinal = maphash.Bytes(inSeed, l.Text), l.Ordinal
	st.partial, st.ordinal = l.More, l.Ordinal
	st.partialID = append(st.partialID[:0], l.PartialID...)

	st.n++
	at.n, at.clock = st.n, st.clock
	st.lines = append(st.lines, at)
	st.touch(in)
	st.fold.Add(fold.Line{Text: l.Text, Time: st.clock, Read: st.clock, Pos: fold.Pos{Start: st.n, End: st.n + 1}, More: l.More}, st.emit)
	if b := in.builders[st.tag]; b != nil {
		in.sealFull(b)
	}
}

func (st *inStream) touch(in *inbound) {
	if !st.touched {
		st.touched = true
		in.touched = append(in.touched, st)
	}
}

// emit takes an event from a fold to the frame of its tag.
func (in *inbound) emit(st *inStream, ev *fold.Event) {
	t := st.timeOf(ev)
	for _, p := range ev.Pos {
		if l := st.at(p.Start); l != nil && l.input != nil {
			st.dirty = true
			break
		}
	}
	st.emitted = true
	b := in.builder([]byte(st.tag))
	at := len(b.Buf)
	bad := b.Add(t, ev.Lines, &st.fields, in.extra(st, ev))
	in.taps.offer(b.tag, b.Buf[at:])
	clear(in.fields) // they lie in buffers that are used again
	in.received++
	in.building++
	in.metrics.foldEvents.Inc()
	if bad > 0 {
		in.metrics.replaced.Add(float64(bad))
	}
	if len(ev.Pos) > 1 {
		in.metrics.foldLines.Add(float64(len(ev.Pos) - 1))
	}
}

// extra is what the text says of itself, where the client has not said it.
func (in *inbound) extra(st *inStream, ev *fold.Event) fluent.Extra {
	x := fluent.Extra{Part: ev.Part, PartLast: ev.PartLast}
	x.Level, in.fields = fieldsOf(in.fields[:0], ev)
	if st.fields.Has("level") {
		x.Level = ""
	}
	in.fields = slices.DeleteFunc(in.fields, func(f fluent.Field) bool { return st.fields.Has(f.Key) })
	for _, p := range ev.Pos {
		if l := st.at(p.Start); l != nil && l.back {
			in.fields = append(in.fields, fluent.Field{Key: backField, Value: []byte("true")})
			break
		}
	}
	x.Fields = in.fields
	if in.parseJSON {
		x.JSON, in.joined = jsonOf(in.joined, ev)
	}
	return x
}

// builder finds or makes the frame under construction of a tag.
func (in *inbound) builder(tag []byte) *inBuilder {
	b := in.builders[string(tag)]
	if b == nil {
		if len(in.builders) >= inTags {
			if len(in.active) >= inTags/2 { // or the same would be looked through for each further tag
				for _, o := range in.active {
					in.seal(o)
				}
				in.active = in.active[:0]
			}
			for t, o := range in.builders {
				if !o.active {
					delete(in.builders, t)
				}
			}
		}
		b = &inBuilder{tag: string(tag)}
		in.builders[b.tag] = b
	}
	if !b.active {
		b.active = true
		in.active = append(in.active, b)
		b.Buf = in.buffer(b.last)
		b.Reset(b.tag, spool.HeaderBytes)
	}
	return b
}

// sealFull seals a frame that is large enough.
func (in *inbound) sealFull(b *inBuilder) {
	if b.active && b.Bytes() >= frameBytes {
		in.seal(b)
		for i, o := range in.active {
			if o == b {
				in.active = append(in.active[:i], in.active[i+1:]...)
				break
			}
		}
	}
}

func (in *inbound) seal(b *inBuilder) {
	b.SealWith(in.packer)
	r := &inRecord{Record: spool.Record{Buf: b.Buf, Frame: len(b.Frame()), Events: b.Events()}}
	b.last = len(b.Buf)
	b.Buf, b.active = nil, false
	in.queue = append(in.queue, r)
}

// endBatch brings into order what a batch of lines left behind: frames, marks behind the last of them, and an input record with the
// lines of this batch that pend. entries are those of the batch; upto is the newest input record that was given to the folds.
func (in *inbound) endBatch(entries []listen.Entry, upto uint64) {
	in.bound()
	in.retain()
	if len(in.waiting) > inStreams {
		in.dropIdle()
	}
	for _, b := range in.active {
		in.seal(b)
	}
	in.active = in.active[:0]
	if n := len(in.queue); n > 0 {
		// Only the last record may bear the marks: they speak of what is in any of them.
		in.queue[n-1].Buf = in.marks(in.queue[n-1].Buf, upto)
	}
	if r := in.inputOf(entries); r != nil {
		in.queue = append(in.queue, r)
	}
	if n := len(in.queue); n > 0 { // in the last record, as the marks are: it is in the spool only if the others are
		in.queue[n-1].Buf = in.hads(in.queue[n-1].Buf)
	}
	for _, st := range in.touched {
		st.touched, st.dirty, st.emitted = false, false, false
	}
	in.touched = in.touched[:0]
	in.append()
}

// retain copies what pends out of the buffers of the batch.
func (in *inbound) retain() {
	for _, st := range in.touched {
		st.fold.Retain()
		in.reconcile(st)
	}
}

// bound forces events out where all folds together hold too much, and ends those of all streams where lines of too many pend.
func (in *inbound) bound() {
	if len(in.waiting) > inStreams {
		in.metrics.foldForced.Add(float64(len(in.waiting)))
		in.flushWaiting()
	}
	for _, st := range in.touched {
		in.pending += st.fold.Pending() - st.pending
		st.pending = st.fold.Pending()
	}
	for in.pending > inFoldBytes {
		var largest *inStream
		for _, list := range [][]*inStream{in.waiting, in.touched} {
			for _, st := range list {
				if largest == nil || st.pending > largest.pending {
					largest = st
				}
			}
		}
		if largest == nil {
			return
		}
		in.metrics.foldForced.Inc()
		largest.fold.Force(largest.emit)
		n := largest.fold.Pending()
		if n == largest.pending {
			return // nothing that could be forced out
		}
		in.pending += n - largest.pending
		largest.pending = n
		if !largest.touched {
			largest.touched = true
			in.touched = append(in.touched, largest)
		}
	}
}

// reconcile forgets the lines of a stream that do not pend any more.
func (in *inbound) reconcile(st *inStream) {
	in.openBuf = st.fold.Open(in.openBuf[:0])
	open, kept := in.openBuf, st.lines[:0]
	for _, l := range st.lines {
		for len(open) > 0 && open[0].Start < l.n {
			open = open[1:]
		}
		if len(open) > 0 && open[0].Start == l.n {
			kept = append(kept, l)
		} else if l.input != nil {
			l.input.pending--
		}
	}
	clear(st.lines[len(kept):])
	st.lines = kept
	if len(kept) > 0 && !st.waiting {
		st.waiting = true
		in.waiting = append(in.waiting, st)
	}
	if len(kept) == 0 && cap(st.lines) > 64 {
		st.lines = nil
	}
	in.pending += st.fold.Pending() - st.pending
	st.pending = st.fold.Pending()
}

// append writes what is sealed. It answers false while something is left.
func (in *inbound) append() bool {
	if len(in.queue) == 0 {
		return true
	}
	in.recs = in.recs[:0]
	for _, r := range in.queue {
		in.recs = append(in.recs, &r.Record)
	}
	n, err := in.spool.Append(in.recs)
	clear(in.recs)
	if n > 0 {
		in.appended()
	}
	for _, r := range in.queue[:n] {
		in.seq = r.Seq
		if r.input != nil {
			r.input.seq = r.Seq
			in.inputs = append(in.inputs, r.input)
			in.last = r.Seq
		} else {
			in.building -= int64(r.Events)
		}
		in.recycle(r.Buf)
	}
	in.queue = append(in.queue[:0], in.queue[n:]...)
	if err != nil {
		in.trouble.report(in.log, refusal(err)+"; Forward clients wait", err)
	} else {
		in.trouble.over(in.log, "spool takes records again; Forward clients are read on")
	}
	in.raiseFloor()
	if len(in.queue) > 0 {
		in.arm()
		return false
	}
	close(in.moved)
	in.moved = make(chan struct{})
	return true
}

// raiseFloor tells the spool which input records are still needed. It is called when the frames that say so are in the spool.
func (in *inbound) raiseFloor() {
	if len(in.queue) > 0 || in.recovers {
		return
	}
	for len(in.inputs) > 0 && in.inputs[0].pending == 0 {
		in.inputs = in.inputs[1:]
	}
	floor := uint64(0)
	if len(in.inputs) > 0 {
		floor = in.inputs[0].seq
	}
	if floor != in.floor || floor == 0 && in.floorAt != in.last {
		in.floor, in.floorAt = floor, in.last
		in.spool.SetInputFloor(floor)
	}
}

// buffer finds or makes a buffer for a frame; size is that of the tag's last one.
func (in *inbound) buffer(size int) []byte {
	for i := len(in.spare) - 1; i >= 0; i-- {
		if b := in.spare[i]; cap(b) >= size {
			in.spare = append(in.spare[:i], in.spare[i+1:]...)
			in.spareN -= cap(b)
			return b
		}
	}
	return make([]byte, 0, max(size+size/4, 1<<10))
}

func (in *inbound) recycle(b []byte) {
	if in.spareN+cap(b) <= inSpareBytes && len(in.spare) < 16 {
		in.spare = append(in.spare, b[:0])
		in.spareN += cap(b)
	}
}
