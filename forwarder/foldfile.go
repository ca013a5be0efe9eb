package forwarder

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/parse"
)

// Folded is an event that FoldFile made. Its JSON form is stable: `fairlead fold --json` prints it.
type Folded struct {
	Stream   string `json:"stream"`            // of the json-file; empty for plain lines
	First    int    `json:"first"`             // number of its first record in the input, from 1
	Last     int    `json:"last"`              // and of its last
	Records  []int  `json:"records,omitempty"` // all of them, if they are not simply First to Last
	Log      string `json:"log"`
	Language string `json:"language"`
	Rule     string `json:"rule"`
	Part     int    `json:"part,omitempty"` // only of an event over `fold.max_bytes`
	PartLast bool   `json:"part_last,omitempty"`

	// Fields are those that the event's record has beside its text: level, exception.class, exception.message, exception.frame.
	Fields map[string]string `json:"-"`

	Lines []FoldedLine `json:"-"` // only if asked for
}

// FoldedLine says why a line is where it is.
type FoldedLine struct {
	Record int // its first record
	Text   string
	Rule   string
}

// FoldFile folds a Docker json-file or plain lines as the daemon would fold a log with the tag, and gives every event to emit in
// the order in which they end. The first line tells which of the two the input is. Plain lines have no times, so no pause
// between them ends an event. An error of emit ends it.
func FoldFile(in io.Reader, cfg Config, tag string, explain bool, emit func(*Folded) error) error {
	folder, err := fold.New(cfg.Fold)
	if err != nil {
		return err
	}
	f := fileFold{folder: folder, tag: tag, explain: explain, emit: emit}
	r := bufio.NewReaderSize(in, bufferBytes)
	for f.failed == nil {
		line, err := r.ReadSlice('\n')
		whole := bytes.HasSuffix(line, []byte("\n"))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			f.text(line, true)
		case len(line) > 0:
			f.record(bytes.TrimSuffix(line, []byte("\n")))
		}
		if whole {
			f.number++
		}
		if errors.Is(err, io.EOF) {
			f.flush()
			break
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	return f.failed
}

// fileFold is the state of one FoldFile.
type fileFold struct {
	folder  *fold.Folder
	tag     string
	explain bool
	emit    func(*Folded) error
	failed  error // what emit said

	number  int  // of the records before the one at hand
	decided bool // what the input is
	json    bool
	long    bool // what follows belongs to a line that fills the buffer
	streams []*fileStream
	scratch []byte
}

type fileStream struct {
	name  string
	fold  *fold.Stream
	time  int64          // of its last record
	rules map[int]string // by record, of lines that pend
}

func (f *fileFold) record(line []byte) {
	if f.long {
		f.long = false
		f.text(line, false)
		return
	}
	rec, scratch, ok := parse.JSONFile(line, f.scratch[:0])
	f.scratch = scratch
	if !f.decided {
		f.decided, f.json = true, ok
	}
	switch {
	case !f.json:
		f.text(line, false)
	case ok:
		f.docker(rec)
	default:
		f.broken(line)
	}
}

func (f *fileFold) docker(rec parse.Record) {
	s := f.stream(rec.Stream)
	s.time = rec.Time
	f.add(s, rec.Text, rec.Partial)
}

// broken is a line of a json-file that is no record: it is text, and the record that may follow in it is one.
func (f *fileFold) broken(line []byte) {
	garbage, record := parse.Salvage(line)
	rec, scratch, ok := parse.JSONFile(record, f.scratch[:0])
	f.scratch = scratch
	if record == nil || !ok {
		f.text(line, false)
		return
	}
	f.text(garbage, false)
	f.docker(rec)
}

// text adds bytes that have no time and stream of their own.
func (f *fileFold) text(text []byte, more bool) {
	if more {
		f.decided, f.long = true, true
	}
	name := ""
	if f.json {
		name = "stdout"
	}
	f.add(f.stream(name), text, more)
}

func (f *fileFold) add(s *fileStream, text []byte, more bool) {
	n := int64(f.number)
	s.fold.Add(fold.Line{Text: text, Time: s.time, Read: s.time, Pos: fold.Pos{Start: n, End: n + 1}, More: more}, f.out(s))
	s.fold.Retain()
}

func (f *fileFold) flush() {
	for _, s := range f.streams {
		s.fold.Flush(f.out(s))
	}
}

func (f *fileFold) stream(name string) *fileStream {
	if i := slices.IndexFunc(f.streams, func(s *fileStream) bool { return s.name == name }); i >= 0 {
		return f.streams[i]
	}
	s := &fileStream{name: name, fold: f.folder.Stream(f.tag), time: 1}
	if f.explain {
		s.rules = map[int]string{}
		s.fold.Trace = func(pos []fold.Pos, rule string) { s.rules[int(pos[0].Start)] = rule }
	}
	f.streams = append(f.streams, s)
	return s
}

// out makes of an event of the stream what emit gets.
func (f *fileFold) out(s *fileStream) func(*fold.Event) {
	return func(e *fold.Event) {
		if f.failed != nil {
			return
		}
		records := make([]int, 0, len(e.Pos))
		for _, p := range e.Pos {
			records = append(records, int(p.Start)+1)
		}
		slices.Sort(records)
		records = slices.Compact(records)
		out := &Folded{
			Stream: s.name, First: records[0], Last: records[len(records)-1], Log: string(bytes.Join(e.Lines, []byte("\n"))),
			Language: e.Language, Rule: e.Rule, Part: e.Part, PartLast: e.PartLast,
		}
		if out.Last-out.First+1 != len(records) {
			out.Records = records
		}
		level, fields := fieldsOf(nil, e)
		if level != "" || len(fields) > 0 {
			out.Fields = map[string]string{}
		}
		if level != "" {
			out.Fields["level"] = level
		}
		for _, field := range fields {
			out.Fields[field.Key] = string(bytes.ToValidUTF8(field.Value, []byte("\ufffd")))
		}
		if f.explain {
			out.Lines = s.explain(e)
		}
		f.failed = f.emit(out)
	}
}

// explain tells for each line of the event which rule placed it. A line of several records has its rule at the first of them.
func (s *fileStream) explain(e *fold.Event) []FoldedLine {
	lines := make([]FoldedLine, 0, len(e.Lines))
	for _, p := range e.Pos {
		n := int(p.Start)
		if rule, ok := s.rules[n]; ok && len(lines) < len(e.Lines) {
			lines = append(lines, FoldedLine{n + 1, string(e.Lines[len(lines)]), rule})
			delete(s.rules, n)
		}
	}
	for len(lines) < len(e.Lines) { // the rest of a line that an earlier part began
		lines = append(lines, FoldedLine{int(e.Pos[len(e.Pos)-1].Start) + 1, string(e.Lines[len(lines)]), "goes on"})
	}
	return lines
}
