package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Entry is one entry of the journal. Its slices are valid until the next is decoded.
type Entry struct {
	Cursor  []byte
	Time    int64 // Unix ns, of when journald got it; 0: it does not say
	Message []byte
	// Cut is how many bytes of a message over MaxMessage are not in it.
	Cut int64

	Unit      []byte // whose process wrote it
	About     []byte // the unit that systemd or journald speaks of
	Ident     []byte
	PID       []byte
	Priority  int // 0 to 7; -1: it does not say, or is a line of standard output that has what all of them have
	MessageID []byte
	Dropped   int64 // of a notice that journald dropped messages: how many, where it says
	stdout    bool
	More      bool // journald cut the line here: the next entry of the same process goes on with it
}

// MaxMessage bounds what is kept of a message. The lines of a service's output are 48 KiB at most.
const MaxMessage = 16 << 20

const (
	maxName         = 256 // of a field; journald's have 64 bytes at most
	defaultPriority = 6   // of a line without a prefix that says another, "<3>"

	maxValue = 8 << 10 // of a field other than the message that is wanted
)

// errFormat says that what was read is not the export format.
var errFormat = errors.New("not the journal's export format")

// Decoder reads the export format, whose texts may hold any byte: fields end entries are
//
//	NAME=text \n                  or
//	NAME \n length (8 bytes, little endian) bytes \n
//
// and an entry ends with an empty line. It is given the stream in pieces of any size.
type Decoder struct {
	entry Entry
	state state
	name  []byte
	value []byte // of the field at hand, as far as it is wanted
	want  int    // bytes of it that are kept
	over  int64  // bytes of it that are not
	left  uint64 // bytes of it to come, where its length is known
	size  [8]byte
	sized int
	any   bool // the entry has a field
}

type state uint8

const (
	inName   state = iota
	inText         // up to a newline
	inSize         // the length of what follows
	inBinary       // left bytes
	inEnd          // the newline behind them
)

// Decode takes b and calls f for each entry that ends in it. After an error the stream cannot be read on.
func (d *Decoder) Decode(b []byte, f func(*Entry)) error {
	for len(b) > 0 {
		switch d.state {
		case inName:
			i := bytes.IndexAny(b[:min(len(b), maxName)], "=\n")
			if i < 0 {
				d.name = append(d.name, b[:min(len(b), maxName)]...)
				if len(d.name) > maxName {
					return fmt.Errorf("%w: a name of over %d bytes", errFormat, maxName)
				}
				b = b[min(len(b), maxName):]
				continue
			}
			d.name = append(d.name, b[:i]...)
			text := b[i] == '='
			b = b[i+1:]
			switch {
			case len(d.name) == 0 && text:
				return fmt.Errorf("%w: a field without a name", errFormat)
			case len(d.name) == 0:
				if d.any {
					if d.entry.stdout && d.entry.Priority == defaultPriority {
						d.entry.Priority = -1
					}
					f(&d.entry)
				}
				d.entry.reset()
				d.any = false
			default:
				d.begin()
				if d.state = inSize; text {
					d.state = inText
				}
			}
		case inText:
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				d.keep(b)
				return nil
			}
			d.keep(b[:i])
			b = b[i+1:]
			d.end()
		case inSize:
			n := copy(d.size[d.sized:], b)
			b = b[n:]
			if d.sized += n; d.sized == len(d.size) {
				d.sized, d.left, d.state = 0, binary.LittleEndian.Uint64(d.size[:]), inBinary
				if d.left > 1<<40 {
					return fmt.Errorf("%w: a field of %d bytes", errFormat, d.left)
				}
				if d.left == 0 {
					d.state = inEnd
				}
			}
		case inBinary:
			n := int(min(d.left, uint64(len(b))))
			d.keep(b[:n])
			b = b[n:]
			if d.left -= uint64(n); d.left == 0 {
				d.state = inEnd
			}
		case inEnd:
			if b[0] != '\n' {
				return fmt.Errorf("%w: %q behind a binary field", errFormat, b[0])
			}
			b = b[1:]
			d.end()
		}
	}
	return nil
}

// begin begins the field whose name is known.
func (d *Decoder) begin() {
	d.any = true
	d.value, d.over, d.want = d.value[:0], 0, 0
	switch string(d.name) {
	case "MESSAGE":
		d.want = MaxMessage
	case "__CURSOR", "__REALTIME_TIMESTAMP", "_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT", "SYSLOG_IDENTIFIER", "_COMM",
		"_PID", "SYSLOG_PID", "PRIORITY", "_TRANSPORT", "MESSAGE_ID", "N_DROPPED", "_LINE_BREAK":
		d.want = maxValue
	}
}

func (d *Decoder) keep(b []byte) {
	n := min(len(b), d.want-len(d.value))
	d.value = append(d.value, b[:n]...)
	d.over += int64(len(b) - n)
}

// end takes the field. An entry may have a field several times; the first counts.
func (d *Decoder) end() {
	e := &d.entry
	switch string(d.name) {
	case "__CURSOR":
		e.Cursor = append(e.Cursor[:0], d.value...)
	case "__REALTIME_TIMESTAMP":
		e.Time = number(d.value) * 1000
	case "MESSAGE":
		if len(e.Message) == 0 {
			e.Message, d.value = d.value, e.Message
			e.Cut = d.over
		}
	case "_SYSTEMD_UNIT":
		set(&e.Unit, d.value)
	case "UNIT", "OBJECT_SYSTEMD_UNIT", "COREDUMP_UNIT":
		set(&e.About, d.value)
	case "SYSLOG_IDENTIFIER":
		e.Ident = append(e.Ident[:0], d.value...)
	case "_COMM":
		set(&e.Ident, d.value)
	case "_PID":
		e.PID = append(e.PID[:0], d.value...)
	case "SYSLOG_PID":
		set(&e.PID, d.value)
	case "PRIORITY":
		if len(d.value) == 1 && d.value[0] >= '0' && d.value[0] <= '7' {
			e.Priority = int(d.value[0] - '0')
		}
	case "_TRANSPORT":
		e.stdout = string(d.value) == "stdout"
	case "MESSAGE_ID":
		set(&e.MessageID, d.value)
	case "N_DROPPED":
		e.Dropped = number(d.value)
	case "_LINE_BREAK":
		e.More = string(d.value) == "line-max"
	}
	if cap(d.value) > maxIdle {
		d.value = nil
	}
	d.name, d.state = d.name[:0], inName
}

// set keeps the first value.
func set(to *[]byte, value []byte) {
	if len(*to) == 0 {
		*to = append(*to, value...)
	}
}

func number(b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < 0 || n > 1<<62/1000 {
		return 0
	}
	return n
}

// maxIdle is what is kept of a large message's memory.
const maxIdle = 256 << 10

func (e *Entry) reset() {
	message := e.Message[:0]
	if cap(message) > maxIdle {
		message = nil
	}
	*e = Entry{
		Cursor: e.Cursor[:0], Message: message, Unit: e.Unit[:0], About: e.About[:0], Ident: e.Ident[:0], PID: e.PID[:0],
		MessageID: e.MessageID[:0], Priority: -1,
	}
}

// NewDecoder makes a decoder for a stream that begins with an entry.
func NewDecoder() *Decoder { return &Decoder{entry: Entry{Priority: -1}} }
