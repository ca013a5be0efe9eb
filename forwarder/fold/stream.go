package fold

import (
	"cmp"
	"slices"
)

// Stream is the state of one source stream. One goroutine owns it.
type Stream struct {
	// Trace, if set, is told which rule placed each line: the positions of its records (valid during the call) and the rule.
	Trace func(pos []Pos, rule string)

	f    *Folder
	rule *userRule

	open  []*event // events that pend, in the order they began
	last  *event   // the one that took the line before, nil if it cannot go on
	piece piece    // a line that is not complete
	size  int      // bytes of text in open

	learned learned
	seq     uint64

	line   line // the line being placed
	before learned
	one    [1]Pos
	text   [1][]byte
	out    Event
	spare  *event
}

// line is a complete line on its way to its event.
type line struct {
	text, msg  []byte // msg: without prefix and tags
	time, read int64
	pos        []Pos
	seq        uint64
	pre        prefix
	shape      shape
	goesOn     bool // only the first pieces of a very long line
	ours       bool // text is not in the caller's buffer
	fresh      bool // directly after a failed request, and no tag says whose line it is
}

// Add takes the next record. Events that it ends are emitted, and its own if nothing can follow.
func (s *Stream) Add(l Line, emit func(*Event)) {
	if s.piece.time == l.Time && s.piece.open() || l.More {
		s.join(&l, emit)
		return
	}
	s.complete(emit)
	s.one[0] = l.Pos
	s.line.text, s.line.pos = l.Text, s.one[:]
	s.line.time, s.line.read = l.Time, l.Read
	s.line.goesOn, s.line.ours = false, false
	s.place(emit)
}

// Tick tells the time at the end of the input: what waited long enough since it was read goes out. The caller promises that no
// record with an earlier time than now will follow.
func (s *Stream) Tick(now int64, emit func(*Event)) {
	if s.piece.open() && now-s.piece.read >= s.piece.wait() {
		s.complete(emit)
	}
	some := false
	for _, e := range s.open {
		if !e.ended && e != s.piece.of && now-e.lastRead >= e.wait {
			s.end(e)
			some = true
		}
	}
	if some {
		s.release(emit)
	}
}

// Deadline is the earliest time at which Tick would end something; 0 if nothing pends.
func (s *Stream) Deadline() int64 {
	first := int64(0)
	if s.piece.open() {
		first = s.piece.read + s.piece.wait()
	}
	for _, e := range s.open {
		if e.ended || e == s.piece.of {
			continue
		}
		if d := e.lastRead + e.wait; first == 0 || d < first {
			first = d
		}
	}
	return first
}

// Flush ends everything: the source is finished.
func (s *Stream) Flush(emit func(*Event)) {
	s.complete(emit)
	for _, e := range s.open {
		s.end(e)
	}
	s.release(emit)
}

// Pending is how many bytes of text pend.
func (s *Stream) Pending() int { return s.size + len(s.piece.text) }

// Open appends the positions of all records that pend, ascending.
func (s *Stream) Open(dst []Pos) []Pos {
	n := len(dst)
	for _, e := range s.open {
		dst = append(dst, e.pos...)
	}
	dst = append(dst, s.piece.pos...)
	slices.SortFunc(dst[n:], func(a, b Pos) int {
		if a.File != b.File {
			return cmp.Compare(a.File, b.File)
		}
		return cmp.Compare(a.Start, b.Start)
	})
	return dst
}

// Retain copies what pends out of the caller's buffer, which may then be used again.
func (s *Stream) Retain() {
	for _, e := range s.open {
		e.retain()
	}
	s.line = line{}
	if len(s.open) == 0 && s.spare != nil {
		s.f.events.Put(s.spare)
		s.spare = nil
	}
}

// Force makes room: the largest open event goes out. If it has several lines, all but the last one go out as a part, and it goes
// on; a single line is ended. Where nothing but one large piece of a line pends, that goes out as a line; a small one stays.
func (s *Stream) Force(emit func(*Event)) {
	var largest *event
	for _, e := range s.open {
		if len(e.lines) > 0 && e != s.piece.of && (largest == nil || e.size > largest.size) {
			largest = e
		}
	}
	switch {
	case len(s.piece.pos) > 1 && (largest == nil || len(s.piece.text) > largest.size):
		s.spill(emit)
	case largest == nil:
		if len(s.piece.text) > maxIdleBytes {
			s.Flush(emit)
		}
	case largest.ended || len(largest.lines) == 1:
		s.end(largest)
		s.give(largest, emit)
		s.release(emit)
	default:
		s.cut(largest, len(largest.lines)-1, emit)
		s.reborn(largest)
	}
}

// place finds the event for s.line and returns it; nil if it was emitted on its own.
func (s *Stream) place(emit func(*Event)) *event {
	l := &s.line
	s.seq++
	l.seq = s.seq
	if len(s.open) > 0 {
		s.expire(l.time, emit)
	}
	s.before = s.learned
	l.fresh = false
	switch {
	case !s.f.enabled:
		return s.single("line", emit)
	case s.rule != nil:
		return s.placeByRule(emit)
	}
	l.pre = parsePrefix(l.text, s.learned.strong)
	if l.pre.kind == strong || l.pre.kind == weak && s.learned.knows(l.pre.sig) {
		return s.head(emit)
	}
	return s.body(emit)
}

