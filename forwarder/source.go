package forwarder

import (
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/metadata"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/forwarder/tail"
)

// source is one log as its writer sees it: a container, or a plain file by its path. What was rotated away belongs to it, so what
// the folds hold goes on across a rotation. Discovery makes it; from then on all but hinted belongs to the reading loop.
type source struct {
	name    string // path of the live file; the marks are kept under it
	format  format
	chain   *tail.Chain
	opened  time.Time // when its first file was taken over
	hinted  atomic.Bool
	recalls []recall // what an earlier life remembered, in reading order
	adopted bool     // files were taken over at least once

	// Of a container.
	dir       string
	found     atomic.Pointer[identity] // who it is, once discovery could read it
	container metadata.Container
	excluded  bool // it came to be known that it is not to be read

	host   *hostLog // nil: it is none
	volume *volume  // nil: its files are left to others
	// doneSeq is, of each rotated file that was let go, the record up to which all its events are in the spool. Only with a volume.
	doneSeq    map[tail.ID]uint64
	doneBefore uint64 // the same of those that are not in it

	tag     string
	fold    *fold.Folder
	ready   bool // the tag is fixed, reading may begin
	streams []*stream
	files   []*openFile // in reading order; those before the current one are held for late bytes
	current int
	number  uint32 // of the file opened last
	// stale are keys of marks that are to be forgotten with the next mark written.
	stale []string

	builder  *builder
	unmarked bool // events of it are in the builder that no mark covers yet
	more     bool // the last visit found more than it took
	eof      bool // the last visit came to the end, with nothing half-written there
	eofAt    int64
	drained  bool  // nothing was left to read when it was last read
	clock    int64 // time of lines that have none of their own
	nextLook int64
	deadline int64 // when the first of its folds ends something by time; 0 for none
	lastData int64
	lastPoll int64 // when files held for late bytes were looked at
	pending  int   // bytes in its folds
	trouble  trouble
	events   int64
	lines    int64
	bytes    int64
	lastSeq  uint64 // of the newest record that holds an event of it
	gone     bool   // deleted, read to its end, its folds flushed
}

type format int

const (
	jsonFile format = iota
	plain
)

// recall is a mark of an earlier life, with the key it stood under.
type recall struct {
	key  string
	mark mark
}

// openFile is a file of a source with what the loop knows of it.
type openFile struct {
	*tail.File
	number   uint32
	fed      int64        // the line after the last one given to the fold begins here
	done     []int64      // by stream: end of the last line in it that any emitted event holds
	cover    []streamMark // what an earlier life emitted of it
	passed   int64        // when reading went on to the next file; 0 for the current one
	long     bool         // what follows belongs to a line too long for the read buffer
	longAt   int64        // that line's time
	unpacked bool         // it came from an archive: nothing is appended to it
	tailAt   int64        // when the half-written last line was first seen
	tailN    int          // its length then
	marked   int64        // where reading would go on by the mark made last
	key      string       // of its marks
	keyOf    tail.ID      // for which key was made
	acked    points       // only with a volume, as the next
	synced   points
}

// stream is stdout or stderr of a container, or the one stream of a plain file.
type stream struct {
	name    string
	index   int
	source  *source
	fold    *fold.Stream
	fields  fluent.Fields
	last    int64 // time of the last record
	lag     int64 // of a host log: by which its lines are older than they seem
	partial bool  // it did not end its line
	givenUp bool  // the user's rule took too long
	emit    func(*fold.Event)
}

// trouble is a repeating failure that is logged when it begins and when it ends.
type trouble struct{ err string }

// file finds an open file by its number, the current one first: nearly every event lies in it.
func (s *source) file(number uint32) *openFile {
	for i := len(s.files) - 1; i >= 0; i-- {
		if s.files[i].number == number {
			return s.files[i]
		}
	}
	return nil
}

// stream finds or makes the stream of a name.
func (l *loop) stream(s *source, name string) *stream {
	for _, st := range s.streams {
		if st.name == name {
			return st
		}
	}
	st := &stream{name: name, index: len(s.streams), source: s, fold: s.fold.Stream(s.tag)}
	st.emit = func(ev *fold.Event) { l.emit(st, ev) }
	if s.host != nil {
		st.fields.Add("source", s.host.name)
	} else if s.format == plain {
		st.fields.Add("source", s.name)
	} else {
		st.fields.Add("source", name)
		for _, f := range namesOf(s.container, l.cfg.Sources.Containers.Labels) {
			st.fields.Add(f.key, f.value)
		}
	}
	l.instance.addTo(&st.fields)
	for i := len(s.recalls) - 1; i >= 0; i-- { // the newest file's mark was written last
		m := s.recalls[i].mark
		if k := slices.IndexFunc(m.Streams, func(sm streamMark) bool { return sm.Name == name }); k >= 0 {
			st.fold.SetMemory(m.Streams[k].Memory)
			break
		}
	}
	s.streams = append(s.streams, st)
	return st
}

// nameWait is how long a container's configuration is waited for before its short id names it.
const nameWait = 200 * time.Millisecond

// prepare fixes the tag, which holds to the source's end. It answers false while the name is not known.
func (s *source) prepare(now time.Time, tags tagTemplate) (bool, error) {
	if s.ready {
		return true, nil
	}
	if s.unwanted() {
		return false, nil
	}
	var err error
	if s.dir != "" {
		c := s.found.Load()
		if c == nil {
			if now.Sub(s.opened) < nameWait {
				return false, nil
			}
			c = &identity{Container: metadata.Container{ID: filepath.Base(s.dir)}}
		}
		s.container = c.Container
		s.tag, err = tags.tag(s.container)
	}
	s.ready = true
	return true, err
}

