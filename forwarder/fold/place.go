package fold

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

// enter brings e into a state of its language.
func (s *Stream) enter(e *event, state uint8) {
	t := &e.lang.traits[state]
	e.state = state
	e.rule = t.rule
	if w := s.f.ns(t.wait); e.mode == byShape || w > e.wait {
		e.wait = w
	}
}
