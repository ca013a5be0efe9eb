package fold

// Events go out in the order of their last lines. An event that is complete while one with an earlier last line is still open
// waits for it: that one may get another line, or not.

// start opens an event for s.line.
func (s *Stream) start(emit func(*Event)) *event {
	for len(s.open) >= maxOpen {
		s.end(s.oldest())
		s.release(emit)
	}
	e := s.spare
	if e == nil {
		e = s.f.get()
	}
	s.spare = nil
	e.time = s.line.time
	e.wait = s.f.wait
	e.born, e.bornGhosts = s.before, s.ghosts(e.bornGhosts[:0])
	s.open = append(s.open, e)
	return e
}

// append adds s.line to e, which it makes the last one, and cuts e before if it would become too large.
func (s *Stream) append(e *event, emit func(*Event)) {
	l := &s.line
	if e.size > 0 && !e.cut && !e.loosely && (e.size+len(l.text) > s.f.maxBytes || len(e.lines) >= maxLines) {
		s.cut(e, len(e.lines), emit)
		e.born, e.bornGhosts = s.before, s.ghosts(e.bornGhosts[:0])
	}
	size := e.size
	e.add(l)
	if e.loosely {
		e.loosely = false
		e.loose = append(e.loose, stamp{l.time, l.read})
	} else {
		e.loose = e.loose[:0]
	}
	s.size += e.size - size
	if s.Trace != nil {
		s.Trace(l.pos, e.rule)
	}
	s.last = e
	if e.mode == byShape && e.state != 0 && !l.goesOn && e.lang.traits[e.state].done {
		s.end(e)
		s.release(emit)
	}
}

// single places s.line as an event of its own.
func (s *Stream) single(rule string, emit func(*Event)) *event {
	l := &s.line
	if len(s.open) > 0 || l.goesOn {
		e := s.start(emit)
		e.mode, e.rule = single, rule
		s.append(e, emit)
		s.last = nil
		if !l.goesOn {
			s.end(e)
			s.release(emit)
		}
		return e
	}
	if s.Trace != nil {
		s.Trace(l.pos, rule)
	}
	s.text[0] = l.text
	s.out = Event{Time: l.time, Lines: s.text[:], Pos: l.pos, Rule: rule}
	emit(&s.out)
	s.out, s.text[0] = Event{}, nil
	return nil
}

// end says that nothing can follow in e.
func (s *Stream) end(e *event) {
	e.ended = true
	if s.last == e {
		s.last = nil
	}
	if s.piece.of == e {
		s.piece.of = nil
	}
}

// release emits the complete events whose turn has come.
func (s *Stream) release(emit func(*Event)) {
	for len(s.open) > 0 {
		e := s.oldest()
		if !e.ended {
			return
		}
		s.give(e, emit)
	}
}

// oldest is the open event whose last line came first.
func (s *Stream) oldest() *event {
	o := s.open[0]
	for _, e := range s.open[1:] {
		if e.lastSeq < o.lastSeq {
			o = e
		}
	}
	return o
}

// give emits e, or its last piece, and forgets it.
func (s *Stream) give(e *event, emit func(*Event)) {
	for i, o := range s.open {
		if o == e {
			last := len(s.open) - 1
			if i < last {
				copy(s.open[i:], s.open[i+1:])
			}
			s.open[last] = nil
			s.open = s.open[:last]
			break
		}
	}
	if len(e.lines) > 0 { // a replay may know of an event whose lines all went out before
		s.out = Event{Time: e.time, Lines: e.lines, Pos: e.pos, Language: e.language(), Rule: e.rule}
		if len(e.lines) == 1 && e.part == 0 {
			s.out.Rule = "line"
		}
		if e.part > 0 {
			s.out.Part, s.out.PartLast = int(e.part)+1, true
		}
		emit(&s.out)
		s.out.Lines, s.out.Pos = nil, nil
	}
	s.size -= e.size - e.gone
	e.reset()
	if s.spare == nil {
		s.spare = e
	} else {
		s.f.put(e)
	}
}

// cut emits the first n lines of e, which goes on: all of them, or all but the last.
func (s *Stream) cut(e *event, n int, emit func(*Event)) {
	e.part++
	records := len(e.pos)
	if n < len(e.lines) {
		records -= e.lastRecords
	}
	if n > 0 { // a replay may know of an event whose lines all went out before
		lines := e.lines[:n]
		if !e.cut || n < len(e.lines) {
			lines = append(append(make([][]byte, 0, n+1), lines...), nil) // for the newline before the next line
		}
		s.out = Event{Time: e.time, Lines: lines, Pos: e.pos[:records], Part: int(e.part), Language: e.language(), Rule: e.rule}
		emit(&s.out)
		s.out = Event{}
	}
	s.size -= e.size - e.gone
	e.drop(n, records)
	s.size += e.size
}

// expire ends the events that waited long enough, by the lines' own times. It answers whether lines were placed anew by that, which may
// have waited long enough as well.
func (s *Stream) expire(now int64, emit func(*Event)) (again bool) {
	some := false
	var loose *event
	for _, e := range s.open {
		if !e.ended && e != s.piece.of && now-e.lastTime >= e.wait {
			if len(e.loose) > 0 {
				loose = e
				continue
			}
			s.end(e)
			some = true
		}
	}
	if loose != nil {
		s.peel(loose, emit)
	} else if some {
		s.release(emit)
	}
	return loose != nil
}
