package forwarder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/journal"
	"github.com/fairlead/fairlead/forwarder/parse"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// Validate names the first key that is wrong, its value and what would be accepted.
func (c Journal) Validate() error {
	for _, u := range c.Units {
		if u == "" || strings.ContainsAny(u, " \t\n*?[]/") || u[0] == '-' {
			return fmt.Errorf("sources.journal.units: %q is not the name of a unit: use one like docker or docker.service", u)
		}
	}
	if c.Directory != "" && !filepath.IsAbs(c.Directory) {
		return fmt.Errorf("sources.journal.directory: %q is not an absolute path", c.Directory)
	}
	return nil
}

const (
	journalEvery    = 20 * time.Millisecond // a turn begins at the earliest this long after the last
	journalLook     = 10 * time.Second      // for a journal where there is none
	journalRetry    = 100 * time.Millisecond
	journalChildAge = time.Hour // a child holds journal files open that are deleted meanwhile
	journalHealthy  = 10 * time.Second
	journalFirst    = 250 * time.Millisecond // pause after a child that failed; it doubles
	journalBackoff  = time.Minute

	// journald tells those who follow it of new entries at most every 250 ms: the rest of a trace may come so much later than its begin,
	// and it lasts longer while journalctl reads what is old from the disk.
	journalSettle = 400 * time.Millisecond

	journalStreams = 64       // that are remembered
	journalRecent  = 16 << 10 // entries behind the oldest that pends
	journalFold    = 4 << 20  // bytes in all its folds
	journalFails   = 5        // in a row, until other sources are to do without it
)

// journalIn is the journal's way into the spool: its folds, frames and marks. Its goroutine reads from journalctl, when there is
// room in the spool and never otherwise, and is the only one that changes anything; the mutex is for those who ask.
//
// Entries are numbered as they come, from the first that an earlier life ever read, and their numbers are the positions of the folds.
// The mark says which entry is the last before the oldest that pends, by its cursor, and which of those behind it were emitted:
// after a restart all behind it are read again, and none is emitted twice.
type journalIn struct {
	cfg      journal.Config
	record   Record
	folding  *fold.Folder
	spool    *spool.Spool
	log      *slog.Logger
	metrics  *metrics
	packer   *fluent.Compressor
	copies   *copies
	instance *instance
	taps     *Taps
	appended func()

	on    atomic.Bool  // it is read, or will be in a moment
	since atomic.Int64 // from when on it is: Unix ns

	mu       sync.Mutex // guards what follows
	state    string
	streams  map[string]*journalStream
	covers   []streamMark // of an earlier life, of streams not met yet
	recent   []journalPos // the entry that the mark names, and those behind it
	awaits   bool         // the next entry is to be the newest of recent: it was read
	known    []string     // the units that the mark is of; nil: as now
	builders map[string]*inBuilder
	active   []*inBuilder
	queue    []*spool.Record
	emitted  bool  // since the last mark
	read     int64 // when the last entry was
	newest   int64 // time of the last entry
	taken    int64
	received int64
	building int64
	noted    int64 // when the mark was last given to the spool without a record
	notedN   int64

	host    parse.Host
	fields  []fluent.Field
	id      []byte
	joined  []byte
	openBuf []fold.Pos
	trouble trouble
	failing trouble
}

// journalPos is an entry that was read.
type journalPos struct {
	n        int64
	cursor   string
	priority int8
}

// journalStream is what one process writes of one log.
type journalStream struct {
	name    string
	log     *hostLog
	tag     string
	fold    *fold.Stream
	emit    func(*fold.Event)
	fields  fluent.Fields
	placed  bool // the fields have the instance's id
	cover   *streamMark
	done    int64
	lag     int64
	partial bool
	time    int64 // of the first piece of a line
	used    int64 // when its last line was read
}

func newJournalIn(cfg Config, folding *fold.Folder, sp *spool.Spool, cp *copies, log *slog.Logger, m *metrics) *journalIn {
	j := &journalIn{
		cfg: journal.Config{Directory: cfg.Sources.Journal.Directory}, record: cfg.Record, folding: folding, spool: sp, log: log, metrics: m, copies: cp,
		packer: fluent.NewCompressor(cfg.Forward.Compress), streams: map[string]*journalStream{}, builders: map[string]*inBuilder{},
		recent: []journalPos{{}}, state: "off", appended: func() {},
	}
	for _, u := range cfg.Sources.Journal.Units {
		j.cfg.Units = append(j.cfg.Units, journal.UnitName(u))
	}
	return j
}

