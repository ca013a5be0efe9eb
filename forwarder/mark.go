package forwarder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/tail"
)

// A mark says how far one file of a source has been delivered into the spool. It is written in the same record as the frame that
// made it true.
//
//	key    source \0 dev-ino-birth
//	value  version        1 byte, 1
//	       number         uvarint   place of the file in the reading order of its source
//	       dev, ino       uvarint, uvarint
//	       birth          varint    Unix nanoseconds
//	       marker         uvarint offset, 8 bytes sum, 1 byte unsure
//	       streams        uvarint count, then of each:
//	         name         uvarint length, bytes
//	         from         uvarint   start of the oldest open event's first line; where there is none, where reading goes on
//	         done         uvarint   end of the last line that any emitted event holds
//	         open         uvarint count, (uvarint start, uvarint length) each: runs of lines below done that belong to
//	                      events not yet emitted
//	         memory       uvarint length, bytes: what the fold has learned of the stream
type mark struct {
	Number  uint32
	ID      tail.ID
	Marker  tail.Marker
	Streams []streamMark
}

type streamMark struct {
	Name       string
	From, Done int64
	Open       []run
	Memory     []byte
}

// run is lines that lie one behind the other.
type run struct{ Start, End int64 }

const markVersion = 1

// maxOpen bounds the runs of a mark. Where there are more, done is lowered to the first that finds no room: what was emitted
// above it comes again after a restart, nothing is lost.
const maxOpen = 64

// resume is where reading goes on: no stream needs a line before it.
func (m *mark) resume() int64 {
	if len(m.Streams) == 0 {
		return 0
	}
	from := m.Streams[0].From
	for _, s := range m.Streams[1:] {
		from = min(from, s.From)
	}
	return from
}

// covers says whether the line at p was in an event emitted before the mark was written.
func (s *streamMark) covers(p fold.Pos) bool {
	return p.End <= s.Done && !slices.ContainsFunc(s.Open, func(r run) bool { return r.Start <= p.Start && p.Start < r.End })
}

// newStreamMark makes the mark of a stream in a file. open are the records in that file of events not yet emitted, ascending; fed is
// where the line after the last one given to the fold begins. cover is what an earlier life emitted (nil for nothing): while
// its lines are read again, what it knew of those still to come stays true.
func newStreamMark(name string, open []fold.Pos, cover *streamMark, done, fed int64, memory []byte) streamMark {
	m := streamMark{Name: name, From: fed, Done: done, Memory: memory}
	if len(open) > 0 {
		m.From = open[0].Start
	}
	if cover != nil {
		m.Done = max(m.Done, cover.Done)
		if len(open) == 0 {
			m.From = max(m.From, cover.From) // what lies before is not given to the fold again, now or later
		}
	}
	for _, p := range open {
		if p.Start >= m.Done {
			break
		}
		if (cover == nil || !cover.covers(p)) && !m.leaveOpen(run{p.Start, p.End}) {
			return m
		}
	}
	if cover != nil && fed < cover.Done {
		for _, r := range cover.Open {
			if r.End > fed && !m.leaveOpen(run{max(r.Start, fed), r.End}) {
				return m
			}
		}
	}
	return m
}

// leaveOpen adds lines that are not emitted. It answers false where there is no more room and done had to be lowered.
func (m *streamMark) leaveOpen(r run) bool {
	if n := len(m.Open); n > 0 && m.Open[n-1].End == r.Start {
		m.Open[n-1].End = r.End
		return true
	}
	if len(m.Open) == maxOpen {
		m.Done = r.Start
		return false
	}
	m.Open = append(m.Open, r)
	return true
}

func markKey(source string, id tail.ID) string { return source + "\x00" + id.String() }

// sourceOf is the source that a mark's key belongs to.
func sourceOf(key string) string {
	source, _, _ := strings.Cut(key, "\x00")
	return source
}

func (m *mark) append(dst []byte) []byte {
	dst = append(dst, markVersion)
	dst = binary.AppendUvarint(dst, uint64(m.Number))
	dst = binary.AppendUvarint(dst, m.ID.Dev)
	dst = binary.AppendUvarint(dst, m.ID.Ino)
	dst = binary.AppendVarint(dst, m.ID.Birth)
	dst = binary.AppendUvarint(dst, uint64(m.Marker.Off))
	dst = binary.BigEndian.AppendUint64(dst, m.Marker.Sum)
	unsure := byte(0)
	if m.Marker.Unsure {
		unsure = 1
	}
	dst = append(dst, unsure)
	dst = binary.AppendUvarint(dst, uint64(len(m.Streams)))
	for i := range m.Streams {
		s := &m.Streams[i]
		dst = binary.AppendUvarint(dst, uint64(len(s.Name)))
		dst = append(dst, s.Name...)
		dst = binary.AppendUvarint(dst, uint64(s.From))
		dst = binary.AppendUvarint(dst, uint64(s.Done))
		dst = binary.AppendUvarint(dst, uint64(len(s.Open)))
		for _, o := range s.Open {
			dst = binary.AppendUvarint(dst, uint64(o.Start))
			dst = binary.AppendUvarint(dst, uint64(o.End-o.Start))
		}
		dst = binary.AppendUvarint(dst, uint64(len(s.Memory)))
		dst = append(dst, s.Memory...)
	}
	return dst
}

var errMark = errors.New("not a mark")

func decodeMark(value []byte) (mark, error) {
	r := markReader{b: value}
	var m mark
	if v := r.byte(); v != markVersion {
		return m, fmt.Errorf("%w: version %d, know %d", errMark, v, markVersion)
	}
	m.Number = uint32(r.uvarint())
	m.ID.Dev, m.ID.Ino = r.uvarint(), r.uvarint()
	m.ID.Birth = r.varint()
	m.Marker.Off = int64(r.uvarint())
	if sum := r.bytes(8); len(sum) == 8 {
		m.Marker.Sum = binary.BigEndian.Uint64(sum)
	}
	m.Marker.Unsure = r.byte() != 0
	for range r.count() {
		s := streamMark{Name: string(r.bytes(int(r.count())))}
		s.From, s.Done = int64(r.uvarint()), int64(r.uvarint())
		for range r.count() {
			o := run{Start: int64(r.uvarint())}
			o.End = o.Start + int64(r.uvarint())
			s.Open = append(s.Open, o)
		}
		s.Memory = slices.Clone(r.bytes(int(r.count())))
		m.Streams = append(m.Streams, s)
	}
	if r.bad || len(r.b) > 0 {
		return m, fmt.Errorf("%w: %d bytes", errMark, len(value))
	}
	return m, nil
}

// markReader takes values off b until one is not there; bad says so then.
type markReader struct {
	b   []byte
	bad bool
}

func (r *markReader) byte() byte {
	if b := r.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *markReader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *markReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *markReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things that follow, each of at least one byte, so that a damaged count cannot ask for memory.
func (r *markReader) count() uint64 {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return n
}
