package listen

import (
	"hash/maphash"
	"strconv"
)

// Line is a record that looks like a line of a container's output as Docker's fluentd driver sends it: with `log`, `container_id` and
// `source`, all of them strings. FireLens sends the same. Such lines may be folded; all other records are whole events.
type Line struct {
	Text        []byte
	ContainerID []byte
	Source      []byte

	// Of a piece of a line over 16 KiB: the same PartialID for all pieces, and a number from 1 on. Engines before 18.06 only say
	// that the line goes on.
	PartialID []byte
	Ordinal   int
	More      bool // the next piece goes on with this line

	// Fields tells the record's other pairs from others, whatever order they come in: the driver has them in a Go map.
	Fields uint64
}

var seed = maphash.MakeSeed()

// line looks into a record. It answers false for one that is not of this shape.
func (l *Line) read(record []byte) bool {
	*l = Line{}
	last := false
	partial := false
	var sum uint64
	ok := eachPair(record, func(key, value, pair []byte) bool {
		var into *[]byte
		switch string(key) {
		case "log":
			into = &l.Text
		case "container_id":
			into = &l.ContainerID
			sum += maphash.Bytes(seed, pair)
		case "source":
			into = &l.Source
			sum += maphash.Bytes(seed, pair)
		case "partial_id":
			into = &l.PartialID
		case "partial_message", "partial_last", "partial_ordinal":
			text, isText := text(value)
			switch {
			case !isText:
				return false
			case key[8] == 'm':
				partial = string(text) == "true"
			case key[8] == 'l':
				last = string(text) == "true"
			default:
				l.Ordinal, _ = strconv.Atoi(string(text)) // 0: then it does not tell whether a piece is missing
			}
			return true
		case "part", "part_last", "_id":
			return false // we may have to add these ourselves
		default:
			sum += maphash.Bytes(seed, pair)
			return true
		}
		t, isText := text(value)
		if !isText || *into != nil {
			return false
		}
		*into = t
		return true
	})
	if !ok || l.Text == nil || len(l.ContainerID) == 0 || len(l.Source) == 0 {
		return false
	}
	l.More = partial && !last
	l.Fields = sum
	return true
}

// ReadLine looks into a record again, as it is found in an input record of the spool.
func ReadLine(record []byte) *Line {
	l := new(Line)
	if !l.read(record) {
		return nil
	}
	return l
}

// Fields calls f for each pair that stays the same from line to line, as it is encoded.
func Fields(record []byte, f func(pair []byte)) {
	eachPair(record, func(key, _, pair []byte) bool {
		switch string(key) {
		case "log", "partial_id", "partial_message", "partial_last", "partial_ordinal":
		default:
			f(pair)
		}
		return true
	})
}

// eachPair calls f for each pair of a map. It answers false if f did, or if a key is no string.
func eachPair(record []byte, f func(key, value, pair []byte) bool) bool {
	k, size, n, err := head(record)
	if err != nil || k != kindMap {
		return false
	}
	p := record[size:]
	for range n {
		key, rest, ok := payload(p)
		if !ok {
			return false
		}
		end, err := skip(rest)
		if err != nil || !f(key, rest[:end], p[:len(p)-len(rest)+end]) {
			return false
		}
		p = rest[end:]
	}
	return true
}

// text is the value of a str.
func text(value []byte) ([]byte, bool) {
	k, size, n, err := head(value)
	if err != nil || k != kindStr {
		return nil, false
	}
	b := value[size : size+n : size+n]
	if b == nil {
		b = []byte{}
	}
	return b, true
}
