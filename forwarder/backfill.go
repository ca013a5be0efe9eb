package forwarder

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/tinylib/msgp/msgp"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/forwarder/backfill"
	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/dockerd"
)

// Back-fill: what Docker's fluentd driver could not deliver while we were away (it drops what its buffers do not hold, and what it had
// written into a socket when we were killed) is in the engine's cache. After a start the cache of each container that sends to us is
// read from the last line that we had, and what has not come meanwhile goes the way of lines that come over the listener, its
// events marked. It is read once more, up to there, when the container's first line comes: a driver notices only after a line or two
// that its connection is dead. Meanwhile what the driver sends is not taken, so all comes in order, and a trace stays whole. A line
// that was back-filled and that the driver sends all the same is dropped.
//
// The last line that we had of each stream is said by a mark in the record that holds it:
//
//	key      had \0 first 12 digits of the container's id \0 o or e
//	value    varint   time of the line, Unix ns
//	         uvarint  how many lines bear it: many, where the driver sends whole seconds
//
// and, once, the tag that the container's lines have:
//
//	key      tag \0 first 12 digits of the container's id
//	value    the tag
const (
	hadPrefix = "had\x00"
	tagPrefix = "tag\x00"

	backRetry  = time.Second      // until the engine answers
	backGiveUp = 5 * time.Minute  // it does not
	backHold   = 2 * time.Second  // a client waits at most so long for its container's cache to be read
	backRepeat = 10 * time.Minute // for so long the driver may still send what was back-filled
	backBatch  = 256              // lines at a time
	backKeys   = 100_000          // lines that are remembered of one container
	backRead   = time.Minute      // for the log of one container
	backAtOnce = 4                // logs that are read side by side
)

// backField marks events that hold back-filled lines.
const backField = "backfill"

// had is how far a stream was received.
type had struct {
	time int64
	n    uint64 // lines that bear the time
}

func (h *had) note(t int64) {
	switch {
	case t > h.time:
		h.time, h.n = t, 1
	case t == h.time:
		h.n++
	}
}

// hads are what the marks say of each container, by the first digits of its id.
type hads struct {
	streams map[string]map[string]had // by id, then by source
	tags    map[string]string
	newest  int64
}

func shortID(id string) string { return id[:min(len(id), 12)] }

// recallHads takes the marks of what was received off those the spool recovered.
func recallHads(marks map[string][]byte) hads {
	h := hads{streams: map[string]map[string]had{}, tags: map[string]string{}}
	for key, value := range marks {
		if id, ok := strings.CutPrefix(key, tagPrefix); ok {
			h.tags[id] = string(value)
			delete(marks, key)
			continue
		}
		name, ok := strings.CutPrefix(key, hadPrefix)
		if !ok {
			continue
		}
		delete(marks, key)
		id, source, _ := strings.Cut(name, "\x00")
		r := markReader{b: value}
		v := had{time: r.varint(), n: r.uvarint()}
		if r.bad {
			continue
		}
		if h.streams[id] == nil {
			h.streams[id] = map[string]had{}
		}
		h.streams[id][source] = v
		h.newest = max(h.newest, v.time)
	}
	return h
}

func sourceKey(source string) string { return source[len("std"):][:1] } // o or e

// hads appends the marks of the streams that were received further than the spool knows.
func (in *inbound) hads(dst []byte) []byte {
	for _, st := range in.touched {
		if st.local == "" || st.had == st.hadSaved {
			continue
		}
		if !st.told {
			st.told = true
			dst = spool.AppendMark(dst, tagPrefix+st.local, []byte(st.tag))
		}
		st.hadSaved = st.had
		in.valueBuf = binary.AppendUvarint(binary.AppendVarint(in.valueBuf[:0], st.had.time), st.had.n)
		dst = spool.AppendMark(dst, st.hadKey, in.valueBuf)
	}
	return dst
}

