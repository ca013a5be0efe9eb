package listen

import (
	"errors"
	"fmt"
)

// message is one message of the protocol, in any of its modes. Its slices lie in the buffer it was read from.
type message struct {
	tag     []byte
	entries []byte // one behind the other
	single  bool   // entries is the time and the record of a Message
	packed  bool   // entries came as one text, not yet looked into
	packing string // gzip or zstd: entries are compressed
	chunk   []byte // the value of the option, as it is encoded; nil: no ack is asked for
	nothing bool   // a heartbeat, or a Message without record: there is nothing in it, and no ack is sent for it
	invalid bool   // it is no event: it is dropped, but acked
}

var (
	errNotForward = errors.New("not the Forward protocol: a message is an array in MessagePack")
	errJSON       = errors.New("JSON is not spoken here: use MessagePack, as all Fluentd clients do by default")
)

// read takes a whole message apart. What in_forward of Fluentd answers, or leaves unanswered, is the measure.
func (m *message) read(p []byte) error {
	*m = message{}
	k, size, n, err := head(p)
	switch {
	case err != nil:
		return err
	case k == kindNil:
		m.nothing = true
		return nil
	case p[0] == '{' || p[0] == '[':
		return errJSON
	case k != kindArray || n < 2:
		return errNotForward
	}
	p = p[size:]
	var tagged bool
	if m.tag, _, tagged = payload(p); tagged && len(m.tag) == 0 {
		tagged = false
	}
	m.invalid = !tagged
	if p, err = after(p); err != nil {
		return err
	}
	rest := n - 2
	k, size, n, err = head(p)
	if err != nil {
		return err
	}
	end, err := skip(p)
	if err != nil {
		return err
	}
	switch k {
	case kindStr, kindBin:
		m.entries, m.packed = p[size:size+n], true
		p = p[end:]
	case kindArray: // Forward mode
		m.entries = p[size:end]
		p = p[end:]
	default: // Message mode: the time, then the record
		if rest == 0 {
			m.nothing = true
			return nil
		}
		rest--
		record, err := after(p)
		if err != nil {
			return err
		}
		if record[0] == 0xc0 { // a record that is nil is dropped without an answer
			m.nothing = true
			return nil
		}
		end, err := skip(record)
		if err != nil {
			return err
		}
		m.entries, m.single = p[:len(p)-len(record)+end], true
		p = record[end:]
	}
	if rest == 0 {
		return nil
	}
	return m.options(p)
}

// after is what follows the value at the start of p.
func after(p []byte) ([]byte, error) {
	end, err := skip(p)
	return p[end:], err
}

// options reads the last element of a message: a map, or nil for none.
func (m *message) options(p []byte) error {
	unknown := error(nil)
	eachPair(p, func(key, value, _ []byte) bool {
		switch string(key) {
		case "chunk":
			if value[0] != 0xc0 {
				m.chunk = value
			}
		case "compressed":
			how, _, ok := payload(value)
			switch {
			case ok && string(how) == "gzip":
				m.packing = "gzip"
			case ok && string(how) == "zstd":
				m.packing = "zstd"
			case ok && string(how) == "text", value[0] == 0xc0:
			default:
				unknown = fmt.Errorf("compression %.40q is not known: use gzip or zstd", how)
			}
		}
		return true
	})
	if !m.packed || len(m.entries) == 0 { // Fluentd passes an empty body on as it is
		m.packing = ""
	}
	return unknown
}

// appendAck appends the answer to a message: the chunk's value as the client encoded it.
func appendAck(dst, chunk []byte) []byte {
	dst = append(dst, 0x81, 0xa3, 'a', 'c', 'k')
	return append(dst, chunk...)
}
