package fold

import (
	"slices"
	"time"
)

const (
	// dockerPiece is where Docker cuts a line. A record without newline that is shorter was the last of a closed stream.
	dockerPiece = 16384
	// pieceWait is how long a longer one waits at the end of the input. Docker holds the rest of a line back until its newline
	// or the next 16 KiB come, however late; the record's time is that of the first piece, so it does not tell.
	pieceWait = int64(5 * time.Second)
)

// piece is a line whose newline has not come yet. Its text is the stream's own.
type piece struct {
	text []byte
	pos  []Pos
	time int64
	read int64
	last int    // where the last record begins in text
	of   *event // the event that has the line's beginning, if that was over the bound
}

func (p *piece) open() bool { return len(p.pos) > 0 }

func (p *piece) wait() int64 {
	if len(p.text) < dockerPiece && p.of == nil {
		return shortWait
	}
	return pieceWait
}

// join takes a record that is a piece of a line: any but the last, or one with the time of the piece before.
func (s *Stream) join(l *Line, emit func(*Event)) {
	p := &s.piece
	if p.open() && p.time != l.Time {
		s.complete(emit)
	}
	if !p.open() {
		p.time = l.Time
		if p.of != nil && p.of.lastTime != l.Time { // restored, and the rest never came
			s.leave(emit)
		}
	}
	p.last = len(p.text)
	if free := cap(p.text) - len(p.text); free < len(l.Text) {
		p.text = slices.Grow(p.text, max(len(p.text), len(l.Text))) // doubling: a line may have a hundred pieces
	}
	p.text = append(p.text, l.Text...)
	p.pos = append(p.pos, l.Pos)
	p.read = l.Read
	switch {
	case !l.More:
		s.complete(emit)
	case len(p.text) > s.f.maxBytes && len(p.pos) > 1:
		s.spill(emit)
	}
}

// complete places the line that pends, as it is.
func (s *Stream) complete(emit func(*Event)) {
	p := &s.piece
	if !p.open() {
		if p.of != nil {
			s.leave(emit)
		}
		return
	}
	s.line = line{text: p.text, time: p.time, read: p.read, pos: p.pos, ours: true}
	e := p.of
	p.text = nil // the event's from now on
	if e == nil {
		s.place(emit)
	} else {
		s.more(e, emit)
		s.leave(emit)
	}
	p.pos, p.last = p.pos[:0], 0
}

// spill gives out all but the last record of a line that is over the bound, as a part of the event that the line belongs to.
func (s *Stream) spill(emit func(*Event)) {
	p := &s.piece
	n := len(p.pos) - 1
	rest := append([]byte(nil), p.text[p.last:]...)
	s.line = line{text: p.text[:p.last], time: p.time, read: p.read, pos: p.pos[:n], goesOn: true, ours: true}
	e := p.of
	if e == nil {
		e = s.place(emit)
	} else {
		s.more(e, emit)
	}
	s.cut(e, len(e.lines), emit)
	p.of = e
	s.reborn(e)
	p.text, p.last = rest, 0
	p.pos = append(p.pos[:0], p.pos[n])
}

// more adds s.line to e, which has the beginning of the line.
func (s *Stream) more(e *event, emit func(*Event)) {
	s.seq++
	s.line.seq = s.seq
	s.append(e, emit)
}

// leave parts a line that is now complete from its event.
func (s *Stream) leave(emit func(*Event)) {
	e := s.piece.of
	s.piece.of = nil
	e.cut = false
	if e.mode == single {
		s.end(e)
		s.release(emit)
	}
}

// reborn notes what is known now, because e's lines up to now were given out: a restart begins after them.
func (s *Stream) reborn(e *event) {
	e.born, e.bornGhosts = s.learned, s.ghosts(e.bornGhosts[:0])
}
