package listen

import (
	"encoding/binary"
	"errors"
	"math"
)

// Entry is one event as it was received. Its slices lie in the connection's buffer: they are valid during Sink.Take.
type Entry struct {
	Tag    []byte
	Time   int64  // Unix ns; 0: the sender leaves it to the receiver
	Whole  bool   // the time came in whole seconds
	Asked  bool   // the sender waits for an ack before it sends more, or may do so
	Record []byte // a MessagePack map, as received
	Line   *Line  // of a line as Docker's driver sends it, else nil
}

var errEntry = errors.New("entry is not [time, record]")

// body iterates over entries: those of a PackedForward or Forward message one after another, or the time and record of a Message.
type body struct {
	tag    []byte
	rest   []byte
	single bool // rest is a time and a record, without an array around them
	asked  bool
}

// next takes one entry off. It answers errEntry for one that is well-formed and no event, and goes on behind it; any other error is
// the end.
func (b *body) next(e *Entry) error {
	var p []byte
	if b.single {
		p, b.rest = b.rest, nil
	} else {
		end, err := skip(b.rest)
		if err != nil {
			return err
		}
		p, b.rest = b.rest[:end:end], b.rest[end:]
		k, size, n, err := head(p)
		if err != nil || k != kindArray || n < 2 {
			return errEntry
		}
		p = p[size:]
	}
	var ok bool
	*e = Entry{Tag: b.tag, Asked: b.asked}
	if e.Time, e.Whole, p, ok = eventTime(p); !ok {
		return errEntry
	}
	k, _, _, err := head(p)
	if err != nil || k != kindMap {
		return errEntry
	}
	end, err := skip(p)
	if err != nil {
		return errEntry
	}
	e.Record = p[:end:end]
	return nil
}

// eventTime takes a time off p: an EventTime, seconds as an integer or a float, or what Fluent Bit writes since 2.0: an array of a
// time and a map.
func eventTime(p []byte) (t int64, whole bool, rest []byte, ok bool) {
	k, size, n, err := head(p)
	if err != nil {
		return 0, false, nil, false
	}
	switch k {
	case kindExt:
		if n != 8 || len(p) < size+8 || p[size-1] != 0 {
			return 0, false, nil, false
		}
		b := p[size:]
		t = int64(binary.BigEndian.Uint32(b))*1e9 + int64(binary.BigEndian.Uint32(b[4:]))
		return t, false, b[8:], true
	case kindInt:
		sec, rest, ok := integer(p)
		if sec < 0 || sec > math.MaxUint32 {
			sec = 0 // it cannot be said in an EventTime
		}
		return sec * 1e9, true, rest, ok
	case kindFloat:
		var sec float64
		if len(p) < size {
			return 0, false, nil, false
		}
		if size == 5 {
			sec = float64(math.Float32frombits(binary.BigEndian.Uint32(p[1:])))
		} else {
			sec = math.Float64frombits(binary.BigEndian.Uint64(p[1:]))
		}
		if !(sec >= 0 && sec <= math.MaxUint32) { // not a number, too
			sec = 0
		}
		whole, frac := math.Modf(sec)
		return int64(whole)*1e9 + int64(frac*1e9), false, p[size:], true
	case kindArray:
		if n < 1 {
			return 0, false, nil, false
		}
		if k, _, _, err := head(p[size:]); err != nil || k == kindArray {
			return 0, false, nil, false
		}
		end, err := skip(p)
		if err != nil {
			return 0, false, nil, false
		}
		t, whole, _, ok = eventTime(p[size:end])
		return t, whole, p[end:], ok
	}
	return 0, false, nil, false
}
