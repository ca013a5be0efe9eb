package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
)

// owner is one process: it reads files, folds, builds frames and sends them.
type owner struct {
	w       *world
	s       *Spool
	streams []*stream
	clients map[int]*stream // what listener connections feed, by source
	builder [2]builder
	queue   []*queued
	before  Stats // the last Append
}

// stream is the state of one source.
type stream struct {
	f     *logFile
	off   int64 // lines before it were read
	done  int64
	skip  int64   // what the mark said at start: events up to here were emitted...
	undo  []int64 // ...but those with a line that starts here
	open  map[int]*event
	dirty bool
}

type event struct{ lines []*lineRef }

type lineRef struct {
	num        int
	start, end int64
	input      uint64 // the input record it lies in
	queued     bool   // it lies in one that is to be written
}

type builder struct {
	nums    []int
	streams []*stream
	inputs  bool
}

type queued struct {
	rec   *Record
	nums  []int
	refs  []*lineRef // of an input record: they learn its number
	floor uint64     // the oldest input record that is needed once it is written, as its mark says; 0: it has no such mark
}

const clientSource = 1 << 20

func newOwner(w *world, s *Spool) (*owner, error) {
	o := &owner{w: w, s: s, clients: map[int]*stream{}}
	marks := s.Marks()
	known := map[string]bool{"in": true}
	for _, f := range w.living() {
		o.take(f, marks[markKey(f)])
		known[markKey(f)] = true
	}
	for key := range marks {
		if !known[key] {
			s.SetMark(key, nil)
		}
	}
	upto, open := decodeInputs(marks["in"])
	floor := uint64(0) // none is needed, else the first: what ends in the fold at once waits in a builder, without a mark
	err := s.Inputs(func(seq uint64, frame []byte) error {
		if seq <= upto && !slices.Contains(open, seq) {
			return nil
		}
		if floor == 0 {
			floor = seq
		}
		nums, err := numbers(string(frame))
		for _, n := range nums {
			o.fold(o.client(w.lines[n].source), lineRef{num: n, input: seq})
		}
		return err
	})
	s.SetInputFloor(floor)
	return o, err
}

func markKey(f *logFile) string { return "file" + strconv.Itoa(f.ino) }

// take opens a file where its mark says, if it is the file the mark is of.
func (o *owner) take(f *logFile, mark []byte) *stream {
	st := &stream{f: f, open: map[int]*event{}}
	o.streams = append(o.streams, st)
	if mark == nil {
		return st
	}
	from, done, sum, open := decodeMark(mark)
	high := max(from, done)
	if high > int64(len(f.data)) || (o.w.marker && fingerprint(f.data, high) != sum) {
		return st
	}
	st.off, st.done, st.skip, st.undo = from, done, done, open
	return st
}

// fingerprint is the marker: a hash of up to 256 bytes before off.
func fingerprint(b []byte, off int64) uint64 {
	h := fnv.New64a()
	h.Write(b[max(0, off-256):off])
	return h.Sum64()
}

func (o *owner) client(source int) *stream {
	st := o.clients[source]
	if st == nil {
		st = &stream{open: map[int]*event{}, f: &logFile{source: source}}
		o.clients[source] = st
	}
	return st
}

// read takes up to n lines of a source.
func (o *owner) read(st *stream, n int) {
	for ; n > 0 && st.off < int64(len(st.f.data)); n-- {
		end := st.off + int64(bytes.IndexByte(st.f.data[st.off:], '\n')) + 1
		text := string(st.f.data[st.off:end])
		ref := lineRef{start: st.off, end: end}
		st.off = end
		if _, err := fmt.Sscan(text, &ref.num); err == nil && ref.num < len(o.w.lines) && o.w.lines[ref.num].text == text {
			o.fold(st, ref) // else a wrong mark made it begin inside a line
		}
	}
}

func (o *owner) fold(st *stream, ref lineRef) {
	l := &o.w.lines[ref.num]
	if ev := st.open[l.thread]; ev != nil && l.head {
		o.end(st, l.thread)
	}
	ev := st.open[l.thread]
	if ev == nil {
		ev = &event{}
		st.open[l.thread] = ev
	}
	ev.lines = append(ev.lines, &ref)
	st.dirty = true
}