// forgetHads forgets the marks of containers that are gone. mu is held.
func (in *inbound) forgetHads() {
	for id := range in.locals {
		if _, err := os.Stat(filepath.Join(in.root, id)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		delete(in.locals, id)
		for _, source := range []string{"o", "e"} {
			in.spool.SetMark(hadPrefix+shortID(id)+"\x00"+source, nil)
		}
		in.spool.SetMark(tagPrefix+shortID(id), nil)
	}
}

// gap is a container whose cache is or was read. It is guarded by inbound.mu, but for remote.
type gap struct {
	remote *backfill.Remote
	tag    string
	from   map[string]had // by o and e; where one is missing, since
	since  int64

	filled  map[uint64]int32 // lines that were back-filled
	dropped map[uint64]int32 // and came all the same

	reading chan struct{} // closed when the cache was read, or is to be read no more; nil: it was
	came    bool          // the container's first line
	until   int64         // its time: what was written later needs no filling
	missed  bool          // the engine did not answer while a client waited
}

// read says that the cache was read. mu is held.
func (g *gap) read() {
	if g.reading != nil {
		close(g.reading)
		g.reading = nil
	}
}

var gapSeed = maphash.MakeSeed()

// key tells lines apart by time and text. whole: only by the second.
func gapKey(source string, t int64, whole bool, text []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(gapSeed)
	if whole {
		t -= t % 1e9
	}
	var b [9]byte
	binary.BigEndian.PutUint64(b[:], uint64(t))
	b[8] = sourceKey(source)[0]
	_, _ = h.Write(b[:])
	_, _ = h.Write(text)
	return h.Sum64()
}

// heard answers whether a line that came over the listener was back-filled before.
func (g *gap) heard(e *listen.Entry) bool {
	key := gapKey(string(e.Line.Source), e.Time, g.remote.WholeSeconds(), e.Line.Text)
	if g.dropped[key] < g.filled[key] {
		g.dropped[key]++
		return true
	}
	return false
}

// held is the first of the containers of the entries whose cache is being read, or is to be before they are taken; nil if there is
// none. mu is held.
func (in *inbound) held(entries []listen.Entry) *gap {
	if len(in.gaps) == 0 {
		return nil
	}
	for i := range entries {
		e := &entries[i]
		if e.Line == nil {
			continue
		}
		g := in.gaps[string(e.Line.ContainerID)]
		if g == nil || g.missed {
			continue
		}
		if !g.came {
			g.came, g.until = true, e.Time
			if g.reading == nil {
				g.reading = make(chan struct{})
				select {
				case in.came <- string(e.Line.ContainerID):
				default:
					g.read()
				}
			}
		}
		if g.reading != nil {
			return g
		}
	}
	return nil
}

// await waits until no cache is being read that the entries have to wait for. mu is held, but not while it waits.
func (in *inbound) await(ctx context.Context, entries []listen.Entry) error {
	var limit *time.Timer
	for g := in.held(entries); g != nil; g = in.held(entries) {
		if limit == nil {
			limit = time.NewTimer(backHold)
			defer limit.Stop()
		}
		reading := g.reading
		in.mu.Unlock()
		over := false
		select {
		case <-ctx.Done():
		case <-limit.C:
			over = true
		case <-reading:
		}
		in.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if over {
			g.missed = true
			g.read()
			in.log.Warn("Docker's cache of a container's log was not read in time: what its driver lost while fairlead was away may be missing",
				"container_id", shortID(g.remote.ID), "waited", backHold)
			limit.Reset(backHold)
		}
	}
	return nil
}

// backfiller finds and fills the gaps.
type backfiller struct {
	in   *inbound
	log  *slog.Logger
	hads hads
	dial func() (*client.Client, error) // nil in tests that have no engine
	came chan string                    // a container's first line came
}

func newBackfiller(in *inbound, h hads, log *slog.Logger) *backfiller {
	b := &backfiller{in: in, hads: h, log: log, came: make(chan string, 256)}
	b.dial = func() (*client.Client, error) { return dockerd.New("") }
	return b
}

// prepare looks, before any client is listened to, which containers may have written what did not reach us.
func (b *backfiller) prepare(cfg listen.Config) {
	entries, err := os.ReadDir(b.in.root)
	if err != nil {
		return // no Docker here
	}
	there := map[string]bool{}
	gaps := map[string]*gap{}
	for _, e := range entries {
		if !isContainerID(e.Name()) {
			continue
		}
		id := shortID(e.Name())
		there[e.Name()], there[id] = true, true
		known := b.hads.streams[id]
		if b.hads.newest == 0 {
			continue // nothing was ever received: there is no gap
		}
		r, err := backfill.ReadRemote(filepath.Join(b.in.root, e.Name()))
		if err != nil || r.Driver != "fluentd" || r.Terminal || r.Reliable() || known == nil && !sendsTo(r.Options["fluentd-address"], cfg) {
			continue
		}
		g := &gap{remote: r, tag: b.hads.tags[id], from: known, since: b.hads.newest, reading: make(chan struct{}), filled: map[uint64]int32{}, dropped: map[uint64]int32{}}
		if g.tag == "" {
			g.tag = defaultTag(r)
		}
		if g.tag != "" {
			gaps[r.ID] = g
		}
	}
	for id, streams := range b.hads.streams { // of containers that are gone
		if !there[id] {
			for source := range streams {
				b.in.spool.SetMark(hadPrefix+id+"\x00"+source, nil)
			}
			b.in.spool.SetMark(tagPrefix+id, nil)
		}
	}
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	b.in.gaps, b.in.came = gaps, b.came
	for id := range there {
		if b.hads.streams[shortID(id)] != nil {
			b.in.locals[id] = true
		}
	}
}

// defaultTag is the driver's tag of a container of which nothing has come yet, where that is plain: not all that its template knows is
// known here. Empty: it is not.
func defaultTag(r *backfill.Remote) string {
	tag, set := r.Options["tag"]
	if !set || tag == "" {
		return shortID(r.ID)
	}
	tag = strings.NewReplacer("{{.Name}}", strings.TrimPrefix(r.Name, "/"), "{{.ID}}", shortID(r.ID), "{{.FullID}}", r.ID).Replace(tag)
	if strings.Contains(tag, "{{") {
		return ""
	}
	return tag
}

// sendsTo says whether an address of the driver's is that of the listener.
func sendsTo(address string, cfg listen.Config) bool {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return path == cfg.Unix
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(address, "tcp://"), ":")
	if port == "" {
		port = "24224"
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(address, "tcp://"), ":")
	local := host == "" || host == "localhost" || strings.HasPrefix(host, "127.")
	return local && cfg.TCP != "" && strings.HasSuffix(cfg.TCP, ":"+port)
}

