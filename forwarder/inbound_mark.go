package forwarder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// An input record holds lines of listener streams as they were received, until frames hold them all:
//
//	version  1 byte, 1
//	lines, each:
//	  flags    1 byte: bit 0, the time came in whole seconds
//	  tag      uvarint length, bytes
//	  time     varint, Unix ns
//	  clock    varint, of the stream
//	  record   uvarint length, bytes
//
// Which lines are done is said by the marks of the frames that hold them. One for each stream:
//
//	key      listen \0 tag \0 container id \0 source
//	value    version  1 byte, 1
//	         upto     uvarint   lines in input records up to here are done, but for
//	         open     uvarint count of input records, each:
//	           seq    uvarint   upto less its sequence number
//	           runs   uvarint count, (uvarint first line, uvarint lines) each
//	         memory   the rest: what the fold has learned of the stream
//
// and one that lets marks of streams be forgotten:
//
//	key      listen \0
//	value    uvarint   all lines in input records before this one are done
const (
	inMarkPrefix   = "listen\x00"
	inputVersion   = 1
	inMarkVersion  = 1
	inputFlagWhole = 1
)

// inRecall is what the marks of an earlier life say.
type inRecall struct {
	floor   uint64
	streams map[string]inMark
}

type inMark struct {
	upto   uint64
	open   map[uint64][]run
	memory []byte
}

// done says whether an earlier life brought a line into a frame.
func (r *inRecall) done(key string, seq uint64, index uint32) bool {
	if seq < r.floor {
		return true
	}
	m, ok := r.streams[key]
	if !ok || seq > m.upto {
		return false
	}
	return !slices.ContainsFunc(m.open[seq], func(o run) bool { return o.Start <= int64(index) && int64(index) < o.End })
}

// recallInputs takes the marks of listener streams off those the spool recovered. One that cannot be read is left out: lines are
// folded again then, and arrive twice.
func recallInputs(marks map[string][]byte, log *slog.Logger) inRecall {
	r := inRecall{streams: map[string]inMark{}}
	for key, value := range marks {
		name, ok := strings.CutPrefix(key, inMarkPrefix)
		if !ok {
			continue
		}
		delete(marks, key)
		if name == "" {
			r.floor, _ = binary.Uvarint(value)
			continue
		}
		m, err := decodeInMark(value)
		if err != nil {
			log.Error("position cannot be read; lines of Forward clients may arrive twice", "stream", name, "err", err)
			continue
		}
		r.streams[name] = m
	}
	return r
}

func decodeInMark(value []byte) (inMark, error) {
	r := markReader{b: value}
	m := inMark{open: map[uint64][]run{}}
	if v := r.byte(); v != inMarkVersion {
		return m, fmt.Errorf("%w: version %d, know %d", errMark, v, inMarkVersion)
	}
	m.upto = r.uvarint()
	for range r.count() {
		seq := m.upto - r.uvarint()
		for range r.count() {
			o := run{Start: int64(r.uvarint())}
			o.End = o.Start + int64(r.uvarint())
			m.open[seq] = append(m.open[seq], o)
		}
	}
	if r.bad {
		return m, fmt.Errorf("%w: %d bytes", errMark, len(value))
	}
	m.memory = bytes.Clone(r.b)
	return m, nil
}

// marks appends the marks of the streams that emitted lines of input records, or have learned something.
func (in *inbound) marks(dst []byte, upto uint64) []byte {
	any := false
	for _, st := range in.touched {
		if !st.emitted {
			continue
		}
		memory := st.fold.Memory()
		if !st.dirty && bytes.Equal(memory, st.memory) {
			continue
		}
		any = any || st.dirty
		st.memory, st.marked = memory, true
		in.valueBuf = st.mark(in.valueBuf[:0], upto)
		dst = spool.AppendMark(dst, inMarkPrefix+st.key, in.valueBuf)
	}
	if !any {
		return dst
	}
	floor := upto + 1
	for _, r := range in.inputs {
		if r.pending > 0 {
			floor = r.seq
			break
		}
	}
	return spool.AppendMark(dst, inMarkPrefix, binary.AppendUvarint(nil, floor))
}

// mark appends the stream's mark. Lines that are in no input record yet will be in one after upto.
func (st *inStream) mark(dst []byte, upto uint64) []byte {
	dst = append(dst, inMarkVersion)
	dst = binary.AppendUvarint(dst, upto)
	var groups uint64
	var body []byte
	for i := 0; i < len(st.lines); {
		l := st.lines[i]
		if l.input == nil || l.input.seq == 0 || l.input.seq > upto {
			i++
			continue
		}
		var runs []run
		for ; i < len(st.lines) && st.lines[i].input == l.input; i++ {
			at := int64(st.lines[i].index)
			if n := len(runs); n > 0 && runs[n-1].End == at {
				runs[n-1].End++
			} else {
				runs = append(runs, run{at, at + 1})
			}
		}
		groups++
		body = binary.AppendUvarint(body, upto-l.input.seq)
		body = binary.AppendUvarint(body, uint64(len(runs)))
		for _, r := range runs {
			body = binary.AppendUvarint(body, uint64(r.Start))
			body = binary.AppendUvarint(body, uint64(r.End-r.Start))
		}
	}
	dst = binary.AppendUvarint(dst, groups)
	dst = append(dst, body...)
	return append(dst, st.memory...)
}

// inputOf makes an input record of the lines of this batch that pend; nil if there are none.
func (in *inbound) inputOf(entries []listen.Entry) *inRecord {
	var r *inRecord
	index := uint32(0)
	for _, st := range in.touched {
		for i := range st.lines {
			l := &st.lines[i]
			if l.input != nil {
				continue
			}
			if r == nil {
				r = &inRecord{input: &inputRecord{}}
				r.Input = true
				r.Buf = append(make([]byte, spool.HeaderBytes, spool.HeaderBytes+512), inputVersion)
			}
			r.Buf = appendInputLine(r.Buf, &entries[l.entry], l.clock)
			l.input, l.index, l.entry = r.input, index, -1
			index++
			r.input.pending++
		}
	}
	if r != nil {
		r.Frame = len(r.Buf) - spool.HeaderBytes
	}
	return r
}

func appendInputLine(dst []byte, e *listen.Entry, clock int64) []byte {
	flags := byte(0)
	if e.Whole {
		flags |= inputFlagWhole
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(len(e.Tag)))
	dst = append(dst, e.Tag...)
	dst = binary.AppendVarint(dst, e.Time)
	dst = binary.AppendVarint(dst, clock)
	dst = binary.AppendUvarint(dst, uint64(len(e.Record)))
	return append(dst, e.Record...)
}

var errInput = errors.New("not an input record")

// eachInput calls f for each line of an input record.
func eachInput(frame []byte, f func(index uint32, clock int64, e *listen.Entry)) error {
	r := markReader{b: frame}
	if v := r.byte(); v != inputVersion {
		return fmt.Errorf("%w: version %d, know %d", errInput, v, inputVersion)
	}
	for index := uint32(0); len(r.b) > 0 && !r.bad; index++ {
		var e listen.Entry
		e.Whole = r.byte()&inputFlagWhole != 0
		e.Tag = r.bytes(int(r.count()))
		e.Time = r.varint()
		clock := r.varint()
		e.Record = r.bytes(int(r.count()))
		if r.bad {
			break
		}
		f(index, clock, &e)
	}
	if r.bad {
		return fmt.Errorf("%w: cut off", errInput)
	}
	return nil
}