// prepare decides, before anything is read, whether the journal will be: other sources leave its entries to it then.
func (j *journalIn) prepare() {
	if len(j.cfg.Units) == 0 {
		return
	}
	missing := j.cfg.Missing()
	j.on.Store(missing == "")
	if missing == "" {
		j.tell("starting")
	} else {
		j.tell("waiting: " + missing)
	}
}

// takes says whether an event of a log at a time is in the journal, and read from there.
func (j *journalIn) takes(l *hostLog, t int64) bool {
	return j.on.Load() && t >= j.since.Load() && slices.ContainsFunc(l.units, func(u string) bool { return slices.Contains(j.cfg.Units, u) })
}

func (j *journalIn) tell(state string) {
	j.mu.Lock()
	j.state = state
	j.mu.Unlock()
}

// run supervises journalctl until the context ends. A journal that is not there is waited for.
func (j *journalIn) run(ctx context.Context) error {
	if len(j.cfg.Units) == 0 {
		return nil
	}
	fails := 0
	for ctx.Err() == nil {
		if missing := j.cfg.Missing(); missing != "" {
			j.on.Store(false)
			j.tell("waiting: " + missing)
			pause(ctx, journalLook)
			continue
		}
		read, err := j.follow(ctx)
		if read {
			fails = 0
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if fails++; fails >= journalFails {
			j.on.Store(false)
		}
		j.tell("failing: " + err.Error())
		j.failing.report(j.log, "the journal cannot be followed; tried again, with pauses up to a minute", err)
		pause(ctx, min(journalFirst<<min(fails-1, 10), journalBackoff))
	}
	return nil
}

// follow takes what one child reads, and says whether that was anything, or at least for long. It returns nil for a child that was
// ended because of its age.
func (j *journalIn) follow(ctx context.Context) (read bool, err error) {
	from := j.recent[len(j.recent)-1].cursor
	child, err := j.cfg.Open(from)
	if err != nil {
		return false, err
	}
	j.mu.Lock()
	j.awaits = from != ""
	j.mu.Unlock()
	interrupted := child.Interrupt(ctx)
	got := false
	for err == nil && ctx.Err() == nil {
		if err = j.room(ctx); err != nil {
			break
		}
		turn := time.Now()
		if err = child.Read(j.deadline(child), func(e *journal.Entry) {
			now := time.Now().UnixNano()
			if !got {
				got = true
				j.healthy()
			}
			j.mu.Lock()
			j.take(e, now)
			j.mu.Unlock()
		}); errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
			if !got && child.Age() > journalHealthy {
				got = true
				j.healthy() // nothing was written: that is no fault
			}
			if j.tick(time.Now().UnixNano()) && child.Age() > journalChildAge {
				break
			}
			continue
		}
		j.mu.Lock()
		j.endBatch()
		j.mu.Unlock()
		pause(ctx, journalEvery-time.Since(turn))
	}
	interrupted()
	said, how := child.Close()
	if err == nil || ctx.Err() != nil { // it was told to end
		return got, nil //nolint:nilerr // what it says of that is no failure
	}
	if from != "" && !got && strings.Contains(said, "cursor") {
		j.mu.Lock()
		j.lost("journalctl refuses it")
		j.recent = []journalPos{{n: j.recent[len(j.recent)-1].n}}
		j.mu.Unlock()
	}
	if said != "" {
		return got, fmt.Errorf("%w: it says: %s", err, said)
	}
	if how != nil {
		return got, fmt.Errorf("%w: %w", err, how)
	}
	return got, err
}

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (j *journalIn) healthy() {
	j.on.Store(true)
	j.failing.over(j.log, "the journal is followed again")
	j.tell("reading")
}

