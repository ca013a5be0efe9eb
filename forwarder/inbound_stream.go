package forwarder

import (
	"cmp"
	"hash/maphash"
	"slices"
	"sort"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/listen"
)

// inStream is stdout or stderr of a container whose lines come over the listener, from whichever connection. It is guarded by inbound.mu.
//
// It has a clock of its own, on which the fold judges what belongs together. It is the time of the lines less the time in which the
// client could not go on because of us: a client that asks for acks writes the second line of a trace when we have acked the
// first, and one whose socket is full because the spool is writes it when there is room again. No wait of ours tears a trace.
// Where times come in whole seconds, it is the time in which nothing came though we were ready.
type inStream struct {
	key, tag string
	fold     *fold.Stream
	emit     func(*fold.Event)
	fields   fluent.Fields
	names    []name // what this host knows of the container
	placed   bool   // the fields have the instance's id
	sum      uint64 // of the fields
	known    bool   // the fields are set
	lines    []inLine
	n        int64 // number of the last line; the Pos of the fold

	partial   bool // the last line goes on
	partialID []byte
	ordinal   int

	clock       int64
	gap         int64 // by which the next line is later
	conn        *listen.Conn
	nth         int   // lines that came over conn
	waited      int64 // what conn had waited when the last line came
	read        int64 // when that was
	lastTime    int64
	lastText    uint64 // a hash
	lastOrdinal int
	whole       bool // it came in whole seconds
	fresh       bool // nothing came yet in this life
	recalled    bool // lines of it were recovered, and its client did not come back yet

	pending   int
	waiting   bool // it is in inbound.waiting
	touched   bool // it is in inbound.touched
	dirty     bool // a line was emitted that lies in an input record
	emitted   bool // in this batch
	memory    []byte
	marked    bool   // the spool has a mark of it
	local     string // first digits of the container's id, where it is one of this host and the source one of its streams
	hadKey    string
	had       had  // how far it was received
	hadSaved  had  // the same by the marks in the spool
	told      bool // a mark says its tag
	partClock int64
	partTime  int64
}

// inLine is a line that pends, or of the batch at hand.
type inLine struct {
	n     int64
	time  int64 // its own
	clock int64
	entry int  // of the batch; -1: none
	back  bool // it was back-filled
	input *inputRecord
	index uint32 // in the input record
}

// stream finds or makes the stream of a line.
func (in *inbound) stream(tag []byte, l *listen.Line) *inStream {
	k := append(in.keyBuf[:0], tag...)
	k = append(k, 0)
	k = append(k, l.ContainerID...)
	k = append(k, 0)
	k = append(k, l.Source...)
	in.keyBuf = k
	if st := in.streams[string(k)]; st != nil {
		return st
	}
	st := &inStream{key: string(k), tag: string(tag), fresh: true, clock: in.now()}
	st.fold, st.names = in.folding.Stream(st.tag), in.hostNames(l.ContainerID)
	st.emit = func(ev *fold.Event) { in.emit(st, ev) }
	if source := string(l.Source); len(st.names) > 0 && (source == "stdout" || source == "stderr") {
		st.local = shortID(string(l.ContainerID))
		st.hadKey = hadPrefix + st.local + "\x00" + sourceKey(source)
		st.had = in.before[st.local][sourceKey(source)]
		st.hadSaved = st.had
		in.locals[string(l.ContainerID)] = true
	}
	if m, ok := in.recalled.streams[st.key]; ok {
		st.fold.SetMemory(m.memory)
		st.memory, st.marked = m.memory, true
	}
	in.streams[st.key] = st
	return st
}

