package forwarder

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/tail"
)

// arrive takes over the sources that discovery found, in front of the others: a container may be gone in a moment.
func (l *loop) arrive() {
	if fresh := l.disc.take(); len(fresh) > 0 {
		for _, s := range fresh {
			s.lastData = l.now
		}
		l.sources = append(fresh, l.sources...)
	}
}

// adopt takes over the files that discovery opened for a source.
func (l *loop) adopt(s *source) {
	for _, f := range s.adopt(time.Unix(0, l.now)) {
		f.unpacked = f.Packed()
		if s.volume != nil && f.Known >= 0 { // what an earlier life read of it is in the spool or acknowledged
			at := point{l.foundSeq, f.Offset()}
			f.acked.note(at)
			f.synced.note(at)
		}
		if f.AfterGap {
			l.metrics.lostFiles.WithLabelValues(lostRotatedAway).Inc()
			l.log.Error("log files were rotated away before they were read", "source", s.name, "goes_on_in", f.Path)
		}
	}
}

// late looks at the files that rotation replaced: a writer may hold one open a while longer. After rotate_wait, and when no
// open event lies in it, such a file is let go.
func (l *loop) late(s *source) {
	if s.current == 0 {
		return
	}
	// The newest of them is looked at before each read of the current file, because what its writer still writes there comes
	// before what it writes to the new one. The others would cost too much at that rate.
	first := s.current - 1
	if l.now-s.lastPoll >= int64(l.cfg.Sources.RotateWait)/20 {
		first, s.lastPoll = 0, l.now
	}
	for i := first; i < s.current; i++ {
		f := s.files[i]
		more := s.more
		n, err := l.read(s, f, visitBytes)
		s.more = more
		if err == nil && n > 0 {
			f.passed = l.now
			continue
		}
		if l.now-f.passed < int64(l.cfg.Sources.RotateWait) && !f.unpacked && err == nil {
			continue
		}
		l.lastLine(s, f)
		// In order only: a restart takes a file without a mark that lies behind one with a mark for unread.
		if i > 0 || !l.release(s, f) {
			continue
		}
		i--
	}
}

// release lets a file go that nothing more is wanted of. It answers false while open events lie in it.
func (l *loop) release(s *source, f *openFile) bool {
	for _, st := range s.streams {
		l.open = st.fold.Open(l.open[:0])
		for _, p := range l.open {
			if p.File == f.number {
				return false
			}
		}
	}
	i := slices.Index(s.files, f)
	s.files = slices.Delete(s.files, i, i+1)
	if i < s.current {
		s.current--
	}
	l.unpacked(f)
	s.forget(f)
	l.out.letGo(s, f)
	return true
}

// unpacked lets the next archive be unpacked, once this one was read or is read no more. A trace that began in it may hold it
// longer: it may well go on in the archive after it.
func (l *loop) unpacked(f *openFile) {
	if l.packed == f {
		l.packed = nil
	}
}

// forget has a file's mark deleted with the next mark written, unless a newer file has taken its key.
func (s *source) forget(f *openFile) {
	key := markKey(s.name, f.ID)
	if !slices.ContainsFunc(s.files, func(o *openFile) bool { return markKey(s.name, o.ID) == key }) {
		s.stale = append(s.stale, key)
	}
}

// truncated goes on after a file was cut short or rewritten in place. Where a copy of what it held stands beside it, reading goes
// on in the copy, as if the file had been renamed; otherwise what was not read is lost and counted.
func (l *loop) truncated(s *source, f *openFile) {
	l.metrics.truncations++
	s.eof, s.more = false, true
	unread := f.Unread()
	s.chain.Truncated(f.File)
	if err := s.chain.Scan(time.Unix(0, l.now)); err != nil {
		l.log.Warn("cannot look for the truncated file's successor", "path", f.Path, "err", err)
	}
	before := len(s.files)
	l.adopt(s)
	i := slices.Index(s.files, f)
	if before < len(s.files) && s.files[before].Offset() == f.Offset() && (f.Offset() > 0 || len(s.files)-before > 1) { // a copy, from where f was read to
		copied := s.files[before]
		copied.number, copied.done, copied.cover = f.number, f.done, f.cover
		copied.fed, copied.long, copied.longAt = f.fed, f.long, f.longAt
		l.log.Info("log file was copied and truncated", "path", f.Path, "copy", copied.Path)
	} else {
		l.flushFolds(s)
		if unread > 0 {
			l.metrics.lostBytes.WithLabelValues(lostTruncated).Add(float64(unread))
		}
		l.log.Warn("log file was truncated or rewritten; read from its start", "path", f.Path, "read_to", f.Offset(), "unread_bytes", unread)
	}
	s.files = slices.Delete(s.files, i, i+1)
	if i < s.current {
		s.current--
	}
	l.unpacked(f)
	l.out.letGo(s, f)
}

