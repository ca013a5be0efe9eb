package forwarder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/parse"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/pulse"
)

const (
	turnEvery   = 80 * time.Millisecond // a turn begins at the earliest this long after the last
	visitBytes  = 64 << 10              // of one file while others wait
	bufferBytes = 256 << 10             // the read buffer; a longer line is taken in pieces
	foldBytes   = 8 << 20               // all folds together
	longNul     = 8                     // a run of NUL bytes from here on is what a power loss left, not text
)

// loop is the reading loop: it turns bytes of files into records of the spool. All of it belongs to one goroutine.
type loop struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	disc     *discovery
	tags     tagTemplate
	out      *output
	unpack   string // folder for unpacked archives
	packed   *openFile
	in       *inbound // for the books; nil in tests
	instance *instance
	told     bool // the streams of before have the instance's id
	pulse    *pulse.Pulse
	journal  *journalIn // for the books, as in
	copies   *copies    // nil in tests
	host     parse.Host
	volumes  []*volume
	foundSeq uint64       // the newest record of earlier lives
	syncSoon func(uint64) // has the records up to one synced; nil in some tests

	buf     []byte // the one read buffer of all files
	scratch []byte // unescaped texts of one visit
	decoder parse.Decoder
	open    []fold.Pos
	pend    []pending
	value   []byte
	made    []streamMark // of the mark being made
	sources []*source
	pending int // bytes in all folds
	now     int64
	lastRun int64 // when the rare work was last done
	began   int64
	cleared bool // marks without a source were forgotten

	send func() // has the sender do what it can without waiting; nil in some tests
	// lastTurn tells the sender that it is on its own from now on; nil in some tests.
	lastTurn   func()
	hurry      <-chan struct{} // closed when a stop is to be short
	leaving    *atomic.Bool    // the host is about to end
	gatherings []*gathering
	stopBy     time.Time // once it stops
}

// run turns until the context ends, then brings into the spool what could not be read again.
func (l *loop) run(ctx context.Context) error {
	l.began = time.Now().UnixNano()
	defer context.AfterFunc(ctx, l.disc.alarm.ring)()
	defer l.pulse.End()
	wait := time.Duration(0)
	for {
		l.pulse.Enter(&awaitTurn)
		l.disc.alarm.wait(wait)
		if ctx.Err() != nil {
			l.pulse.End() // the stop has its own deadlines
			if l.lastTurn != nil {
				l.lastTurn()
			}
			return l.finish()
		}
		l.pulse.Enter(&inTurn)
		began := time.Now()
		l.turn(began)
		l.gathered()
		if l.send != nil {
			l.send()
		}
		for answered := false; !answered; {
			select {
			case ask := <-l.disc.questions:
				ask(l)
			default:
				answered = true
			}
		}
		wait = time.Until(time.Unix(0, l.next(began.UnixNano())))
	}
}

// next says when the next turn begins: not sooner than turnEvery after this one, and no later than the first source wants.
func (l *loop) next(began int64) int64 {
	earliest := began + int64(turnEvery)
	next := began + int64(slowest)
	if l.out.waiting() || len(l.gatherings) > 0 {
		return earliest
	}
	for _, s := range l.sources {
		if s.more {
			return earliest
		}
		next = min(next, s.nextLook)
		if s.deadline > 0 {
			next = min(next, s.deadline)
		}
	}
	return max(next, earliest)
}

// The interval at which a file is looked at grows with the time it has been quiet.
const slowest = 200 * time.Millisecond

func interval(quiet int64) int64 {
	switch {
	case quiet < int64(2*time.Second):
		return int64(turnEvery)
	case quiet < int64(10*time.Second):
		return int64(2 * turnEvery)
	}
	return int64(slowest)
}

// turn gives every file that is due its share until none has more or the turn is over.
func (l *loop) turn(began time.Time) {
	before := l.now
	if l.now = began.UnixNano(); l.now < before-int64(slowest) {
		l.setBack(before - l.now)
	}
	l.arrive()
	if l.now-l.lastRun >= int64(time.Second) {
		l.lastRun = l.now
		l.rare()
	}
	for _, v := range l.volumes {
		l.keep(v)
	}
	if !l.out.append() {
		for _, s := range l.sources { // while the files wait, their rotation is followed
			l.adopt(s)
		}
		return
	}
	for {
		busy := 0
		for i := 0; i < len(l.sources); i++ {
			s := l.sources[i]
			if !s.more && s.nextLook > l.now && (s.deadline == 0 || s.deadline > l.now) && !s.hinted.Load() {
				continue
			}
			l.visit(s)
			if l.out.full {
				return
			}
			if s.more {
				busy++
			}
			if s.finished() {
				l.remove(i)
				i--
			}
		}
		if busy == 0 || time.Since(began) > turnEvery {
			break
		}
		l.now = time.Now().UnixNano()
	}
	for _, s := range l.sources {
		l.tick(s)
	}
	l.out.endTurn(l.sources, l.now)
	l.out.append()
	l.metrics.flush()
}

