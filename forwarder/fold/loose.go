package fold

import "slices"

// Some lines belong to a report only if certain others follow: the further lines of a message, which look like anything, if frames
// come; an empty line, if a heading comes after it. They are added to the event loosely. What follows either makes them firm or
// parts them from the event again: then they are placed anew, as if the event had ended before them. While an event has
// loose lines it is the last one of its stream: any line that is not its own settles it first.

// stamp is what placing a line anew needs beside its text and position.
type stamp struct{ time, read int64 }

// maxLoose is how many lines are held in doubt.
const maxLoose = 100

// holdable says whether s.line may be added to e loosely.
func (s *Stream) holdable(e *event) bool {
	l := &s.line
	return !l.goesOn && len(l.pos) == 1 && len(e.loose) < maxLoose && !e.cut && e.gone == 0 && e.size+len(l.text) < s.f.maxBytes && len(e.lines) < maxLines
}

// breaks says that s.line surely begins something, so that it is no line of a message.
func (s *Stream) breaks() bool {
	if s.line.shape == shapeRequest || isAccess(s.line.msg) {
		return true
	}
	lang, state := s.opens(false)
	if lang == nil {
		return false
	}
	t := &lang.traits[state]
	return t.own || t.apart || lang == python && (state == pythonFrames || state == pythonGroup) || t.head && (lang != ruby || names(s.line.msg))
}

// follows says that s.line belongs to the last event, loosely or not.
func (s *Stream) follows() bool {
	if s.look() || s.last.mode != byShape || s.line.shape == shapeRequest {
		return false
	}
	lang, _, loose := s.next(s.last)
	return loose || lang != nil
}

// peel ends e before its loose lines and places them anew. s.line is not touched, so it can be called while that is being placed.
func (s *Stream) peel(e *event, emit func(*Event)) {
	saved := s.line
	k, n := len(e.loose), len(e.lines)-len(e.loose)
	stamps := slices.Clone(e.loose)
	pos := slices.Clone(e.pos[len(e.pos)-k:])
	lines := slices.Clone(e.lines[n:])
	mine := max(0, min(e.owned-n, k)) // of the lines whose text lies in e's buffer
	for i := range mine {
		lines[i] = slices.Clone(lines[i])
	}
	size := e.size
	for i := range lines {
		e.size -= len(lines[i]) + 1
		e.lines[n+i] = nil
	}
	s.size += e.size - size
	e.lines, e.pos, e.loose = e.lines[:n], e.pos[:len(e.pos)-k], e.loose[:0]
	e.owned = min(e.owned, n)
	e.lastSeq -= uint64(k)
	s.end(e)
	s.release(emit)
	for i, text := range lines {
		s.line = line{text: text, pos: pos[i : i+1], time: stamps[i].time, read: stamps[i].read, ours: i < mine}
		s.place(emit)
	}
	s.line = saved
}