// unpackFile makes a rotated archive readable, one at a time so that unpacked text never takes much space.
func (l *loop) unpackFile(s *source, f *openFile) bool {
	if l.packed != nil {
		s.nextLook = l.now + int64(turnEvery)
		return false
	}
	err := f.Unpack(l.unpack, l.pulse.Beat)
	if err != nil {
		if !errors.Is(err, tail.ErrDamaged) {
			s.trouble.report(l.log, "cannot unpack the rotated log file", err, "path", f.Path)
			s.nextLook = l.now + int64(time.Second)
			return false
		}
		l.metrics.lostFiles.WithLabelValues(lostDamaged).Inc()
		l.log.Error("rotated log file is damaged; what can be unpacked is read", "path", f.Path, "err", err)
	}
	l.packed = f
	return true
}

// leave ends a source whose log is gone: the container was removed, or the file deleted and none put in its place.
func (l *loop) leave(s *source, f *openFile) {
	state := s.chain.State() // once: discovery may find the successor at any moment, and before it says so
	if !s.eof && f.tailN == 0 || state == tail.Present {
		return
	}
	if err := f.Look(); err != nil || f.Size() > f.Offset()+int64(f.tailN) {
		return
	}
	if s.hinted.Load() {
		return // its path may lead to another file by now
	}
	if state == tail.Missing && (!f.Deleted() || s.dir != "" || l.now-s.lastData < int64(l.cfg.Sources.RotateWait)) {
		return // about to be created anew, or dockerd goes on writing to the deleted file
	}
	for _, o := range s.files {
		l.lastLine(s, o)
	}
	l.flushFolds(s)
	s.gone = true
}

func (l *loop) flushFolds(s *source) {
	for _, st := range s.streams {
		st.fold.Flush(st.emit)
	}
	l.account(s)
	l.out.sealFull(s)
}

// finished says that a source has ended; remove then lets it go.
func (s *source) finished() bool {
	if s.excluded {
		return true
	}
	if s.gone || len(s.files) > 0 || s.hinted.Load() {
		return s.gone
	}
	state := s.chain.State()
	return state == tail.NoFolder || state == tail.Missing && s.dir == ""
}

func (l *loop) remove(i int) {
	s := l.sources[i]
	l.sources = slices.Delete(l.sources, i, i+1)
	l.log.Debug("source has ended", "path", s.name, "read_to_end", s.gone, "state", s.chain.State(), "excluded", s.excluded, "lines", s.lines)
	l.disc.forget(s)
	s.chain.CloseAll() // what was opened in this moment is found again as another source
	files := s.files
	s.files, s.current = nil, 0
	for _, f := range files {
		l.unpacked(f)
		if !s.excluded { // else its marks stay, for when it is read again
			s.forget(f)
		}
	}
	for _, r := range s.recalls {
		if !s.adopted && !s.excluded {
			s.stale = append(s.stale, r.key)
		}
	}
	l.out.sourceGone(s, files)
	l.metrics.sourcesGone++
}

// rare does what need not be done at every turn.
func (l *loop) rare() {
	var held, lag int64
	var files int
	var oldest *source
	for _, s := range l.sources {
		files += len(s.files)
		var cut *openFile
		for i, f := range s.files {
			if i >= s.current {
				if err := f.Look(); i == s.current && errors.Is(err, tail.ErrRewritten) {
					cut = f
				}
				lag += max(0, f.Size()-f.Offset())
			}
			if f.Deleted() {
				held += f.Blocks()
				if oldest == nil || s.lastData < oldest.lastData {
					oldest = s
				}
			}
		}
		if cut != nil { // its copy may be gone by the time the spool has room again
			l.truncated(s, cut)
		}
	}
	if !l.cleared && l.now-l.began > int64(time.Minute) {
		l.cleared = true
		for _, key := range l.disc.unclaimed() {
			l.out.spool.SetMark(key, nil)
		}
	}
	l.tellInstance()
	l.metrics.files.Set(float64(files))
	l.metrics.lag.Set(float64(lag))
	l.metrics.detached.Set(float64(held))
	if held > int64(l.cfg.Sources.MaxDetachedBytes) && oldest != nil {
		l.giveUp(oldest)
	}
}