// end ends the open event of a thread: it goes into a builder unless a former life emitted it.
func (o *owner) end(st *stream, thread int) {
	ev := st.open[thread]
	delete(st.open, thread)
	fresh := ev.lines[0].input != 0 || st.f.source >= clientSource
	for _, ref := range ev.lines {
		fresh = fresh || ref.end > st.skip || slices.Contains(st.undo, ref.start)
	}
	if !fresh {
		return
	}
	b := o.builderOf(st)
	for _, ref := range ev.lines {
		b.nums = append(b.nums, ref.num)
		st.done = max(st.done, ref.end)
	}
	if st.f.source >= clientSource {
		b.inputs = true
	} else if !slices.Contains(b.streams, st) {
		b.streams = append(b.streams, st)
	}
}

// builderOf is where a source's events go, always the same. All clients feed one: one mark speaks of the inputs of all.
func (o *owner) builderOf(st *stream) *builder {
	if st.f.source >= clientSource {
		return &o.builder[1]
	}
	return &o.builder[st.f.source%2]
}

// flush ends all events of a source.
func (o *owner) flush(st *stream) {
	for thread := range 3 {
		if st.open[thread] != nil {
			o.end(st, thread)
		}
	}
}

// seal makes a frame of a builder, with the marks that become true with it.
func (o *owner) seal(b *builder) {
	if len(b.nums) == 0 {
		return
	}
	body := make([]byte, 0, 64)
	for _, n := range b.nums {
		body = append(strconv.AppendInt(body, int64(n), 10), ' ')
	}
	rec := record(string(body), len(b.nums))
	for _, st := range b.streams {
		rec.Buf = AppendMark(rec.Buf, markKey(st.f), st.mark())
	}
	q := &queued{rec: rec, nums: b.nums}
	if b.inputs {
		var mark []byte
		mark, q.floor = o.inputsMark()
		rec.Buf = AppendMark(rec.Buf, "in", mark)
	}
	o.queue = append(o.queue, q)
	*b = builder{}
}

func (st *stream) mark() []byte {
	from := st.off
	var open []int64
	for _, start := range st.undo { // not read again yet
		if start >= st.off {
			open = append(open, start)
		}
	}
	for thread := range 3 {
		if ev := st.open[thread]; ev != nil {
			from = min(from, ev.lines[0].start)
			for _, ref := range ev.lines {
				if ref.start < st.done {
					open = append(open, ref.start)
				}
			}
		}
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(from))
	b = binary.BigEndian.AppendUint64(b, uint64(st.done))
	b = binary.BigEndian.AppendUint64(b, fingerprint(st.f.data, max(from, st.done)))
	for _, start := range open {
		b = binary.BigEndian.AppendUint64(b, uint64(start))
	}
	return b
}

func decodeMark(b []byte) (from, done int64, sum uint64, open []int64) {
	at := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	for i := 3; i < len(b)/8; i++ {
		open = append(open, int64(at(i)))
	}
	return int64(at(0)), int64(at(1)), at(2), open
}

// pendingInputs returns the input records that hold lines of open events.
func (o *owner) pendingInputs() []uint64 {
	var open []uint64
	for _, st := range o.clients {
		for _, ev := range st.open {
			for _, ref := range ev.lines {
				if ref.input != 0 && !slices.Contains(open, ref.input) {
					open = append(open, ref.input)
				}
			}
		}
	}
	slices.Sort(open)
	return open
}

func (o *owner) inputsMark() (mark []byte, floor uint64) {
	last, open := o.s.Stats().LastSeq, o.pendingInputs()
	mark = binary.BigEndian.AppendUint64(nil, last)
	for _, seq := range open {
		mark = binary.BigEndian.AppendUint64(mark, seq)
	}
	return mark, append(open, last+1)[0]
}