// body places a line without a prefix that the stream is known for.
func (s *Stream) body(emit func(*Event)) *event {
	l := &s.line
	l.msg = l.text[tags(l.text):]
	l.shape = shapeOf(l.msg)
	s.learned.failed = l.shape == shapeRequest && failed(l.msg)
	contrary := l.shape == shapeRequest && s.learned.prefixes()
	if contrary {
		s.learned.contrary()
	}
	if e := s.last; e != nil {
		if (!contrary || s.learned.prefixes()) && s.takes(e) {
			s.append(e, emit)
			return e
		}
		s.last = nil
		if !e.calls || !s.awaits(e) {
			s.end(e)
			s.release(emit)
		}
	}
	if l.pre.kind == weak && l.pre.sig != jobTag {
		return s.head(emit)
	}
	if !contrary {
		s.learned.alone()
	}
	if lang, state := s.opens(); lang != nil {
		e := s.start(emit)
		e.lang = lang
		s.enter(e, state)
		s.append(e, emit)
		return e
	}
	return s.single("line", emit)
}

// takes says whether s.line, without prefix and directly after e, belongs to it, and brings e into the state after it.
func (s *Stream) takes(e *event) bool {
	l := &s.line
	gap := l.time - e.lastTime
	switch e.mode {
	case byRule, single:
		return false
	case byShape, byPrefix:
		if e.state != 0 {
			if state, lim := e.lang.takes(e.state, l); lim != never && gap < s.f.ns(lim) {
				s.direct(e)
				s.enter(e, state)
				return true
			}
		}
	}
	if e.mode == byShape {
		return false
	}
	// A stream that prefixes its lines: a line without prefix continues the message. What looks like part of a trace may come
	// late, anything else only with the same write.
	if indented(l) || l.shape == shapeFrame || l.shape == shapeCrash {
		s.direct(e)
		e.wait = s.f.wait
		e.rule = "prefix-continuation"
		return true
	}
	if gap >= shortWait || !s.learned.prefixes() {
		return false
	}
	if lang, state := s.opens(); lang != nil && lang.traits[state].own {
		return false
	}
	s.direct(e)
	if e.rule == "line" {
		e.rule = "prefix-continuation"
	}
	return true
}

// opens asks the languages what s.line begins.
func (s *Stream) opens() (*language, uint8) {
	for _, lang := range s.f.langs {
		if state := lang.opens(&s.line); state != 0 {
			return lang, state
		}
	}
	return nil, 0
}

// direct notes that a line without prefix follows: if it is the second line of a report, the report is one call.
func (s *Stream) direct(e *event) {
	if e.calls && !e.more {
		e.calls = false
	}
}

// head places a line with a prefix: it begins an event, or is the next call of a report of several calls.
func (s *Stream) head(emit func(*Event)) *event {
	l := &s.line
	s.learned.see(&l.pre)
	tagEnd := int(l.pre.tag)
	tagEnd += tags(l.text[tagEnd:])
	l.msg = l.text[tagEnd:]
	l.shape = shapeOf(l.msg)
	named := tagEnd > int(l.pre.msg) || l.pre.tid[1] > 0
	l.fresh = s.before.failed && !named
	s.learned.failed = l.shape == shapeRequest && failed(l.msg)
	var key uint64
	if len(s.open) > 0 {
		if s.anyCalls() {
			key = l.pre.origin(l.text, tagEnd)
			if e := s.report(key); e != nil {
				s.endOthers(e)
				s.append(e, emit)
				s.release(emit)
				return e
			}
		}
		for _, e := range s.open {
			if !e.ended && (!e.calls || !s.awaits(e) || e.named && e.key == key) {
				s.end(e)
			}
		}
		s.release(emit)
	}
	e := s.start(emit)
	e.mode, e.rule = byPrefix, "line"
	if !s.learned.prefixes() {
		e.mode = byShape // an odd line: what follows may be anything
	}
	e.sev = l.pre.sev
	e.wait = shortWait
	if lang, state := s.opens(); lang != nil {
		e.lang = lang
		s.enter(e, state)
		if lang.traits[state].series {
			if key == 0 {
				key = l.pre.origin(l.text, tagEnd)
			}
			e.calls, e.named, e.key = true, named, key
		}
	}
	if e.sev == 'F' {
		e.wait = s.f.wait
	}
	s.append(e, emit)
	return e
}

// report finds the open report whose next call s.line is: of the same origin and severity, and in a state that expects it; if
// several are, the one that was written to last. It brings the report into the state after the call.
func (s *Stream) report(key uint64) *event {
	l := &s.line
	var found *event
	var state uint8
	for _, e := range s.open {
		if e.ended || !e.calls || e.key != key || e.sev != l.pre.sev || found != nil && e.lastSeq < found.lastSeq {
			continue
		}
		if e != s.last && !s.awaits(e) {
			continue
		}
		if next, ok := e.lang.calls(e.state, l); ok {
			found, state = e, next
		}
	}
	if found == nil {
		return nil
	}
	if found.state == state && state == railsFrames && found.lang == ruby && l.pre.kind == strong {
		s.learned.byLine = true // frame after frame, each with its prefix
	}
	s.enter(found, state)
	return found
}

// awaits says that e, a report of several calls, is not complete, so that lines of others may come between.
func (s *Stream) awaits(e *event) bool {
	return e.lang.traits[e.state].awaits || s.learned.byLine && e.state == railsFrames && e.lang == ruby
}

func (s *Stream) anyCalls() bool {
	for _, e := range s.open {
		if e.calls && !e.ended {
			return true
		}
	}
	return false
}

// endOthers ends what only waited for lines without prefix.
func (s *Stream) endOthers(but *event) {
	for _, e := range s.open {
		if e != but && !e.ended && (!e.calls || !s.awaits(e)) {
			s.end(e)
		}
	}
}

// enter brings e into a state of its language.
func (s *Stream) enter(e *event, state uint8) {
	t := &e.lang.traits[state]
	e.state = state
	e.rule = t.rule
	if w := s.f.ns(t.wait); e.mode == byShape || w > e.wait {
		e.wait = w
	}
}
