package receiver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tinylib/msgp/msgp"
)

// maxBodyBytes bounds one message, also after decompression, as Fluentd does.
const maxBodyBytes = 256 << 20

// message is one message of a connection. Its buffers are used again for the next.
type message struct {
	r          *msgp.Reader
	tag        string
	chunk      string
	size       int64 // events, as the option says
	body       []byte
	compressed string // how: gzip, zstd, or empty

	raw   msgp.Raw
	plain bytes.Buffer
	zr    *gzip.Reader
	zd    *zstd.Decoder
}

func (m *message) limit() {
	m.r.SetMaxElements(1 << 24)
	m.r.SetMaxStringLength(maxBodyBytes)
	m.r.SetMaxRecursionDepth(100)
}

// contains reports whether the text, if there is one, lies in the entries.
func (m *message) contains(text string) bool {
	return text != "" && bytes.Contains(m.body, []byte(text))
}

func (m *message) empty() bool { return len(m.body) == 0 }

// read reads the next message, in whatever mode it is, and leaves its entries in body, one [time, record] after another.
func (m *message) read() error {
	for {
		t, err := m.r.NextType()
		if err != nil {
			return err
		}
		if t != msgp.NilType { // nil is reserved for heartbeats and ignored
			break
		}
		if err := m.r.ReadNil(); err != nil {
			return err
		}
	}
	n, err := m.r.ReadArrayHeader()
	if err != nil {
		return err
	}
	if n < 2 || n > 4 {
		return fmt.Errorf("message of %d elements", n)
	}
	if m.tag, err = m.r.ReadString(); err != nil {
		return err
	}
	m.body, m.chunk, m.size, m.compressed = m.body[:0], "", 0, ""
	t, err := m.r.NextType()
	if err != nil {
		return err
	}
	rest := n - 2
	switch t {
	case msgp.BinType:
		size, err := m.r.ReadBytesHeader()
		if err != nil {
			return err
		}
		err = m.readBody(size)
		if err != nil {
			return err
		}
	case msgp.StrType:
		size, err := m.r.ReadStringHeader()
		if err != nil {
			return err
		}
		if err = m.readBody(size); err != nil {
			return err
		}
	case msgp.ArrayType:
		if err := m.raw.DecodeMsg(m.r); err != nil {
			return err
		}
		_, entries, err := msgp.ReadArrayHeaderBytes(m.raw)
		if err != nil {
			return err
		}
		m.body = append(m.body, entries...)
	default: // Message mode: the time and the record follow the tag
		if rest == 0 {
			return errors.New("message without record")
		}
		rest--
		m.body = msgp.AppendArrayHeader(m.body, 2)
		for range 2 {
			if err := m.raw.DecodeMsg(m.r); err != nil {
				return err
			}
			m.body = append(m.body, m.raw...)
		}
	}
	switch rest {
	case 0:
	case 1:
		if err := m.options(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("message of %d elements", n)
	}
	switch {
	case m.empty():
		return nil
	case m.compressed == "gzip":
		return m.gunzip()
	case m.compressed == "zstd":
		return m.unzstd()
	}
	return nil
}

func (m *message) readBody(size uint32) error {
	if size > maxBodyBytes {
		return fmt.Errorf("message of %d bytes", size)
	}
	for len(m.body) < int(size) { // grows with what really comes
		step := min(int(size)-len(m.body), max(1<<20, cap(m.body)-len(m.body)))
		from := len(m.body)
		m.body = append(m.body, make([]byte, step)...)
		if _, err := m.r.ReadFull(m.body[from:]); err != nil {
			return err
		}
	}
	return nil
}

func (m *message) options() error {
	t, err := m.r.NextType()
	if err != nil {
		return err
	}
	if t == msgp.NilType {
		return m.r.ReadNil()
	}
	n, err := m.r.ReadMapHeader()
	if err != nil {
		return err
	}
	for range n {
		key, err := m.r.ReadString()
		if err != nil {
			return err
		}
		switch key {
		case "chunk":
			m.chunk, err = m.r.ReadString()
		case "size":
			m.size, err = m.r.ReadInt64()
		case "compressed":
			var how string
			how, err = m.r.ReadString()
			switch how {
			case "gzip", "zstd":
				m.compressed = how
			case "text":
			default:
				err = errors.Join(err, fmt.Errorf("unknown compression %q", how))
			}
		default:
			err = m.r.Skip()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *message) unzstd() error {
	var err error
	if m.zd == nil {
		m.zd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBodyBytes))
	}
	if err == nil {
		m.body, err = m.zd.DecodeAll(m.body, nil)
	}
	return err
}

func (m *message) gunzip() error {
	var err error
	if m.zr == nil {
		m.zr, err = gzip.NewReader(bytes.NewReader(m.body))
	} else {
		err = m.zr.Reset(bytes.NewReader(m.body))
	}
	if err != nil {
		return err
	}
	m.plain.Reset()
	n, err := m.plain.ReadFrom(io.LimitReader(m.zr, maxBodyBytes+1))
	if err == nil && n > maxBodyBytes {
		err = errors.New("message too large after decompression")
	}
	m.body = append(m.body[:0], m.plain.Bytes()...)
	return err
}

// take hands the events of a message to the handler. Without one it believes the `size` option, which makes a receiver
// that costs little more than reading.
func (r *Receiver) take(m *message) error {
	events := m.size
	if r.handle != nil || events == 0 {
		r.handling.Lock()
		defer r.handling.Unlock()
		e := Event{Tag: m.tag, Chunk: m.chunk}
		events = 0
		for rest := m.body; len(rest) > 0; events++ {
			var err error
			if rest, err = e.next(rest); err != nil {
				return err
			}
			if r.handle != nil {
				r.handle(&e)
			}
		}
	}
	r.messages.Add(1)
	if m.compressed != "" {
		r.compressed.Add(1)
	}
	r.events.Add(events)
	r.bytes.Add(int64(len(m.body)))
	return nil
}

// next takes an entry, [time, record] or [[time, metadata], record], off p.
func (e *Event) next(p []byte) (rest []byte, err error) {
	n, p, err := msgp.ReadArrayHeaderBytes(p)
	if err != nil {
		return nil, err
	}
	if n != 2 {
		return nil, fmt.Errorf("entry of %d elements", n)
	}
	if msgp.NextType(p) == msgp.ArrayType { // as Fluent Bit writes it
		if n, p, err = msgp.ReadArrayHeaderBytes(p); err != nil || n != 2 {
			return nil, errors.Join(err, fmt.Errorf("time of %d elements", n))
		}
		if p, err = e.readTime(p); err != nil {
			return nil, err
		}
		if p, err = msgp.Skip(p); err != nil {
			return nil, err
		}
	} else if p, err = e.readTime(p); err != nil {
		return nil, err
	}
	if t := msgp.NextType(p); t != msgp.MapType {
		return nil, fmt.Errorf("record is %s", t)
	}
	if rest, err = msgp.Skip(p); err != nil {
		return nil, err
	}
	e.Record = p[:len(p)-len(rest)]
	return rest, nil
}

// readTime takes a time off p: an EventTime, fixext 8 or ext 8 of type 0, or whole seconds.
func (e *Event) readTime(p []byte) ([]byte, error) {
	var b []byte
	switch {
	case len(p) >= 10 && p[0] == 0xd7 && p[1] == 0:
		b = p[2:]
	case len(p) >= 11 && p[0] == 0xc7 && p[1] == 8 && p[2] == 0:
		b = p[3:]
	default:
		sec, rest, err := msgp.ReadInt64Bytes(p)
		e.Time = sec * 1e9
		return rest, err
	}
	e.Time = int64(binary.BigEndian.Uint32(b))*1e9 + int64(binary.BigEndian.Uint32(b[4:]))
	return b[8:], nil
}

// Field returns a string of the record, or nil. It is valid as long as the event.
func (e *Event) Field(key string) []byte {
	n, p, err := msgp.ReadMapHeaderBytes(e.Record)
	for ; n > 0 && err == nil; n-- {
		var k, v []byte
		if k, p, err = msgp.ReadMapKeyZC(p); err != nil {
			return nil
		}
		if string(k) == key {
			if v, _, err = msgp.ReadStringZC(p); err != nil {
				return nil
			}
			return v
		}
		p, err = msgp.Skip(p)
	}
	return nil
}

// Map decodes the whole record.
func (e *Event) Map() (map[string]any, error) {
	m, _, err := msgp.ReadMapStrIntfBytes(e.Record, nil)
	return m, err
}