// deadline is until when the next entry is waited for.
func (j *journalIn) deadline(c *journal.Child) time.Time {
	end := time.Now().Add(max(journalChildAge-c.Age(), time.Second))
	if c.Age() < journalHealthy {
		end = time.Now().Add(journalHealthy)
	}
	first := int64(math.MaxInt64)
	for _, st := range j.streams {
		if d := st.fold.Deadline(); d > 0 {
			first = min(first, d)
		}
	}
	if first == math.MaxInt64 {
		return end
	}
	return time.Unix(0, max(first, j.read+int64(journalSettle)))
}

// tick ends what has waited long enough. It answers whether nothing pends.
func (j *journalIn) tick(now int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, st := range j.streams {
		if d := st.fold.Deadline(); d > 0 && d <= now && now-j.read >= int64(journalSettle) {
			st.fold.Tick(now, st.emit)
		}
	}
	j.endBatch()
	j.note(now)
	return len(j.recent) == 1
}

// take gives an entry to the fold of its stream.
func (j *journalIn) take(e *journal.Entry, now int64) {
	if j.awaits {
		j.awaits = false
		if journal.Same(string(e.Cursor), j.recent[len(j.recent)-1].cursor) {
			j.newest = max(j.newest, e.Time)
			return
		}
		if j.known == nil {
			j.lost("its entry was deleted")
			j.since.Store(e.Time)
		}
		j.dropCovers()
	}
	j.known = nil
	n := j.recent[len(j.recent)-1].n + 1
	j.recent = append(j.recent, journalPos{n, string(e.Cursor), int8(e.Priority)})
	j.read, j.newest = now, e.Time
	j.taken++
	j.metrics.journalEntries.Inc()
	if e.Cut > 0 {
		j.metrics.lostBytes.WithLabelValues(lostJournal).Add(float64(e.Cut))
		j.log.Error("message in the journal is too long; its end is lost", "unit", string(e.Unit), "bytes_lost", e.Cut, "max", journal.MaxMessage)
	}
	unit, own := e.Unit, true
	if !slices.Contains(j.cfg.Units, string(unit)) {
		unit, own = e.About, false
	}
	if e.IsDropNotice() {
		dropped, of := dropNotice(e)
		if unit, own = e.About, false; !slices.Contains(j.cfg.Units, string(unit)) {
			unit = of
		}
		if !slices.Contains(j.cfg.Units, string(unit)) {
			return // another service's
		}
		j.metrics.journalSuppressed.Add(float64(dropped))
	}
	if len(e.Message) == 0 {
		return
	}
	l := journalLog(string(unit), string(e.Ident))
	if own && j.copies.inFile(l, e.Message, e.Time, &j.host) || !own && !e.IsDropNotice() && j.copies.inMessages(e.Time) {
		j.metrics.journalCopies.Inc()
		return
	}
	st := j.stream(l, string(unit), e)
	t := e.Time
	if st.partial {
		t = st.time // the pieces of a line bear one time, by which the fold knows them
	}
	st.time, st.partial, st.used = t, e.More, now
	st.fold.Add(fold.Line{Text: e.Message, Time: t, Read: now, Pos: fold.Pos{Start: n, End: n + 1}, More: e.More}, st.emit)
	st.fold.Retain()
	j.bound()
	if b := j.builders[st.tag]; b != nil && b.active && b.Bytes() >= frameBytes {
		j.seal(b)
		j.active = slices.DeleteFunc(j.active, func(o *inBuilder) bool { return o == b })
	}
}

// dropNotice reads "Suppressed 1234 messages from docker.service". Old versions name the folder of the control group.
func dropNotice(e *journal.Entry) (n int64, unit []byte) {
	n = e.Dropped
	words := bytes.Fields(e.Message)
	if len(words) == 5 && string(words[0]) == "Suppressed" {
		if v, err := strconv.ParseInt(string(words[1]), 10, 64); err == nil && n == 0 {
			n = v
		}
		unit = words[4][bytes.LastIndexByte(words[4], '/')+1:]
	}
	return n, unit
}

// journalLog is the log that a unit's entries belong to. ecs.service runs ecs-init, on Bottlerocket the agent.
func journalLog(unit, ident string) *hostLog {
	for _, l := range hostLogs {
		if slices.Contains(l.units, unit) && slices.Contains(l.idents, ident) {
			return l
		}
	}
	if unit == "ecs.service" {
		return hostLogOf("ecs-init")
	}
	for _, l := range hostLogs {
		if slices.Contains(l.units, unit) {
			return l
		}
	}
	return &hostLog{name: strings.TrimSuffix(unit, ".service"), read: byLogger}
}

