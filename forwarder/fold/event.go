package fold

import "time"

const (
	// shortWait is how long an ordinary line waits for its successor. The lines of one write lie at most a tenth of a
	// millisecond apart in Docker's files; the rest is for an engine that was not scheduled in between.
	shortWait = int64(10 * time.Millisecond)
	// processWait parts the cause that a dying process still writes from the crash of its successor: the engine restarts a
	// container after 100 ms at the earliest.
	processWait = int64(100 * time.Millisecond)
	// apart is more than lies between two lines of one write, unless the engine was not scheduled, which a line that looks like the
	// begin of something makes unlikely.
	apart = int64(500 * time.Microsecond)

	// maxOpen is how many events of a stream may pend, because a source's mark names each of their records.
	maxOpen = 64
	// maxLines is how many lines one piece of an event may have: each costs 48 bytes of bookkeeping beside its text.
	maxLines = 1 << 16
	// maxIdleBytes and maxIdleLines are what an event that is put back for reuse may keep.
	maxIdleBytes = 64 << 10
	maxIdleLines = 1 << 10
)

// event is an open event: its lines so far and what is known of it. The stream owns it; between uses it lies in the
// Folder's pool.
type event struct {
	lines [][]byte
	pos   []Pos
	own   []byte // where Retain copies the texts to; those of lines[owned:] are still the caller's
	owned int

	lastRead int64
	firstSeq uint64 // number in the stream of the first line that pends
	lastSeq  uint64 // and of the last line: events go out in this order
	rule     string
	ended    bool // complete, and only waits for its turn

	lastRecords int // records of the last line

	// loose are the times of the last lines, those that may belong to the event, or not: the next lines tell (loose.go).
	loose   []stamp
	loosely bool // the line about to be added is one

	gone int // bytes of size that are not here: a life before had them

	judgement

	// born is what the stream had learned, and of which other events the next lines could have been, before firstSeq.
	born       learned
	bornGhosts []byte
}

// judgement is all that decides which lines the event takes. It can be written down without the lines (memory.go).
type judgement struct {
	lang     *language
	state    uint8
	mode     mode
	sev      byte
	calls    bool   // a report of several calls, as far as is known
	named    bool   // key names a request or thread, not only a process
	holds    bool   // what follows in the same write may be lines of the message: they are held until frames come, or do not
	taken    bool   // it has a line
	more     bool   // it has more than one
	cut      bool   // the last one goes on: the next piece is no new line
	part     uint32 // pieces given out
	time     int64  // of the first line
	key      uint64 // origin: process, thread, tags
	size     int    // bytes of text that pend
	wait     int64  // after which silence it ends
	lastTime int64  // of the last line
}

// mode says how a line without prefix is judged that comes directly after the event.
type mode uint8

const (
	byShape  mode = iota // only what its language takes
	byPrefix             // everything, unless time parts them
	byRule               // a user's rule
	single               // nothing
)

// add appends a line. The caller has made room by cutting.
func (e *event) add(l *line) {
	if len(e.lines) == 0 {
		e.firstSeq = l.seq
	}
	if l.ours && e.owned == len(e.lines) {
		e.owned++
	}
	e.lines = append(e.lines, l.text)
	if len(l.pos) == 1 {
		e.pos = append(e.pos, l.pos[0])
	} else {
		e.pos = append(e.pos, l.pos...)
	}
	e.lastRecords = len(l.pos)
	e.size += len(l.text) + 1
	e.lastTime, e.lastRead, e.lastSeq = l.time, l.read, l.seq
	e.more = e.taken
	e.taken, e.cut = true, l.goesOn
}

// drop forgets the first n lines with their records, after they were given out: all of them, or all but the last.
func (e *event) drop(n, records int) {
	if n == len(e.lines) {
		e.clear()
		return
	}
	// Its bytes lie where the next retain would write.
	text := append([]byte(nil), e.lines[n]...)
	pos := append([]Pos(nil), e.pos[records:]...)
	e.clear()
	e.lines, e.pos = append(e.lines, text), append(e.pos, pos...)
	e.owned, e.size = 1, len(text)+1
	e.firstSeq = e.lastSeq
}

// language is the name of what joined the lines.
func (e *event) language() string {
	if e.lang == nil || len(e.pos) <= 1 && e.part == 0 {
		return ""
	}
	return e.lang.name
}

// retain copies the lines that still lie in the caller's buffer into the event's own. Where that has no room left, a larger one
// takes its place; the lines before stay in the old one.
func (e *event) retain() {
	if e.owned == len(e.lines) {
		return
	}
	need := 0
	for _, t := range e.lines[e.owned:] {
		need += len(t)
	}
	if cap(e.own)-len(e.own) < need {
		e.own = make([]byte, 0, max(2*cap(e.own), need, 512))
	}
	for i := e.owned; i < len(e.lines); i++ {
		off := len(e.own)
		e.own = append(e.own, e.lines[i]...)
		e.lines[i] = e.own[off:len(e.own):len(e.own)]
	}
	e.owned = len(e.lines)
}

// clear forgets the lines, after they were given out.
func (e *event) clear() {
	clear(e.lines) // no pointer into the caller's buffer stays behind
	e.lines, e.pos, e.own = e.lines[:0], e.pos[:0], e.own[:0]
	e.owned, e.size, e.gone = 0, 0, 0
	e.loose = e.loose[:0]
}

// reset makes the event fit for reuse and lets go of large buffers.
func (e *event) reset() {
	e.clear()
	if cap(e.lines) > maxIdleLines {
		e.lines = nil
	}
	if cap(e.pos) > maxIdleLines {
		e.pos = nil
	}
	if cap(e.own) > maxIdleBytes {
		e.own = nil
	}
	if e.bornGhosts != nil {
		e.bornGhosts = e.bornGhosts[:0]
	}
	e.judgement, e.ended = judgement{}, false
}