// run fills the gaps until the context ends.
func (b *backfiller) run(ctx context.Context) error {
	b.in.mu.Lock()
	var ids []string
	for id := range b.in.gaps {
		ids = append(ids, id)
	}
	b.in.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	engine, err := b.dial()
	if err != nil {
		b.log.Warn("lines that Docker's fluentd driver could not deliver while fairlead was away are not looked for", "err", err)
		b.in.mu.Lock()
		defer b.in.mu.Unlock()
		for _, g := range b.in.gaps {
			g.read()
		}
		b.in.gaps = nil
		return nil
	}
	defer func() { _ = engine.Close() }()
	var reading errgroup.Group
	reading.SetLimit(backAtOnce)
	defer func() { _ = reading.Wait() }()
	for _, id := range ids {
		reading.Go(func() error { return b.fill(ctx, engine, id) })
	}
	forget := time.NewTimer(backRepeat)
	defer forget.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-forget.C:
			b.in.mu.Lock()
			for _, g := range b.in.gaps {
				g.read()
			}
			b.in.gaps = nil
			b.in.mu.Unlock()
			return nil
		case id := <-b.came:
			reading.Go(func() error { return b.fill(ctx, engine, id) })
		}
	}
}

// fill reads the cache of a container, and tries again for a while where the engine does not answer.
func (b *backfiller) fill(ctx context.Context, engine *client.Client, id string) error {
	b.in.mu.Lock()
	g := b.in.gaps[id]
	b.in.mu.Unlock()
	if g == nil {
		return nil
	}
	defer func() {
		b.in.mu.Lock()
		g.read()
		b.in.mu.Unlock()
	}()
	for began := time.Now(); ctx.Err() == nil; pause(ctx, backRetry) {
		n, err := b.read(ctx, engine, g)
		switch {
		case err == nil && n > 0:
			b.log.Info("lines that did not reach us were taken from Docker's cache", "container_id", shortID(id), "lines", n)
			return nil
		case err == nil, ctx.Err() != nil, errors.Is(err, errMissed):
			return nil
		case !client.IsErrConnectionFailed(err) || time.Since(began) > backGiveUp:
			// Such as a cache that is switched off, or a container that was removed.
			b.log.Warn("what a container wrote while fairlead was away cannot be looked for", "container_id", shortID(id), "lines", n, "err", err)
			return nil
		}
	}
	return nil
}

// errMissed ends the reading of a cache that nobody waits for any more: what follows would come after what the driver has sent since.
var errMissed = errors.New("not read in time")

func (b *backfiller) read(ctx context.Context, engine *client.Client, g *gap) (lines int, err error) {
	since := g.since
	for _, h := range g.from {
		since = min(since, h.time)
	}
	ctx, cancel := context.WithTimeout(ctx, backRead)
	defer cancel()
	f := newFiller(b.in, g)
	err = backfill.Read(ctx, engine, g.remote.ID, since, func(l *backfill.Line) error { return f.add(ctx, l) })
	return f.lines, errors.Join(err, f.flush(ctx))
}

// filler decides which lines of a cache are missing, and hands them on.
type filler struct {
	in      *inbound
	g       *gap
	fixed   []byte            // the fields that all its lines have, encoded
	fields  uint32            // how many
	used    map[uint64]int32  // lines met in this reading
	skipped map[string]uint64 // of those with the time of the last we had, by source
	batch   []listen.Entry
	bytes   int
	lines   int
}

