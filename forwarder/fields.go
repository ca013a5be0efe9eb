package forwarder

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/parse"
)

// fieldsOf answers what the text says of itself: its level, and appended to dst, of an exception its class, message and the first
// frame of the program. Only the first part of an event over its bound has them. The values are valid as long as the event.
func fieldsOf(dst []fluent.Field, ev *fold.Event) (level string, fields []fluent.Field) {
	if ev.Part > 1 {
		return "", dst
	}
	level = parse.Level(ev.Lines)
	if ev.Language == "" {
		return level, dst
	}
	x, ok := parse.ExceptionOf(ev.Language, ev.Lines)
	if !ok {
		return level, dst
	}
	for _, f := range [...]fluent.Field{{Key: "exception.class", Value: x.Class}, {Key: "exception.message", Value: x.Message}, {Key: "exception.frame", Value: x.Frame}} {
		if len(f.Value) > 0 {
			dst = append(dst, f)
		}
	}
	return level, dst
}

// jsonOf is the text of an event that may be a JSON object; nil if it cannot be one.
func jsonOf(scratch []byte, ev *fold.Event) (text, used []byte) {
	first, last := ev.Lines[0], ev.Lines[len(ev.Lines)-1]
	if ev.Part > 0 || len(first) == 0 || first[0] != '{' || len(last) == 0 {
		return nil, scratch
	}
	if len(ev.Lines) == 1 {
		return first, scratch
	}
	scratch = scratch[:0]
	for _, l := range ev.Lines {
		scratch = append(append(scratch, l...), '\n')
	}
	return scratch, scratch
}

// eventID is the same whenever the same bytes of a log are read again, and another for any others: it is made of where the event
// begins. A container's file is known by the container, so that the id outlives a rotation that copies or packs the file;
// there, the engine's time of the record tells apart what lies at the same offset of two files. A plain file is known by what it
// is on disk: its lines have no time of their own.
func eventID(dst []byte, s *source, st *stream, f *openFile, ev *fold.Event) []byte {
	h := newHash()
	if s.format == jsonFile {
		h.text(s.container.ID)
		h.number(uint64(ev.Time))
	} else {
		h.text(s.name)
		h.number(f.ID.Dev)
		h.number(f.ID.Ino)
		h.number(uint64(f.ID.Birth))
	}
	h.text(st.name)
	h.number(uint64(ev.Pos[0].Start))
	h.number(uint64(ev.Part))
	first := ev.Lines[0]
	h.text(string(first[:min(len(first), 256)]))
	return h.appendHex(dst)
}

// hash is two of FNV-1a side by side, the second over the bytes turned round: it need not withstand malice. The ids are stored at the
// receiver, so it must stay as it is.
type hash [2]uint64

func newHash() hash { return hash{14695981039346656037, 0x6c62272e07bb0142} }

// appendHex appends the id that the hash is: 32 digits.
func (h *hash) appendHex(dst []byte) []byte {
	var sum [16]byte
	binary.BigEndian.PutUint64(sum[:], h[0])
	binary.BigEndian.PutUint64(sum[8:], h[1])
	return hex.AppendEncode(dst, sum[:])
}

func (h *hash) byte(c byte) {
	h[0] = (h[0] ^ uint64(c)) * 1099511628211
	h[1] = (h[1] ^ uint64(^c)) * 0x9e3779b97f4a7c15
	h[1] ^= h[1] >> 29
}

func (h *hash) number(n uint64) {
	for i := range 8 {
		h.byte(byte(n >> (8 * i)))
	}
}

func (h *hash) text(s string) {
	for i := range len(s) {
		h.byte(s[i])
	}
	h.number(uint64(len(s)))
}
