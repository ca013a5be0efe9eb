package fluent

import "slices"

// AddRaw appends a pair as it is encoded: a key and a value in MessagePack.
func (f *Fields) AddRaw(pair []byte) {
	f.buf = append(f.buf, pair...)
	f.n++
}

// Reset forgets the pairs and keeps the memory.
func (f *Fields) Reset() { f.buf, f.n = f.buf[:0], 0 }

// AddRecord appends an event of time t (Unix nanoseconds) whose record is a map in MessagePack, passed on as it is.
func (b *Builder) AddRecord(t int64, record []byte) {
	buf := slices.Grow(b.Buf, len(record)+16)
	buf = appendTime(append(buf, 0x92), t)
	b.Buf = append(buf, record...)
	b.events++
}
