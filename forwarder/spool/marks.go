package spool

import (
	"bytes"
	"slices"
)

// marks is the merge of all marks so far: for each key the newest value.
type marks struct {
	values map[string]*[]byte // pointers, so that a known key is overwritten without making a string of it again
	bytes  int                // of the snapshot
}

func newMarks() *marks { return &marks{values: map[string]*[]byte{}} }

// set takes one mark. The empty key is the spool's own (claims.go) and no position.
func (m *marks) set(key, value []byte) {
	if len(key) == 0 {
		return
	}
	old, ok := m.values[string(key)]
	switch {
	case ok && len(value) == 0:
		m.bytes -= markHeaderBytes + len(key) + len(*old)
		delete(m.values, string(key))
	case ok:
		m.bytes += len(value) - len(*old)
		*old = append((*old)[:0], value...)
	case len(value) > 0:
		v := bytes.Clone(value)
		m.values[string(key)] = &v
		m.bytes += markHeaderBytes + len(key) + len(value)
	}
}

// appendTo appends all marks to dst, in the order of their keys.
func (m *marks) appendTo(dst []byte) []byte {
	keys := make([]string, 0, len(m.values))
	for k := range m.values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = slices.Grow(dst, m.bytes)
	for _, k := range keys {
		dst = AppendMark(dst, k, *m.values[k])
	}
	return dst
}

func (m *marks) copy() map[string][]byte {
	c := make(map[string][]byte, len(m.values))
	for k, v := range m.values {
		c[k] = bytes.Clone(*v)
	}
	return c
}
