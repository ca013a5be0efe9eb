package forwarder

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/parse"
	"github.com/fairlead/fairlead/forwarder/spool"
)

const (
	frameBytes  = 256 << 10   // a frame is sealed at this size
	frameAge    = time.Second // or at this age, however busy its source
	appendBytes = 256 << 10   // sealed frames are appended together, at the latest at this size
	buildBytes  = 2 << 20     // memory of all frames under construction; over it the largest is sealed
	wakeBytes   = 64 << 10    // appended at once, is sent while reading goes on; less is sent at the end of the turn
	spareBytes  = 3 << 20     // buffers kept for the next frames: no fewer than ever were in use at a time, or they are made anew
)

// output is the frames under construction and those sealed but not yet in the spool. It belongs to the reading loop.
type output struct {
	spool    *spool.Spool
	log      *slog.Logger
	metrics  *metrics
	marks    func(dst []byte, s *source) []byte
	retire   func([]retired, uint64)
	wake     func()             // has the sender's own goroutine send, where there is much; nil in some tests
	packer   *fluent.Compressor // of all frames; nil: none
	builders map[string]*builder
	bytes    int // of memory that all builders hold
	sealed   []*record
	size     int // of the sealed
	spare    [][]byte
	spareN   int
	recs     []*spool.Record
	retired  []retired // let go as soon as what was read of them is in the spool
	full     bool
	trouble  trouble
	seq      uint64 // of the newest record appended
	building int64  // events in frames that are not in the spool yet

	record Record
	taps   *Taps
	fields []fluent.Field // of the event at hand, as are the next three
	host   parse.Host
	id     []byte
	joined []byte
}

// builder is the frame under construction of one tag.
type builder struct {
	fluent.Builder
	tag     string
	first   int64 // when its first event came
	sources []*source
	busy    bool // a source that feeds it has more input
	bytes   int  // of memory that it holds
	last    int  // size of its last record: the next is likely to be like it
	feeders int  // sources that may add to it
}

// record is a sealed frame on its way to the spool.
type record struct {
	spool.Record
	size    int // of the memory that it needs
	sources []*source
	reached []reached
}

// reached is where reading of a file would go on once a record is in the spool. It is noted where somebody wants to know.
type reached struct {
	file *openFile
	off  int64
}

// retired is a file that is read no more. While it has no name it is the only copy of what it holds, so it is closed only when what
// was read of it is on disk or acknowledged.
type retired struct {
	source *source
	file   *openFile
}

// add appends an event to the frame of its source's tag.
func (o *output) add(s *source, st *stream, ev *fold.Event, now int64) {
	b := s.builder
	if b == nil {
		if b = o.builders[s.tag]; b == nil {
			b = &builder{tag: s.tag}
			o.builders[s.tag] = b
		}
		s.builder = b
		b.feeders++
	}
	if b.Events() == 0 || b.sources == nil {
		b.Buf = o.buffer(b.last)
		b.Reset(b.tag, spool.HeaderBytes)
		b.first = now
	}
	if !s.unmarked {
		s.unmarked = true
		b.sources = append(b.sources, s)
	}
	extra := fluent.Extra{Part: ev.Part, PartLast: ev.PartLast}
	t := ev.Time
	if s.host != nil {
		t, extra.Level, o.fields = s.host.event(o.fields[:0], &o.host, ev, &st.lag, &st.fields)
	} else {
		extra.Level, o.fields = fieldsOf(o.fields[:0], ev)
	}
	extra.Fields = o.fields
	if o.record.ID {
		o.id = eventID(o.id[:0], s, st, s.file(ev.Pos[0].File), ev)
		extra.ID = o.id
	}
	if o.record.ParseJSON {
		extra.JSON, o.joined = jsonOf(o.joined, ev)
	}
	at := len(b.Buf)
	bad := b.Add(t, ev.Lines, &st.fields, extra)
	o.taps.offer(b.tag, b.Buf[at:])
	clear(o.fields) // they lie in buffers that are used again
	o.metrics.badBytes += int64(bad)
	n := cap(b.Buf)
	o.bytes += n - b.bytes
	b.bytes = n
	s.events++
	o.metrics.events++
	o.building++
	if len(ev.Pos) > 1 {
		o.metrics.folded += int64(len(ev.Pos) - 1)
	}
}

// sealFull seals the frame of a source that is large enough. It is called between lines, when the folds are at rest.
func (o *output) sealFull(s *source) {
	if b := s.builder; b != nil && (b.Bytes() >= frameBytes || o.bytes >= buildBytes) {
		o.sealLarge(b)
	}
}

// sealLarge seals a frame that is large enough, or else the largest there is.
func (o *output) sealLarge(b *builder) {
	if b.Bytes() < frameBytes {
		for _, other := range o.builders {
			if len(other.sources) > 0 && other.Bytes() > b.Bytes() {
				b = other
			}
		}
	}
	o.seal(b)
}

// seal ends a frame and puts behind it the marks of all sources that fed it.
func (o *output) seal(b *builder) {
	if len(b.sources) == 0 {
		return
	}
	built := len(b.Buf)
	b.SealWith(o.packer)
	r := &record{Record: spool.Record{Frame: len(b.Frame()), Events: b.Events()}, sources: b.sources}
	r.Buf = b.Buf
	for _, s := range b.sources {
		r.Buf = o.marks(r.Buf, s)
		s.unmarked = false
		if s.volume != nil {
			for _, f := range s.files {
				r.reached = append(r.reached, reached{f, f.marked})
			}
		}
	}
	r.size = max(built, len(r.Buf)) // compressed, it keeps the memory in which it was built
	b.Buf, b.sources, b.last = nil, nil, r.size
	o.bytes -= b.bytes
	b.bytes = 0
	o.sealed = append(o.sealed, r)
	o.size += r.size
	if o.size >= appendBytes {
		o.append()
	}
}

