package fold

// A report of several calls: each has a prefix, which says of whom it is, and lines of others may come between.

// head places a line with a prefix: it begins an event, or is the next call of a report of several calls.
func (s *Stream) head(emit func(*Event)) *event {
	l := &s.line
	s.learned.see(&l.pre)
	tagEnd := int(l.pre.tag)
	if tagEnd < len(l.bare) && l.bare[tagEnd] == '[' {
		tagEnd += tags(l.bare[tagEnd:])
	}
	l.msg = l.bare[tagEnd:]
	l.shape = shapeOf(l.msg)
	named := tagEnd > int(l.pre.msg) || l.pre.tid[1] > 0
	l.fresh = s.before.failed && !named
	s.learned.failed = l.shape == shapeRequest && failed(l.msg)
	var key uint64
	if len(s.open) > 0 {
		if s.anyCalls() {
			key = l.pre.origin(l.bare, tagEnd)
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
	lang, state := s.opens(s.learned.prefixes())
	mode := byPrefix
	if !s.learned.prefixes() { // an odd line: what follows may be anything
		if lang == nil {
			return s.single("line", emit)
		}
		mode = byShape
	}
	e := s.start(emit)
	e.mode, e.sev, e.rule = mode, l.pre.sev, "line"
	e.wait = shortWait
	if lang != nil {
		e.lang = lang
		s.enter(e, state)
		e.holds = mode == byShape && lang.traits[state].head && (lang != ruby || names(l.msg))
		if lang.traits[state].series {
			if key == 0 {
				key = l.pre.origin(l.bare, tagEnd)
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
