package fluent

import (
	"encoding/binary"
	"slices"
)

// IDBytes is the length of a chunk id. The id is the last thing in a frame, so whoever numbers the frames writes it into
// the frame's last IDBytes bytes without knowing the format.
const IDBytes = 32

// Fields are pairs of a source that are the same in all its events, encoded once. The zero value has none.
type Fields struct {
	buf  []byte
	keys []string
}

// Add appends a pair. Bytes that are not UTF-8 become U+FFFD. The key must be new, and none of log, part, part_last, _id, level.
func (f *Fields) Add(key, value string) {
	f.buf = appendStr(f.buf, toValid(key))
	f.buf = appendStr(f.buf, toValid(value))
	f.keys = append(f.keys, key)
}

// Len is the number of pairs.
func (f *Fields) Len() int { return len(f.keys) }

// Extra holds what differs from event to event. The zero value adds nothing.
type Extra struct {
	Part     int    // above 0: adds `part` and `part_last`
	PartLast bool   // the last piece of its event
	ID       []byte // not empty: adds `_id`

	Level  string  // not empty: adds `level`
	Fields []Field // added as they are; keys must be new
	JSON   []byte  // an object: its keys are added, except those that the event has without it; other text adds nothing
}

// Field is a pair of one event. Bytes that are not UTF-8 become U+FFFD.
type Field struct {
	Key   string
	Value []byte
}

// Builder is one PackedForward frame under construction, and afterwards a place to build the next:
//
//	headroom | 0x93 tag bin32(entries) {size, compressed?, chunk} | what the owner appends
//	entry = [EventTime, {"log": text, fields...}]
//
// Entries are encoded straight into Buf, so between the source's buffer and the spool's write there is this one copy.
// Buf belongs to the owner of the Builder, who may swap it for another before Reset.
type Builder struct {
	Buf     []byte
	head    int // where the frame begins
	entries int // where the entries begin
	end     int // where the frame ends, once sealed
	events  int
	parsed  []byte // pairs of Extra.JSON
}

// maxParsed is what a Builder keeps for the pairs of the next event.
const maxParsed = 16 << 10

// Reset begins a frame in Buf, whose memory is used again, after headroom bytes left for the owner.
func (b *Builder) Reset(tag string, headroom int) {
	b.Buf = slices.Grow(b.Buf[:0], headroom+len(tag)+16)[:headroom]
	clear(b.Buf)
	b.head, b.end, b.events = headroom, 0, 0
	b.Buf = append(b.Buf, 0x93)
	b.Buf = appendStr(b.Buf, tag)
	b.Buf = append(b.Buf, 0xc6, 0, 0, 0, 0)
	b.entries = len(b.Buf)
}

// Add appends an event of time t (Unix nanoseconds). Its text is the lines joined by \n; bytes that are not UTF-8 become
// U+FFFD, each, as Docker does it. It returns how many did.
func (b *Builder) Add(t int64, lines [][]byte, f *Fields, x Extra) (replaced int) {
	text := max(len(lines)-1, 0)
	for _, l := range lines {
		text += len(l)
	}
	pairs, room := 1, text+64+len(x.ID)
	if f != nil {
		pairs += len(f.keys)
		room += len(f.buf)
	}
	if x.Part > 0 {
		pairs += 2
	}
	if len(x.ID) > 0 {
		pairs++
	}
	pairs += len(x.Fields)
	if x.Level != "" {
		pairs++
		room += len(x.Level) + 10
	}
	for _, p := range x.Fields {
		room += len(p.Key) + len(p.Value) + 10
	}
	b.parsed = b.parsed[:0]
	if len(x.JSON) > 0 {
		var n int
		if b.parsed, n = appendJSON(b.parsed, f, &x); n > 0 {
			pairs += n
			room += len(b.parsed)
		}
	}

	buf := slices.Grow(b.Buf, room)
	buf = appendTime(append(buf, 0x92), t)
	buf = appendMapHeader(buf, pairs)
	buf = append(buf, 0xa3, 'l', 'o', 'g')
	header := len(buf)
	buf = appendStrHeader(buf, text)
	from := len(buf)
	for i, l := range lines {
		if i > 0 {
			buf = append(buf, '\n')
		}
		buf = append(buf, l...)
	}
	if !valid(buf[from:]) {
		replaced = invalidBytes(buf[from:])
		buf = appendStrHeader(buf[:header], text+replaced*(len(replacement)-1))
		for i, l := range lines {
			if i > 0 {
				buf = append(buf, '\n')
			}
			buf = appendValid(buf, l)
		}
	}
	if f != nil {
		buf = append(buf, f.buf...)
	}
	if x.Part > 0 {
		buf = appendUint32(appendStr(buf, "part"), uint32(x.Part))
		buf = appendBool(appendStr(buf, "part_last"), x.PartLast)
	}
	if len(x.ID) > 0 {
		buf = append(appendStrHeader(appendStr(buf, "_id"), len(x.ID)), x.ID...)
	}
	if x.Level != "" {
		buf = appendStr(appendStr(buf, "level"), x.Level)
	}
	for _, p := range x.Fields {
		buf = appendStr(buf, p.Key)
		if valid(p.Value) {
			buf = append(appendStrHeader(buf, len(p.Value)), p.Value...)
		} else {
			buf = appendStr(buf, string(appendValid(nil, p.Value)))
		}
	}
	buf = append(buf, b.parsed...)
	if cap(b.parsed) > maxParsed {
		b.parsed = nil
	}
	b.Buf = buf
	b.events++
	return replaced
}

// Seal patches the lengths and appends the options, with IDBytes of room for the chunk id at the end. The frame is then
// whole; the owner may append to Buf behind it.
func (b *Builder) Seal() { b.SealWith(nil) }

// SealWith seals the frame with its entries compressed, where that makes them smaller.
func (b *Builder) SealWith(c *Compressor) {
	packed := c.pack(b.Buf[b.entries:])
	if packed != nil {
		b.Buf = append(b.Buf[:b.entries], packed...)
	}
	binary.BigEndian.PutUint32(b.Buf[b.entries-4:], uint32(len(b.Buf)-b.entries))
	options := byte(0x82)
	if packed != nil {
		options++
	}
	b.Buf = append(b.Buf, options, 0xa4, 's', 'i', 'z', 'e', 0xce)
	b.Buf = binary.BigEndian.AppendUint32(b.Buf, uint32(b.events))
	if packed != nil {
		b.Buf = append(append(b.Buf, formOption...), c.form...)
	}
	b.Buf = append(b.Buf, idOption...)
	for range IDBytes {
		b.Buf = append(b.Buf, '0')
	}
	b.end = len(b.Buf)
}

// Bytes is the size of the frame so far.
func (b *Builder) Bytes() int {
	if b.end > 0 {
		return b.end - b.head
	}
	return len(b.Buf) - b.head
}

// Events is the number of events in the frame.
func (b *Builder) Events() int { return b.events }

// Frame is the sealed frame: valid until Reset, or until Buf is appended to.
func (b *Builder) Frame() []byte { return b.Buf[b.head:b.end] }

// appendTime appends an EventTime: fixext 8, type 0, seconds and nanoseconds as uint32, good until 2106. Receivers take
// a zero time for "now", the right answer for a time that is unknown or cannot be said.
func appendTime(dst []byte, t int64) []byte {
	sec, nsec := t/1e9, t%1e9
	if t < 0 || sec > 1<<32-1 {
		sec, nsec = 0, 0
	}
	dst = append(dst, 0xd7, 0)
	return binary.BigEndian.AppendUint64(dst, uint64(sec)<<32|uint64(nsec))
}