// tell moves the clock of the stream on to a line that came over c.
func (st *inStream) tell(c *listen.Conn, e *listen.Entry, now int64) {
	waited := c.Waited()
	if !st.fresh {
		elapsed := max(0, now-st.read)
		idle := elapsed // in which the client could write
		if c == st.conn {
			idle = min(elapsed, waited-st.waited)
		}
		busy := elapsed - idle
		own := max(0, e.Time-st.lastTime)
		switch {
		case !e.Whole && !st.whole:
			st.gap = max(0, own-busy)
			// A line that was written after we were ready for it came that much later, however long the one before took to
			// reach us: a client that was cut off sends its last line again, with the time it had.
			if since := e.Time - (now - idle); since >= 0 {
				st.gap = min(st.gap, since)
			}
		default:
			st.gap = max(min(idle, own+1e9), own-1e9-busy)
		}
	}
	if st.nth++; c != st.conn {
		st.nth = 1
	}
	// A driver that cannot connect holds one line. The next it reads, and gives its time, when it has sent that one.
	if st.nth == 2 && st.lastTime < c.Since() && e.Time > c.Since()-int64(time.Second) {
		st.gap = min(st.gap, max(0, e.Time-c.Since()))
	}
	st.fresh, st.recalled = false, false
	st.conn, st.waited, st.read = c, waited, now
	st.lastTime, st.whole = e.Time, e.Whole
}

// again says whether a client whose connection broke sends a line that the spool has: it had no ack for it. Only a time in nanoseconds
// tells that from two lines that are alike. Within a trace the line would stand there twice, or tear it.
func (st *inStream) again(c *listen.Conn, e *listen.Entry) bool {
	return c != st.conn && st.n > 0 && !e.Whole && e.Time == st.lastTime && e.Line.Ordinal == st.lastOrdinal &&
		maphash.Bytes(inSeed, e.Line.Text) == st.lastText
}

// at finds a line by its number; nil if it does not pend.
func (st *inStream) at(n int64) *inLine {
	i := sort.Search(len(st.lines), func(i int) bool { return st.lines[i].n >= n })
	if i == len(st.lines) || st.lines[i].n != n {
		return nil
	}
	return &st.lines[i]
}

// timeOf is the own time of the first line of an event. Pieces of one bear the time of the whole.
func (st *inStream) timeOf(ev *fold.Event) int64 {
	if ev.Part > 1 && st.partClock == ev.Time {
		return st.partTime
	}
	t := ev.Time
	if l := st.at(ev.Pos[0].Start); l != nil {
		t = l.time
	}
	if ev.Part == 1 {
		st.partClock, st.partTime = ev.Time, t
	}
	return t
}

// due says whether a fold with the deadline d (on the stream's clock) is to be ended now, and when to ask again if not. It is not while
// we are at work on what the client sent, or something of it lies in the socket.
func (st *inStream) due(d, now int64) (clock, again int64) {
	from := st.read
	if st.recalled {
		from += int64(inReconnect)
	}
	check := func() bool { return true }
	if c := st.conn; c != nil {
		since, _ := c.Waiting()
		if since == 0 {
			return 0, now + int64(inTickEvery)
		}
		from = max(from, since)
		check = func() bool {
			_, empty := c.Free()
			return empty || now-since > int64(inPartialGrace)
		}
	}
	if clock = st.clock + now - from; clock < d {
		return 0, now + d - clock
	}
	if !check() {
		return 0, now + int64(inTickEvery)
	}
	return clock, 0
}

// sweep forgets streams that have been silent for long, and the oldest where there are too many.
func (in *inbound) sweep(now int64) {
	if now-in.swept < int64(inQuiet)/60 && len(in.streams) <= inStreams {
		return
	}
	in.swept = now
	in.forgetHads()
	var idle []*inStream
	for _, st := range in.streams {
		if len(st.lines) == 0 && !st.touched {
			idle = append(idle, st)
		}
	}
	slices.SortFunc(idle, func(a, b *inStream) int { return cmp.Compare(a.read, b.read) })
	for _, st := range idle {
		if now-st.read < int64(inQuiet) && len(in.streams) <= inStreams*9/10 {
			return
		}
		delete(in.streams, st.key)
		delete(in.recalled.streams, st.key)
		if st.marked {
			in.spool.SetMark(inMarkPrefix+st.key, nil)
		}
	}
}
