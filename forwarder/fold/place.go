package fold

import "bytes"

// line is a complete line on its way to its event.
type line struct {
	text       []byte
	bare       []byte // text without colours: what is judged
	msg        []byte // bare without prefix and tags
	time, read int64
	pos        []Pos
	seq        uint64
	pre        prefix
	shape      shape
	goesOn     bool // only the first pieces of a very long line
	ours       bool // text is not in the caller's buffer
	fresh      bool // directly after a failed request, and no tag says whose line it is
}

// place finds the event for s.line and returns it; nil if it was emitted on its own.
func (s *Stream) place(emit func(*Event)) *event {
	l := &s.line
	for len(s.open) > 0 && s.expire(l.time, emit) {
	}
	for s.last != nil && len(s.last.loose) > 0 && !s.follows() {
		s.peel(s.last, emit) // what was placed anew may be held in doubt again
	}
	s.seq++
	l.seq = s.seq
	s.before = s.learned
	l.fresh = false
	switch {
	case !s.f.enabled:
		return s.single("line", emit)
	case s.rule != nil && !s.budget.over:
		return s.placeByRule(emit)
	}
	if s.look() {
		return s.head(emit)
	}
	return s.body(emit)
}

// body places a line without a prefix that the stream is known for.
func (s *Stream) body(emit func(*Event)) *event {
	l := &s.line
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
	if lang, state := s.opens(false); lang != nil {
		return s.open1(lang, state, emit)
	}
	return s.single("line", emit)
}

// look finds the prefix of s.line, or where there is none that begins events here, its message and shape.
func (s *Stream) look() (head bool) {
	l := &s.line
	l.bare = l.text
	if i := bytes.IndexByte(l.text[:min(len(l.text), maxUncoloured)], 0x1b); i >= 0 {
		l.bare = s.f.withoutColours(l.text, i)
	}
	l.pre = parsePrefix(l.bare, s.learned.strong)
	if l.pre.kind == strong || l.pre.kind == weak && s.learned.knows(l.pre.sig) {
		return true
	}
	l.msg = l.bare
	if len(l.bare) > 0 && l.bare[0] == '[' {
		l.msg = l.bare[tags(l.bare):]
	}
	l.shape = shapeOf(l.msg)
	return false
}

// open1 opens an event of which only the shape of its lines tells what belongs to it.
func (s *Stream) open1(lang *language, state uint8, emit func(*Event)) *event {
	e := s.start(emit)
	e.lang = lang
	s.enter(e, state)
	if e.holds = lang.traits[state].head && (lang != ruby || names(s.line.msg)); e.holds {
		e.wait = max(e.wait, s.f.limits[later])
	}
	s.append(e, emit)
	return e
}

// takes says whether s.line, without prefix and directly after e, belongs to it, and brings e into the state after it.
func (s *Stream) takes(e *event) bool {
	l := &s.line
	gap := l.time - e.lastTime
	if e.mode == byRule || e.mode == single {
		return false
	}
	switch lang, state, loose := s.next(e); {
	case loose:
		e.loosely = true
		if state != 0 {
			s.enter(e, state)
		}
		return true
	case lang != nil:
		s.direct(e)
		e.lang = lang
		s.enter(e, state)
		e.holds = e.mode == byShape && lang.traits[state].head
		return true
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
	if gap >= shortWait || !s.learned.prefixes() || isAccess(l.msg) || gap >= s.f.apart && (l.shape == shapeEmpty || l.pre.kind == weak || isStructured(l.msg)) {
		return false
	}
	if lang, state := s.opens(false); lang != nil {
		t := &lang.traits[state]
		if t.own || gap >= s.f.apart && (t.apart || t.head && (lang != ruby || names(l.msg))) {
			return false
		}
	}
	s.direct(e)
	if e.rule == "line" {
		e.rule = "prefix-continuation"
	}
	return true
}

// next says what s.line, without prefix and directly after e, is to e's report: part of it, which brings it into a state of a language;
// or loosely, what may be a part of it, as the lines to come will tell.
func (s *Stream) next(e *event) (lang *language, state uint8, loose bool) {
	l := &s.line
	gap := l.time - e.lastTime
	var t *traits
	if e.state != 0 {
		t = &e.lang.traits[e.state]
		if state, lim := e.lang.takes(e.state, l); lim != never && gap < s.f.limits[lim] && (len(e.loose) == 0 || !e.lang.traits[state].tight) {
			if !e.lang.traits[state].loose {
				return e.lang, state, false
			}
			if e.mode == byShape && s.holdable(e) {
				return nil, state, true
			}
		}
	}
	if (e.state == 0 || t.head) && (l.shape > shapeBlank || l.shape == shapeOther && joining[l.msg[0]]) {
		for _, lang := range s.f.langs {
			if lang.joins == nil || e.mode == byShape && lang == python {
				continue // a traceback begins an event where no prefix says whose it is
			}
			if state := lang.joins(l); state != 0 && gap < s.f.limits[waits] {
				return lang, state, false
			}
		}
	}
	if t != nil && t.blank && gap < shortWait {
		for _, lang := range s.f.langs {
			if lang.afterBlank == nil {
				continue
			}
			if state := lang.afterBlank(l); state != 0 {
				return lang, state, false
			}
		}
	}
	if e.holds && gap < shortWait && e.mode == byShape && s.holdable(e) && !s.breaks() {
		return nil, 0, true
	}
	return nil, 0, false
}

// joining are the bytes that begin what a language joins and shapeOf does not know.
var joining = func() (t [256]bool) {
	for _, c := range []byte("TSsgN-W") {
		t[c] = true
	}
	return t
}()

// direct notes that a line without prefix follows: if it is the second line of a report, the report is one call.
func (s *Stream) direct(e *event) {
	if e.calls && !e.more {
		e.calls = false
	}
}

// enter brings e into a state of its language.
func (s *Stream) enter(e *event, state uint8) {
	t := &e.lang.traits[state]
	if e.taken && !t.head && !t.loose && !t.blank && e.lang != plain {
		s.learned.lang = e.lang.row
	}
	e.state = state
	e.rule = t.rule
	if w := s.f.limits[t.wait]; e.mode == byShape || w > e.wait {
		e.wait = w
	}
}
