package fold

import (
	"cmp"
	"slices"
)

// Stream is the state of one source stream. One goroutine owns it.
type Stream struct {
	// Trace, if set, is told which rule placed each line: the positions of its records (valid during the call) and the rule.
	Trace func(pos []Pos, rule string)

	f      *Folder
	rule   *userRule
	budget budget

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

// Add takes the next record. Events that it ends are emitted, and its own if nothing can follow.
func (s *Stream) Add(l Line, emit func(*Event)) {
	if l.More || s.piece.open() || s.piece.of != nil {
		if l.More || s.piece.open() && s.piece.time == l.Time {
			s.join(&l, emit)
			return
		}
		s.complete(emit)
	}
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
	for s.tick(now, emit) {
	}
}

// tick is expire by the times of reading.
func (s *Stream) tick(now int64, emit func(*Event)) (again bool) {
	some := false
	var loose *event
	for _, e := range s.open {
		if !e.ended && e != s.piece.of && now-e.lastRead >= e.wait {
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
	for s.last != nil && len(s.last.loose) > 0 {
		s.peel(s.last, emit)
	}
	for _, e := range s.open {
		s.end(e)
	}
	s.release(emit)
}

// Language is the language whose reports were found in the stream last; "" before the first.
func (s *Stream) Language() string {
	if s.learned.lang == 0 {
		return ""
	}
	return languages[s.learned.lang-1].name
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
		s.f.put(s.spare)
		s.spare = nil
	}
}

// Force makes room: the largest open event goes out. If it has several lines, all but the last one go out as a part, and it goes
// on; a single line is ended. Where nothing but one large piece of a line pends, that goes out as a line; a small one stays.
func (s *Stream) Force(emit func(*Event)) {
	if s.last != nil && len(s.last.loose) > 0 {
		s.peel(s.last, emit)
	}
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