// giveUp lets the oldest deleted file of a source go unread, because deleted files take more space than they may.
func (l *loop) giveUp(s *source) {
	for _, f := range s.files {
		if !f.Deleted() {
			continue
		}
		unread := max(0, f.Size()-f.Offset())
		l.flushFolds(s)
		if !l.release(s, f) {
			return
		}
		l.metrics.lostFiles.WithLabelValues(lostDetached).Inc()
		l.metrics.lostBytes.WithLabelValues(lostDetached).Add(float64(unread))
		l.log.Error("deleted log file given up unread: sources.max_detached_bytes is reached", "path", f.Path, "unread_bytes", unread)
		return
	}
}

// finish brings into the spool, at stop, what could not be read again: deleted files are read to their end, and folds that hold
// lines of them are flushed. All else stays where it is, before the marks; on a host that is about to end that is nothing.
func (l *loop) finish() error {
	l.stopBy = time.Now().Add(l.cfg.Forward.Grace)
	l.now = time.Now().UnixNano()
	l.arrive()
	leaving := l.leaving.Load()
	for _, s := range l.sources {
		l.adopt(s)
		last := -1 // of those that cannot be read again
		for i, f := range s.files {
			if _ = f.Look(); leaving || f.Deleted() && !s.chain.Kept(f.File) {
				last = i
			}
		}
		if last < 0 {
			continue
		}
		if ok, _ := s.prepare(time.Unix(0, l.now+int64(time.Hour)), l.tags); !ok {
			continue
		}
		for i, f := range s.files[:last+1] { // an older one that has its name is read too: the order holds
			if f.Packed() {
				if l.packed = nil; !l.unpackFile(s, f) {
					break
				}
			}
			s.current = i
			for {
				s.more = true
				n, err := l.read(s, f, visitBytes)
				if err != nil || n == 0 || (l.out.full && !l.awaitRoom()) || leaving && !time.Now().Before(l.stopBy) {
					break
				}
			}
			l.lastLine(s, f)
			if f.Size() > f.Offset() && f.Deleted() {
				l.metrics.lostBytes.WithLabelValues(lostStop).Add(float64(f.Size() - f.Offset()))
				l.log.Error("deleted log file could not be read to its end before the stop", "path", f.Path, "unread_bytes", f.Size()-f.Offset())
			}
		}
		for _, st := range s.streams {
			l.open = st.fold.Open(l.open[:0])
			if slices.ContainsFunc(l.open, func(p fold.Pos) bool { return p.File <= s.files[last].number }) {
				st.fold.Flush(st.emit)
			}
		}
		l.account(s)
		l.out.sealFull(s)
	}
	l.out.sealAll()
	if !l.awaitRoom() {
		l.log.Error("spool is full at stop; what was not appended is read again, unless its file is gone", "records", len(l.out.sealed), "events", l.out.building)
	}
	l.metrics.flush()
	for _, s := range l.sources {
		for _, f := range s.files {
			_ = s.chain.Close(f.File)
		}
		s.chain.CloseAll()
	}
	return nil
}

// awaitRoom waits at the stop until the spool takes what is sealed: for a file that is deleted there is no next time.
func (l *loop) awaitRoom() bool { return awaitRoom(l.out.append, l.stopBy, l.hurry) }

// awaitRoom calls flush until it has brought everything into the spool, or the stop can wait no longer.
func awaitRoom(flush func() bool, stopBy time.Time, hurry <-chan struct{}) bool {
	for !flush() {
		if !time.Now().Before(stopBy) {
			return false
		}
		select {
		case <-hurry:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}

// report logs a failure when it begins or changes.
func (t *trouble) report(log *slog.Logger, msg string, err error, args ...any) {
	if err == nil || t.err == err.Error() {
		return
	}
	t.err = err.Error()
	log.Warn(msg, append(args, "err", err)...)
}

// over logs that a failure has ended, if there was one.
func (t *trouble) over(log *slog.Logger, msg string, args ...any) {
	if t.err != "" {
		log.Info(msg, args...)
		t.err = ""
	}
}
