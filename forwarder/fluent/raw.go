package fluent

import (
	"slices"

	"github.com/tinylib/msgp/msgp"
)

// AddRaw appends a pair as it is encoded: a key, which is a string, and a value in MessagePack.
func (f *Fields) AddRaw(pair []byte) {
	key, _, err := msgp.ReadStringZC(pair)
	if err != nil {
		return // what is no pair would break the record
	}
	f.buf = append(f.buf, pair...)
	f.keys = append(f.keys, string(key))
}

// Has reports whether there is a pair with the key.
func (f *Fields) Has(key string) bool { return slices.Contains(f.keys, key) }

// Reset forgets the pairs and keeps the memory.
func (f *Fields) Reset() { f.buf, f.keys = f.buf[:0], f.keys[:0] }

// AddRecord appends an event of time t (Unix nanoseconds) whose record is a map in MessagePack, passed on as it is.
func (b *Builder) AddRecord(t int64, record []byte) {
	buf := slices.Grow(b.Buf, len(record)+16)
	buf = appendTime(append(buf, 0x92), t)
	b.Buf = append(buf, record...)
	b.events++
}