// tick ends by time what may be ended: only where the last visit found the end of the source.
func (l *loop) tick(s *source) {
	if s.deadline == 0 || s.eofAt < s.deadline {
		return
	}
	for _, st := range s.streams {
		if d := st.fold.Deadline(); d > 0 && s.eofAt >= d {
			st.fold.Tick(s.eofAt, st.emit)
		}
	}
	l.account(s)
}

// account keeps the sum of what pends in the folds and forces out the largest where it is too much.
func (l *loop) account(s *source) {
	n := 0
	s.deadline = 0
	for _, st := range s.streams {
		n += st.fold.Pending()
		if d := st.fold.Deadline(); d > 0 && s.eof && (s.deadline == 0 || d < s.deadline) {
			s.deadline = d
		}
	}
	l.pending += n - s.pending
	s.pending = n
	if l.pending > foldBytes {
		var largest *stream
		for _, o := range l.sources {
			for _, st := range o.streams {
				if largest == nil || st.fold.Pending() > largest.fold.Pending() {
					largest = st
				}
			}
		}
		if largest != nil && largest.fold.Pending() > 0 {
			l.metrics.forced++
			largest.fold.Force(largest.emit)
			if largest.source != s {
				l.account(largest.source)
			}
		}
	}
}

// visit reads one share of a source.
func (l *loop) visit(s *source) {
	if s.hinted.Swap(false) || s.current >= len(s.files) {
		l.adopt(s)
	}
	s.more = false
	if s.unwanted() {
		return
	}
	if len(s.files) == 0 {
		s.nextLook = l.now + int64(slowest)
		return
	}
	ok, err := s.prepare(time.Unix(0, l.now), l.tags)
	if err != nil {
		l.log.Warn("sources.containers.tag fails for a container; it has another tag", "tag", s.tag, "path", s.name, "err", err)
	}
	if !ok {
		s.nextLook = l.now + int64(turnEvery)
		return
	}
	l.late(s)
	if s.current >= len(s.files) {
		s.eof, s.eofAt = true, l.now
		s.nextLook = l.now + int64(slowest)
		return
	}
	f := s.files[s.current]
	if f.Packed() && !l.unpackFile(s, f) {
		return
	}
	n, err := l.read(s, f, visitBytes)
	switch {
	case errors.Is(err, tail.ErrRewritten):
		l.truncated(s, f)
		return
	case err != nil:
		s.trouble.report(l.log, "cannot read the log file", err, "path", f.Path)
		s.nextLook = l.now + int64(time.Second)
		return
	}
	if s.trouble.err != "" {
		s.trouble.over(l.log, "log file is read again", "path", f.Path)
	}
	if !s.more {
		l.unpacked(f)
	}
	if n > 0 {
		s.lastData = l.now
	}
	s.nextLook = l.now + interval(l.now-s.lastData)
	if !s.more && s.current+1 < len(s.files) {
		// What was there when the file was replaced may have grown since: it is left only after a read that found nothing.
		s.more = n > 0 || l.turnOver(s, f)
		s.nextLook = l.now + int64(turnEvery)
	}
	if !s.more && s.current+1 == len(s.files) {
		l.leave(s, f)
	}
	l.account(s)
}

// turnOver goes on from a file that was read to its end to the one that rotation put in its place, with the same fold state. A
// half-written last line is given rotate_wait to be completed: its writer may not have noticed the rotation yet.
func (l *loop) turnOver(s *source, f *openFile) bool {
	if f.tailN > 0 && !f.unpacked && l.now-f.tailAt < int64(l.cfg.Sources.RotateWait) {
		return false
	}
	l.lastLine(s, f)
	f.passed = l.now
	s.current++
	s.eof = false
	return true
}