func newFiller(in *inbound, g *gap) *filler {
	f := &filler{in: in, g: g, used: map[uint64]int32{}, skipped: map[string]uint64{}}
	fields := g.remote.Extra()
	fields["container_id"], fields["container_name"] = g.remote.ID, g.remote.Name
	f.fields = uint32(len(fields))
	for key, value := range fields {
		f.fixed = msgp.AppendString(msgp.AppendString(f.fixed, key), value)
	}
	return f
}

func (f *filler) add(ctx context.Context, l *backfill.Line) error {
	n := f.fields + 2
	if l.More {
		n++
	}
	r := msgp.AppendMapHeader(nil, n)
	r = append(r, f.fixed...)
	r = msgp.AppendString(msgp.AppendString(r, "source"), l.Source)
	r = msgp.AppendStringFromBytes(msgp.AppendString(r, "log"), l.Text)
	if l.More {
		r = msgp.AppendString(msgp.AppendString(r, "partial_message"), "true")
	}
	f.batch = append(f.batch, listen.Entry{Tag: []byte(f.g.tag), Time: l.Time, Record: r})
	if f.bytes += len(r); len(f.batch) >= backBatch || f.bytes >= 1<<20 {
		return f.flush(ctx)
	}
	return nil
}

func (f *filler) flush(ctx context.Context) error {
	err := f.in.fill(ctx, f)
	f.batch, f.bytes = f.batch[:0], 0
	return err
}

// missing says whether a line of the cache was neither received by an earlier life, nor in this one, nor back-filled. inbound.mu is held.
func (f *filler) missing(source string, e *listen.Entry) bool {
	g, t, whole := f.g, e.Time, f.g.remote.WholeSeconds()
	if whole {
		t -= t % 1e9
	}
	from, known := g.from[sourceKey(source)]
	if !known {
		from = had{time: g.since}
	}
	if t < from.time || g.came && e.Time > g.until+secondOf(whole) {
		return false
	}
	if t == from.time && f.skipped[source] < from.n {
		f.skipped[source]++
		return false
	}
	key := gapKey(source, t, whole, e.Line.Text)
	f.used[key]++
	return f.used[key] > g.filled[key]
}

// overlap is how much of the time from a to b lies between from and to.
func overlap(a, b, from, to int64) int64 { return max(0, min(b, to)-max(a, from)) }

// secondOf is by how much later than its time a line may have been written.
func secondOf(whole bool) int64 {
	if whole {
		return 1e9
	}
	return 0
}

// fill takes lines of a cache as if a client had sent them.
func (in *inbound) fill(ctx context.Context, f *filler) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.room(ctx); err != nil {
		return err
	}
	if f.g.missed {
		return errMissed
	}
	now := in.now()
	for i := range f.batch {
		e := &f.batch[i]
		if e.Line = listen.ReadLine(e.Record); e.Line == nil {
			continue
		}
		source := string(e.Line.Source)
		if !f.missing(source, e) {
			continue
		}
		key := gapKey(source, e.Time, f.g.remote.WholeSeconds(), e.Line.Text)
		if len(f.g.filled) >= backKeys { // the newest are those that may come all the same
			clear(f.g.filled)
			clear(f.g.dropped)
		}
		f.g.filled[key]++
		st := in.stream(e.Tag, e.Line)
		st.gap = 0
		if st.lastTime > 0 { // the driver stood still while we were away, and until it has noticed that we are back
			st.gap = max(0, e.Time-st.lastTime-overlap(st.lastTime, e.Time, f.g.since, in.began.UnixNano()+int64(inReconnect)))
		}
		st.fresh, st.recalled, st.conn = true, true, nil // its client is still to come back, as after a recovery
		st.read, st.lastTime, st.whole = now, e.Time, false
		t := e.Time
		if f.g.remote.WholeSeconds() {
			t -= t % 1e9
		}
		st.had.note(t)
		in.line(st, e, inLine{time: e.Time, entry: i, back: true})
		f.lines++
		in.metrics.backfilled.Inc()
	}
	in.endBatch(f.batch, in.last)
	in.arm()
	return in.room(ctx)
}

// hear is told each line of a container of this host, and answers whether it is to be dropped. mu is held.
func (in *inbound) hear(st *inStream, e *listen.Entry) (repeated bool) {
	if g := in.gaps[string(e.Line.ContainerID)]; g != nil {
		repeated = g.heard(e)
	}
	if !repeated { // else it was noted when it was back-filled
		st.had.note(e.Time)
	}
	return repeated
}