func decodeInputs(b []byte) (upto uint64, open []uint64) {
	for i := 0; i < len(b)/8; i++ {
		v := binary.BigEndian.Uint64(b[8*i:])
		if i == 0 {
			upto = v
		} else {
			open = append(open, v)
		}
	}
	return upto, open
}

// append writes what is sealed. It reports whether nothing is left.
func (o *owner) append() (bool, error) {
	if len(o.queue) == 0 {
		return true, nil
	}
	recs := make([]*Record, len(o.queue))
	for i, q := range o.queue {
		recs[i] = q.rec
	}
	o.before = o.s.Stats()
	n, err := o.s.Append(recs)
	for _, q := range o.queue[:n] {
		o.w.records = append(o.w.records, &written{seq: q.rec.Seq, nums: q.nums, alive: true})
		for _, num := range q.nums {
			if l := &o.w.lines[num]; l.settled && l.source < clientSource && o.w.strict {
				return false, fmt.Errorf("line %d is read again, though its position was synced before its segment was unlinked", num)
			}
		}
		for _, ref := range q.refs {
			ref.input = q.rec.Seq
		}
		if q.floor > 0 {
			o.s.SetInputFloor(q.floor)
		}
	}
	o.queue = o.queue[n:]
	o.noteDrops()
	if errors.Is(err, ErrClosed) {
		return false, err
	}
	return err == nil, nil
}

// noteDrops takes note of frames that the last Append dropped and counted.
func (o *owner) noteDrops() {
	if o.s.count.dropped == o.before.Dropped {
		return
	}
	o.w.ordered = false
	gone := slices.Clone(o.w.records)
	for _, q := range o.queue { // written and dropped in the call that a kill ended
		gone = append(gone, &written{seq: q.rec.Seq, nums: q.nums})
	}
	for _, r := range gone {
		if r.seq > o.before.AckedSeq && r.seq <= o.s.acked {
			r.alive = false
			for _, n := range r.nums {
				o.w.lines[n].excused = true
			}
		}
	}
	o.before.Dropped, o.before.AckedSeq = o.s.count.dropped, o.s.acked
}

// burst takes lines from a listener's client. What still pends in the fold when it ends is written as an input record.
func (o *owner) burst(source, n int) error {
	st := o.client(source)
	for range n {
		o.fold(st, lineRef{num: o.w.newLine(source)})
	}
	q := &queued{}
	var body []byte
	for thread := range 3 {
		if ev := st.open[thread]; ev != nil {
			for _, ref := range ev.lines {
				if ref.input == 0 && !ref.queued {
					ref.queued = true
					body = append(strconv.AppendInt(body, int64(ref.num), 10), ' ')
					q.nums = append(q.nums, ref.num)
					q.refs = append(q.refs, ref)
				}
			}
		}
	}
	o.seal(o.builderOf(st))
	if len(body) > 0 {
		q.rec = inputRecord(string(body))
		q.rec.Events = len(q.nums)
		o.queue = append(o.queue, q)
	}
	_, err := o.append()
	return err
}

// remove deals with a deleted file: all of it is read, and once it is on disk the descriptor may go.
func (o *owner) remove(st *stream, now func()) (bool, error) {
	o.read(st, 1<<30)
	o.flush(st)
	b := o.builderOf(st)
	if len(b.nums) > 0 {
		b.streams = slices.DeleteFunc(b.streams, func(x *stream) bool { return x == st })
		o.seal(b)
		q := o.queue[len(o.queue)-1]
		q.rec.Buf = AppendMark(q.rec.Buf, markKey(st.f), nil)
	}
	if ok, err := o.append(); !ok {
		return false, err
	}
	last := o.s.Stats().LastSeq
	o.s.mu.Lock()
	o.s.want = last
	o.s.mu.Unlock()
	now()
	if o.s.Stats().SyncedSeq < last {
		return false, nil
	}
	o.s.SetMark(markKey(st.f), nil)
	o.streams = slices.DeleteFunc(o.streams, func(x *stream) bool { return x == st })
	o.w.release(st.f)
	return true, nil
}