// read takes up to share bytes of a file to the folds and says in s whether there is more or the source is at its end. It answers
// how many bytes were taken.
func (l *loop) read(s *source, f *openFile, share int) (int, error) {
	last := f == s.files[len(s.files)-1]
	s.more, s.eof = false, false
	before := time.Now().UnixNano()
	want := share
	data, err := f.Read(l.buf[:want+tail.MarkerBytes])
	if err == nil && len(data) >= want && bytes.IndexByte(data, '\n') < 0 {
		want = len(l.buf) - tail.MarkerBytes // a long line: as much of it as the buffer holds
		data, err = f.Read(l.buf)
	}
	if err != nil {
		return 0, err
	}
	if len(data) == 0 {
		s.eof, s.eofAt = last, before
		s.drained = s.drained || last
		f.tailN = 0
		return 0, nil
	}
	l.pulse.Beat() // a turn over many files on a slow disk may be long
	now := time.Now().UnixNano()
	s.tellTime(now)
	s.drained = last && len(data) < want
	used := l.lines(s, f, data, now)
	if used < len(data) && (used == 0 && len(data) >= len(l.buf)-tail.MarkerBytes || f.long) {
		used += l.piece(s, f, data[used:], now) // the buffer is full of one line, or what follows belongs to such a line
	}
	for _, st := range s.streams {
		st.fold.Retain()
	}
	f.Advance(data[:used])
	s.bytes += int64(used)
	l.metrics.bytes += int64(used)
	if len(data) >= want {
		s.more, f.tailN = true, 0
		return used, nil
	}
	if rest := len(data) - used; rest != f.tailN || used > 0 {
		f.tailN, f.tailAt = rest, now
	}
	// A line being written is not the end, unless its writer has left it for good.
	s.eof = last && (f.tailN == 0 || now-f.tailAt > int64(halfWritten))
	s.eofAt = before
	return used, nil
}

// tellTime sets the time of plain lines. It is the time of reading, but while the file was never read to its end it goes on by no more
// than a step at a time: lines that have lain in the file must not seem to have been written apart because we paused.
func (s *source) tellTime(now int64) {
	if !s.drained && s.clock > 0 {
		now = min(now, s.clock+int64(backlogStep))
	}
	s.clock = now
}

// backlogStep is less than any wait of the fold.
const backlogStep = 5 * time.Millisecond

// halfWritten is how long a last line without newline keeps the events before it from being ended by time.
const halfWritten = time.Second

// lines gives all whole lines in data to the folds and answers how many bytes they are.
func (l *loop) lines(s *source, f *openFile, data []byte, now int64) int {
	l.scratch = l.scratch[:0]
	base := f.Offset()
	used := 0
	for {
		n := bytes.IndexByte(data[used:], '\n')
		if n < 0 {
			break
		}
		start := base + int64(used)
		line := data[used : used+n]
		used += n + 1
		end := base + int64(used)
		l.line(s, f, line, start, end, now)
		f.fed = end
		l.out.sealFull(s)
	}
	for used < len(data) && data[used] == 0 && !f.long {
		// What follows is the hole that a power loss left, perhaps gigabytes of it.
		n := len(data) - used - len(bytes.TrimLeft(data[used:], "\x00"))
		if n < longNul {
			break
		}
		used += n
		f.fed = base + int64(used)
		l.metrics.nulBytes += int64(n)
	}
	return used
}

// line gives one whole line, which lies between start and end, to the fold of its stream.
func (l *loop) line(s *source, f *openFile, line []byte, start, end, now int64) {
	pos := fold.Pos{File: f.number, Start: start, End: end}
	s.lines++
	l.metrics.lines++
	if f.long {
		f.long = false
		l.add(l.stream(s, s.rawStream()), f, &fold.Line{Text: line, Time: f.longAt, Read: now, Pos: pos})
		return
	}
	if len(line) >= longNul && line[0] == 0 {
		if t := bytes.TrimLeft(line, "\x00"); len(line)-len(t) >= longNul {
			l.metrics.nulBytes += int64(len(line) - len(t))
			if line = t; len(line) == 0 {
				return
			}
		}
	}
	if s.format == plain {
		if s.host != nil && l.elsewhere(s, line) {
			return
		}
		l.add(l.stream(s, s.rawStream()), f, &fold.Line{Text: line, Time: s.clock, Read: now, Pos: pos})
		return
	}
	rec, scratch, ok := l.decoder.JSONFile(line, l.scratch)
	if !ok {
		l.broken(s, f, line, pos, now)
		return
	}
	l.scratch = scratch
	l.record(l.stream(s, rec.Stream), f, &rec, pos, now)
}

// record gives a record to the fold of its stream.
func (l *loop) record(st *stream, f *openFile, rec *parse.Record, pos fold.Pos, now int64) {
	read := now
	if age := now - rec.Time; age > 0 && age < live && !rec.Partial && !st.partial {
		read = rec.Time
	}
	st.last, st.partial = rec.Time, rec.Partial
	l.add(st, f, &fold.Line{Text: rec.Text, Time: rec.Time, Read: read, Pos: pos, More: rec.Partial})
}