// isDone notes that all events of a file that is let go are in records up to seq.
func (s *source) isDone(id tail.ID, seq uint64) {
	if s.doneSeq == nil || len(s.doneSeq) >= maxDone {
		s.doneSeq = map[tail.ID]uint64{} // those forgotten are taken to be as new as the newest
		s.doneBefore = seq
	}
	s.doneSeq[id] = seq
}

// maxDone is how many rotated files of a source are remembered that were not deleted.
const maxDone = 1024

// known says whether all is known that a container's configuration tells.
func (s *source) known() bool {
	c := s.found.Load()
	return c != nil && c.Driver != ""
}

// unwanted says whether it came to be known, before anything was read, that the container is not to be read.
func (s *source) unwanted() bool {
	if s.ready || s.excluded {
		return s.excluded
	}
	c := s.found.Load()
	s.excluded = c != nil && c.excluded != ""
	return s.excluded
}

// adopt takes over the files that discovery opened.
func (s *source) adopt(now time.Time) []*openFile {
	fresh := s.chain.Take()
	if len(fresh) == 0 {
		return nil
	}
	if s.number == 0 {
		for _, r := range s.recalls {
			s.number = max(s.number, r.mark.Number)
		}
	}
	adopted := make([]*openFile, 0, len(fresh))
	for _, f := range fresh {
		s.number++
		of := &openFile{File: f, number: s.number, fed: f.Offset()}
		if f.Known >= 0 {
			of.cover = s.recalls[f.Known].mark.Streams
		}
		s.files = append(s.files, of)
		adopted = append(adopted, of)
	}
	if !s.adopted { // the keys of files that are gone, or have another identity now, are forgotten with the next mark
		s.adopted = true
		s.opened = now
		for _, r := range s.recalls {
			if !slices.ContainsFunc(s.files, func(f *openFile) bool { return markKey(s.name, f.ID) == r.key }) {
				s.stale = append(s.stale, r.key)
			}
		}
	}
	return adopted
}

// marks appends the marks of all files of the source to a record.
func (l *loop) marks(dst []byte, s *source) []byte {
	// A file that is done is remembered until a newer one has a marker to be told by, should it be packed while we are down: that
	// one is then known by its place behind the other.
	if len(s.files) == 0 || slices.ContainsFunc(s.files, func(f *openFile) bool { return f.fed >= tail.MarkerBytes }) {
		for _, key := range s.stale { // before the marks: a new file may have been given the same key
			dst = spool.AppendMark(dst, key, nil)
		}
		s.stale = s.stale[:0]
	}
	l.pend = l.pend[:0]
	l.open = l.open[:0]
	for _, st := range s.streams {
		from := len(l.open)
		l.open = st.fold.Open(l.open)
		l.pend = append(l.pend, pending{from, len(l.open), st.fold.Memory()})
	}
	for _, f := range s.files {
		m := mark{Number: f.number, ID: f.ID, Streams: l.made[:0]}
		high := f.fed
		for i, st := range s.streams {
			p := &l.pend[i]
			open := ofFile(l.open[p.from:p.to], f.number)
			sm := newStreamMark(st.name, open, f.coverOf(st.name), f.doneOf(st.index), f.fed, p.memory)
			high = max(high, sm.Done)
			m.Streams = append(m.Streams, sm)
		}
		for _, sm := range f.unmet(s.streams) {
			sm.From = max(sm.From, f.fed) // none of the lines up to there was of this stream
			high = max(high, sm.Done)
			m.Streams = append(m.Streams, sm)
		}
		m.Marker = f.Marker(high)
		f.marked = m.resume()
		l.value = m.append(l.value[:0])
		dst = spool.AppendMark(dst, f.markKey(s.name), l.value)
		l.made = m.Streams
	}
	return dst
}

// markKey is what its marks have for a key; the identity may change while the file is open.
func (f *openFile) markKey(source string) string {
	if f.key == "" || f.keyOf != f.ID {
		f.key, f.keyOf = markKey(source, f.ID), f.ID
	}
	return f.key
}

// pending is what a stream's fold says for its marks: the records that pend, as a part of loop.open, and its memory.
type pending struct {
	from, to int
	memory   []byte
}

// ofFile is the part of ascending positions that lies in a file.
func ofFile(open []fold.Pos, number uint32) []fold.Pos {
	for len(open) > 0 && open[0].File < number {
		open = open[1:]
	}
	for len(open) > 0 && open[len(open)-1].File > number {
		open = open[:len(open)-1]
	}
	return open
}

func (f *openFile) doneOf(stream int) int64 {
	var done int64
	if stream < len(f.done) {
		done = f.done[stream]
	}
	return done
}

func (f *openFile) setDone(stream int, end int64) {
	for len(f.done) <= stream {
		f.done = append(f.done, 0)
	}
	f.done[stream] = max(f.done[stream], end)
}

// unmet are the marks of streams that an earlier life saw in the file and this one has not met again yet.
func (f *openFile) unmet(met []*stream) []streamMark {
	var marks []streamMark
	for _, c := range f.cover {
		if !slices.ContainsFunc(met, func(st *stream) bool { return st.name == c.Name }) {
			marks = append(marks, c)
		}
	}
	return marks
}

// coverOf is what an earlier life emitted of a stream in the file; nil where nothing is known.
func (f *openFile) coverOf(name string) *streamMark {
	for i := range f.cover {
		if f.cover[i].Name == name {
			return &f.cover[i]
		}
	}
	return nil
}