// endTurn seals the frames whose sources were read to their end, so that nothing waits longer than a turn, and those of busy
// sources that have waited long enough.
func (o *output) endTurn(sources []*source, now int64) {
	for _, s := range sources {
		if s.more && s.builder != nil {
			s.builder.busy = true
		}
	}
	for _, b := range o.builders {
		if len(b.sources) > 0 && (!b.busy || now-b.first >= int64(frameAge)) {
			o.seal(b)
		}
		b.busy = false
	}
}

func (o *output) sealAll() {
	for _, b := range o.builders {
		o.seal(b)
	}
}

// waiting says whether sealed frames could not be appended yet.
func (o *output) waiting() bool { return len(o.sealed) > 0 }

// append writes what is sealed to the spool, in one write. It answers false where the spool takes no more: reading pauses then.
func (o *output) append() bool {
	if len(o.sealed) == 0 {
		o.full = false
		o.letRetire()
		return true
	}
	o.recs = o.recs[:0]
	for _, r := range o.sealed {
		o.recs = append(o.recs, &r.Record)
	}
	before := o.size
	n, err := o.spool.Append(o.recs)
	for _, r := range o.sealed[:n] {
		for _, s := range r.sources {
			s.lastSeq = r.Seq
		}
		for _, p := range r.reached {
			at := point{r.Seq, p.off}
			p.file.acked.note(at)
			p.file.synced.note(at)
		}
		o.seq = r.Seq
		o.size -= r.size
		o.building -= int64(r.Events)
		o.recycle(r.Buf)
		r.Buf = nil
	}
	o.sealed = slices.Delete(o.sealed, 0, n)
	if before-o.size >= wakeBytes && o.wake != nil {
		o.wake()
	}
	if err != nil {
		o.trouble.report(o.log, refusal(err)+"; reading waits", err)
		o.full = true
		return false
	}
	o.trouble.over(o.log, "spool takes records again; reading goes on")
	o.full = false
	o.letRetire()
	return true
}

// refusal says in a log why the spool took no more.
func refusal(err error) string {
	if errors.Is(err, spool.ErrFull) {
		return "spool is full"
	}
	return "cannot write to the spool"
}

// buffer finds or makes a buffer for a frame whose predecessor's record had the size given. There are two kinds, so that buffers are
// neither outgrown nor wasted: those of busy tags have room for a whole frame, and few of them fit into buildBytes at a time;
// those of quiet tags are small.
func (o *output) buffer(size int) []byte {
	want := 1 << 10
	if size > smallRecord {
		want = wholeRecord
	} else if size > want {
		want = smallRecord
	}
	for i := len(o.spare) - 1; i >= 0; i-- {
		b := o.spare[i]
		if n := cap(b); n < want || n > 2*smallRecord && want <= smallRecord {
			continue
		}
		o.spare = slices.Delete(o.spare, i, i+1)
		o.spareN -= cap(b)
		return b
	}
	return make([]byte, 0, want)
}

const (
	wholeRecord = frameBytes + 64<<10 // a frame, the event that made it full, and marks
	smallRecord = 8 << 10
)

// recycle keeps a buffer for other frames, unless it is of neither kind: a small one that was outgrown.
func (o *output) recycle(b []byte) {
	n := cap(b)
	whole, small := n >= wholeRecord && n <= 2*wholeRecord, n <= 2*smallRecord
	if (whole || small) && o.spareN+n <= spareBytes {
		o.spare = append(o.spare, b[:0])
		o.spareN += cap(b)
	}
}

// letGo has a file closed when what was read of it is safe.
func (o *output) letGo(s *source, f *openFile) { o.retired = append(o.retired, retired{s, f}) }

// sourceGone forgets the marks of a source that has ended, not before its last event is in the spool.
func (o *output) sourceGone(s *source, files []*openFile) {
	if s.unmarked {
		o.seal(s.builder) // its marks forget themselves: it has no files any more
	} else {
		// Its last event is in a record sealed before this, and that is appended before any record or snapshot to come.
		o.retired = append(o.retired, retired{source: s})
	}
	for _, f := range files {
		o.letGo(s, f)
	}
	if b := s.builder; b != nil {
		s.builder = nil
		if b.feeders--; b.feeders == 0 { // then nothing is in it
			delete(o.builders, b.tag)
		}
	}
}

// letRetire hands on what was let go, once nothing sealed waits for the spool.
func (o *output) letRetire() {
	if len(o.retired) == 0 {
		return
	}
	// A source whose events are still in a frame under construction has to wait. The others do not wait for it: among many
	// busy sources there is always one.
	var safe, wait []retired
	for _, r := range o.retired {
		if r.source.unmarked {
			wait = append(wait, r)
			continue
		}
		safe = append(safe, r)
		if r.file != nil && r.source.volume != nil {
			r.source.isDone(r.file.ID, o.seq)
		}
		if r.file == nil {
			for _, key := range r.source.stale {
				o.spool.SetMark(key, nil)
			}
			r.source.stale = nil
		}
	}
	if o.retired = wait; len(safe) > 0 {
		o.retire(safe, o.seq)
	}
}