// live is how old a record may be for its own time to count as the time it was read: what the engine wrote since would have been
// found too, so that a fold need not wait for the next turn to know that nothing followed. A record older than that is
// from a backlog or has times of its own, and waits from when it was really read.
const live = int64(500 * time.Millisecond)

// broken passes on a line that is no json-file record: as text, and what follows a cut line as the record that it is.
func (l *loop) broken(s *source, f *openFile, line []byte, pos fold.Pos, now int64) {
	l.metrics.broken++
	garbage, record := parse.Salvage(line)
	if record != nil {
		rec, scratch, ok := l.decoder.JSONFile(record, l.scratch)
		if ok {
			l.scratch = scratch
			mid := pos
			mid.End = pos.Start + int64(len(garbage))
			l.text(s, f, garbage, mid, now)
			pos.Start = mid.End
			l.record(l.stream(s, rec.Stream), f, &rec, pos, now)
			return
		}
	}
	l.text(s, f, line, pos, now)
}

// text gives bytes that have no time and stream of their own to the source's first stream.
func (l *loop) text(s *source, f *openFile, text []byte, pos fold.Pos, now int64) {
	st := l.stream(s, s.rawStream())
	if st.last == 0 {
		st.last = now
	}
	l.add(st, f, &fold.Line{Text: text, Time: st.last, Read: now, Pos: pos})
}

func (s *source) rawStream() string {
	if s.format == plain {
		return ""
	}
	return "stdout"
}

// piece takes the part of a line that fills the read buffer. Its stream goes on with it until the newline comes.
func (l *loop) piece(s *source, f *openFile, b []byte, now int64) int {
	st := l.stream(s, s.rawStream())
	if !f.long {
		f.long, f.longAt = true, s.clock
		if s.format == jsonFile && st.last != 0 {
			f.longAt = st.last
		}
	}
	end := f.fed + int64(len(b))
	l.add(st, f, &fold.Line{Text: b, Time: f.longAt, Read: now, Pos: fold.Pos{File: f.number, Start: f.fed, End: end}, More: true})
	f.fed = end
	return len(b)
}

// add gives a line to a fold, unless it lies before what an earlier life left open.
func (l *loop) add(st *stream, f *openFile, line *fold.Line) {
	if f.cover != nil {
		if c := f.coverOf(st.name); c != nil && line.Pos.Start < c.From && c.covers(line.Pos) {
			return
		}
	}
	st.fold.Add(*line, st.emit)
	if rule := st.fold.RuleGivenUp(); rule != "" && !st.givenUp {
		st.givenUp = true
		l.log.Warn("rule takes too long; the stream is folded without it", "rule", rule, "tag", st.source.tag, "path", st.source.name)
	}
}

// lastLine ends a file whose last line has no newline, and none will come.
func (l *loop) lastLine(s *source, f *openFile) {
	now := time.Now().UnixNano()
	data, err := f.Read(l.buf)
	if err != nil || len(data) == 0 {
		return
	}
	s.tellTime(now)
	used := l.lines(s, f, data, now)
	if rest := data[used:]; len(rest) > 0 {
		end := f.fed + int64(len(rest))
		l.line(s, f, rest, f.fed, end, now)
		f.fed = end
	}
	for _, st := range s.streams {
		st.fold.Retain()
	}
	f.Advance(data)
	f.tailN = 0
	s.bytes += int64(len(data))
	l.metrics.bytes += int64(len(data))
	l.out.sealFull(s)
}

// emit takes an event from a fold to the builder of its source. Nothing is emitted twice because of a restart: an event whose
// lines were all emitted by an earlier life is dropped here.
func (l *loop) emit(st *stream, ev *fold.Event) {
	s := st.source
	again := true
	var f *openFile
	var cover *streamMark
	for i := range ev.Pos {
		p := &ev.Pos[i]
		if f == nil || f.number != p.File {
			if f = s.file(p.File); f == nil {
				panic(fmt.Sprintf("event of a file that was let go: %s, number %d", s.name, p.File))
			}
			cover = f.coverOf(st.name)
		}
		again = again && cover != nil && cover.covers(*p)
		if i+1 == len(ev.Pos) || ev.Pos[i+1].File != p.File {
			f.setDone(st.index, p.End) // of records that lie one behind the other
		}
	}
	if again {
		return
	}
	l.out.add(s, st, ev, l.now)
}
