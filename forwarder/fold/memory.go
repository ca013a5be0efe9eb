package fold

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// A restart reads again from the first record that pends. Memory is what the stream had learned before that record, and, if other
// events were open then, what decided which of the following lines were theirs: without it those lines would go elsewhere.
//
//	1  version
//	1  score
//	4  layouts
//	1  flags of learned
//	n  ghosts of 47 bytes each, in the order of their last lines
const (
	memoryVersion = 1
	memoryBytes   = 7
	ghostBytes    = 47
)

const (
	flagCalls = 1 << iota
	flagNamed
	flagTaken
	flagMore
	flagCut
	flagLast
	flagHolds
)

// Memory is what the stream has learned, to be saved with the mark that names Open's positions. It is nil for a stream that has
// learned nothing.
func (s *Stream) Memory() []byte {
	var first *event
	for _, e := range s.open {
		if len(e.lines) > 0 && (first == nil || e.firstSeq < first.firstSeq) {
			first = e
		}
	}
	var k learned
	var ghosts []byte
	if first != nil {
		k, ghosts = first.born, first.bornGhosts
	} else {
		k, ghosts = s.learned, s.ghosts(nil)
	}
	if k == (learned{}) && len(ghosts) == 0 {
		return nil
	}
	b := append([]byte{memoryVersion, byte(k.score)}, k.layouts[:]...)
	flags := byte(0)
	if k.byLine {
		flags |= 1
	}
	if k.strong {
		flags |= 2
	}
	if k.failed {
		flags |= 4
	}
	flags |= k.lang << 3
	return append(append(b, flags), ghosts...)
}

// SetMemory restores what Memory said, in a new stream. What it cannot read it leaves: then the stream learns anew.
func (s *Stream) SetMemory(b []byte) {
	if len(b) < memoryBytes || b[0] != memoryVersion || (len(b)-memoryBytes)%ghostBytes != 0 {
		return
	}
	s.learned = learned{score: max(minScore, min(int8(b[1]), maxScore)), layouts: [4]uint8(b[2:6]), byLine: b[6]&1 != 0, strong: b[6]&2 != 0, failed: b[6]&4 != 0, lang: b[6] >> 3}
	if int(s.learned.lang) > len(languages) {
		s.learned.lang = 0
	}
	for b = b[memoryBytes:]; len(b) > 0 && len(s.open) < maxOpen; b = b[ghostBytes:] {
		s.haunt(b[:ghostBytes])
	}
}

// ghosts appends what decides which lines the open events take.
func (s *Stream) ghosts(dst []byte) []byte {
	n := 0
	for _, e := range s.open {
		if !e.ended {
			n++
		}
	}
	if n == 0 {
		return dst
	}
	live := make([]*event, 0, n)
	for _, e := range s.open {
		if !e.ended {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(a, b *event) int { return cmp.Compare(a.lastSeq, b.lastSeq) })
	for _, e := range live {
		flags := byte(0)
		for i, set := range [...]bool{e.calls, e.named, e.taken, e.more, e.cut, e == s.last, e.holds} {
			if set {
				flags |= 1 << i
			}
		}
		dst = append(dst, e.lang.number(), e.state, byte(e.mode), e.sev, flags)
		dst = binary.BigEndian.AppendUint64(dst, e.key)
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.size))
		dst = binary.BigEndian.AppendUint32(dst, e.part)
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.wait))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.lastTime))
		dst = binary.BigEndian.AppendUint64(dst, uint64(e.time))
		dst = append(dst, 0, 0) // reserved
	}
	return dst
}

// haunt opens an event without lines, which takes the lines that the event of the life before took. What it gives out went out
// then, except what follows a part that was.
func (s *Stream) haunt(b []byte) {
	j := judgement{state: b[1], mode: mode(b[2]), sev: b[3]}
	flags := b[4]
	j.lang = languageNumbered(b[0])
	if j.lang == nil || int(j.state) >= len(j.lang.traits) {
		j.lang, j.state = nil, 0
	}
	j.calls = flags&flagCalls != 0 && j.lang != nil && j.lang.calls != nil
	j.named, j.taken, j.more, j.cut = flags&flagNamed != 0, flags&flagTaken != 0, flags&flagMore != 0, flags&flagCut != 0
	j.holds = flags&flagHolds != 0
	j.key = binary.BigEndian.Uint64(b[5:])
	j.size = int(binary.BigEndian.Uint32(b[13:]))
	j.part = binary.BigEndian.Uint32(b[17:])
	j.wait = int64(binary.BigEndian.Uint64(b[21:]))
	j.lastTime = int64(binary.BigEndian.Uint64(b[29:]))
	j.time = int64(binary.BigEndian.Uint64(b[37:]))

	e := s.f.get()
	e.judgement = j
	e.rule = "prefix-continuation"
	if j.state != 0 {
		e.rule = j.lang.traits[j.state].rule
	}
	s.seq++
	e.firstSeq, e.lastSeq, e.lastRead = s.seq, s.seq, j.lastTime
	e.gone = e.size
	s.open = append(s.open, e)
	if flags&flagLast != 0 {
		s.last = e
	}
	if j.cut {
		s.piece.of = e
	}
}

// number names a language in a memory: its row, 0 for none. The rows must not be reordered.
func (l *language) number() byte {
	if l == nil {
		return 0
	}
	return l.row
}

func languageNumbered(n byte) *language {
	switch {
	case n == 255:
		return plain
	case n > 0 && int(n) <= len(languages):
		return languages[n-1]
	}
	return nil
}
