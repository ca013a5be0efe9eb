// Package fold turns the lines of one source stream (stdout or stderr of a container, a plain file) into events: the
// pieces of a long Docker line become one line, the lines of one exception report or of one logger call become one event.
//
// It is pure: time is an argument, nothing is read or written, nothing runs. Any split of the input into reads, and any
// times of Tick that agree with the input (a record that follows a Tick bears no earlier time), give the same events. No
// record is lost or given out twice: each is in exactly one event, or in one part of an event that is over its bound.
//
// It does not promise to be right where the lines do not tell: a program that writes a trace without any mark on its
// lines, or two reports line by line into each other without a tag, gets what the shape of the lines suggests.
package fold

import (
	"slices"
	"time"
)

// Pos is where a record lies. File numbers grow in reading order within a source.
type Pos struct {
	File       uint32
	Start, End int64
}

// Line is one record of a stream.
type Line struct {
	Text []byte // without its newline; the caller keeps it as it is until Retain
	Time int64  // the record's own time, Unix ns
	Read int64  // when it was read, Unix ns
	Pos  Pos

	// More says that the record did not end in a newline: the next record of this stream with the same Time goes on with the
	// same line (Docker's 16 KiB pieces, pieces of an over-long plain line). A record with another Time says that this one was
	// a last line without newline.
	More bool
}

// Event is what was folded. It and all it refers to are valid during emit only.
type Event struct {
	Time int64 // of its first line

	// Lines joined by \n are the text. The texts of the parts of one event, one after the other, are its whole text; so a part
	// that ends where a line ends has an empty last line.
	Lines [][]byte
	Pos   []Pos // of all its records in reading order

	Part     int  // 0: whole; 1, 2, ...: pieces of an event that was over its bound or forced out
	PartLast bool // this piece is the final one

	Language, Rule string // what joined it; constant strings
}

// Folder is a validated configuration, shared by all streams. It belongs with its Streams to one goroutine at a time.
type Folder struct {
	enabled  bool
	langs    []*language
	wait     int64
	maxBytes int
	limits   [waits + 1]int64
	openers  *openers
	apart    int64 // as the constant, unless Coarse
	rules    []userRule

	// free are the buffers of streams that have nothing open, so that a thousand quiet streams hold none.
	free      []*event
	freeBytes int

	plain []byte               // for withoutColours
	clock func() time.Duration // to time the user's rules, of which only the difference counts
}

// What free may hold. It is a list and no sync.Pool, which the collector empties at each of its runs: in a small heap those come
// so often that the buffers would be made anew all the time.
const (
	maxFree      = 64
	maxFreeBytes = 1 << 20
)

// get takes an event to use.
func (f *Folder) get() *event {
	n := len(f.free)
	if n == 0 {
		return new(event)
	}
	e := f.free[n-1]
	f.free = f.free[:n-1]
	f.freeBytes -= cap(e.own)
	return e
}

// put gives an event back.
func (f *Folder) put(e *event) {
	if len(f.free) < maxFree && f.freeBytes+cap(e.own) <= maxFreeBytes {
		f.free = append(f.free, e)
		f.freeBytes += cap(e.own)
	}
}

// New validates the configuration and compiles its rules.
func New(cfg Config) (*Folder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	langs, err := languagesFor(cfg.Languages)
	if err != nil {
		return nil, err
	}
	rules, err := compileRules(cfg.Rules)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(langs, golang); i > 0 { // before ruby, which takes "SIGQUIT: quit" for the name of an exception
		langs = slices.Insert(slices.Delete(slices.Clone(langs), i, i+1), 0, golang)
	}
	began := time.Now()
	return &Folder{
		enabled:  cfg.Enabled,
		langs:    langs,
		wait:     int64(cfg.Wait),
		maxBytes: int(cfg.MaxBytes),
		limits:   limits(int64(cfg.Wait)),
		openers:  openersOf(langs),
		apart:    apart,
		rules:    rules,
		clock:    func() time.Duration { return time.Since(began) },
	}, nil
}

// Coarse is for lines whose times are those of a relay that may be held up between two lines of one write, as Docker's fluentd driver is
// by its receiver: that they lie half a millisecond apart says nothing.
func (f *Folder) Coarse() { f.apart = shortWait }

// Stream is the state of one source stream.
func (f *Folder) Stream(tag string) *Stream {
	return &Stream{f: f, rule: f.ruleFor(tag)}
}