// lost says that the journal has not the entry any more behind which it was to be read on.
func (j *journalIn) lost(why string) {
	j.metrics.journalLost.Inc()
	j.log.Warn("the place in the journal is lost; it is read on from the oldest entry behind it", "why", why, "cursor", j.recent[len(j.recent)-1].cursor)
}

// stream finds or makes the stream of an entry.
func (j *journalIn) stream(l *hostLog, unit string, e *journal.Entry) *journalStream {
	name := l.name + "\x00" + unit + "\x00" + string(e.Ident) + "\x00" + string(e.PID)
	if st := j.streams[name]; st != nil {
		return st
	}
	for len(j.streams) >= journalStreams {
		var oldest *journalStream
		for _, st := range j.streams {
			if oldest == nil || st.used < oldest.used {
				oldest = st
			}
		}
		oldest.fold.Flush(oldest.emit)
		delete(j.streams, oldest.name)
	}
	st := &journalStream{name: name, log: l, tag: hostTag + l.name, used: j.read}
	st.fold = j.folding.Stream(st.tag)
	st.emit = func(ev *fold.Event) { j.emit(st, ev) }
	st.fields.Add("source", l.name)
	for _, f := range [...]struct {
		key   string
		value []byte
	}{{"systemd_unit", []byte(unit)}, {"ident", e.Ident}, {"pid", e.PID}} {
		if len(f.value) > 0 {
			st.fields.Add(f.key, string(f.value))
		}
	}
	if i := slices.IndexFunc(j.covers, func(m streamMark) bool { return m.Name == name }); i >= 0 {
		c := j.covers[i]
		st.cover = &c
		st.fold.SetMemory(c.Memory)
		j.covers = slices.Delete(j.covers, i, i+1)
	}
	j.streams[name] = st
	return st
}

// emit takes an event from a fold to the frame of its tag, unless an earlier life did.
func (j *journalIn) emit(st *journalStream, ev *fold.Event) {
	again := st.cover != nil
	for _, p := range ev.Pos {
		st.done = max(st.done, p.End)
		again = again && st.cover.covers(p)
	}
	if again {
		return
	}
	if !st.placed && j.instance.known() {
		st.placed = true
		j.instance.addTo(&st.fields)
	}
	t, level, fields := st.log.event(j.fields[:0], &j.host, ev, &st.lag, &st.fields)
	x := fluent.Extra{Part: ev.Part, PartLast: ev.PartLast, Level: level, Fields: fields}
	j.fields = fields
	if first := j.at(ev.Pos[0].Start); first != nil {
		if level == "" {
			x.Level = priorityLevel(int(first.priority))
		}
		if j.record.ID {
			j.id = journalID(j.id[:0], first.cursor, ev)
			x.ID = j.id
		}
	}
	if j.record.ParseJSON {
		x.JSON, j.joined = jsonOf(j.joined, ev)
	}
	b := j.builder(st.tag)
	at := len(b.Buf)
	if bad := b.Add(t, ev.Lines, &st.fields, x); bad > 0 {
		j.metrics.replaced.Add(float64(bad))
	}
	j.taps.offer(b.tag, b.Buf[at:])
	clear(j.fields)
	j.emitted = true
	j.received++
	j.building++
	j.metrics.foldEvents.Inc()
	if len(ev.Pos) > 1 {
		j.metrics.foldLines.Add(float64(len(ev.Pos) - 1))
	}
}

// at finds an entry by its number; nil if it is known no more.
func (j *journalIn) at(n int64) *journalPos {
	if i := n - j.recent[0].n; i >= 0 && i < int64(len(j.recent)) {
		return &j.recent[i]
	}
	return nil
}

// priorityLevel is the name of a severity of syslog.
func priorityLevel(p int) string {
	switch {
	case p < 0:
		return ""
	case p <= 2:
		return "fatal"
	case p == 3:
		return "error"
	case p == 4:
		return "warn"
	case p <= 6:
		return "info"
	}
	return "debug"
}
