package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/internal/pulse"
)

// ErrClosed is what every method answers after Close.
var ErrClosed = errors.New("spool is closed")

// Spool is an open spool directory. Locks are taken in the order wr, syncMu, mu.
type Spool struct {
	cfg          Config
	log          *slog.Logger
	m            *Metrics
	disk         disk
	now          func() time.Time
	rules        rules
	segmentBytes int64
	life         uint64 // random; the first half of this life's chunk ids
	reader       *Reader
	kick         chan struct{} // wakes Run
	pulse        pulse.Pulse   // of Run

	// wr is held by Append for its whole duration, writes included.
	wr      sync.Mutex
	lock    *os.File
	seq     uint64 // the last sequence number used
	marks   *marks
	rebase  bool     // the next segment starts with the base of this life
	iov     [][]byte // of the write in progress
	space   space
	writing bool // closed is not set
	unbound bool // max_bytes does not hold

	// syncMu is held for a step of the syncer. Whoever holds it may close the handles segments are written with.
	syncMu     sync.Mutex
	acks       file
	acksSaved  uint64 // the cursor in the file
	acksSynced uint64 // the same on disk
	acksAt     time.Time
	ages       []age                // which records were there when, for sync_after
	syncPause  time.Duration        // since a sync failed, until a new segment is tried
	syncAgain  time.Time            // when that is
	complained bool                 // in this step
	trouble    map[string]time.Time // what fails, and when that was logged, so that it is not logged at every step

	// mu is never held over anything that may take long.
	mu         sync.Mutex
	closed     bool
	missing    bool       // names of the directory were removed under us: restore has to look
	segs       []*segment // in the order of their numbers
	active     *segment   // the last of segs while it may be written to, else nil
	rollNext   bool       // the active segment is no good any more
	last       uint64     // sequence number of the last record in segs
	acked      uint64     // the cursor: every frame up to here is done with
	bytes      int64      // on disk, all segments
	count      counts
	fullSince  time.Time
	fullWhy    string
	fullFor    time.Duration
	unacked    time.Time     // the cursor last moved, or the first frame to wait for it came
	want       uint64        // what SyncTo waits for
	synced     chan struct{} // closed and replaced after each step that synced for SyncTo
	failingWhy string        // Stats.Failing
	dirErr     error         // the last sync of the directory failed
	floor      floor
}

// counts are the books, in events: recovered + appended = acked + pending + dropped + setAside + lost.
type counts struct {
	frames, events, bytes                                         int64 // pending
	recovered, appended, replayed, acked, dropped, setAside, lost int64
	setAsideFrames, droppedFrames, lostFrames, badSegs, badBytes  int64
}

// rules are what keeps data through crashes. Tests switch them off one by one to see that the tests would notice.
type rules struct {
	unbrokenRun      bool // positions come only from an unbroken run of sequence numbers
	neverReuse       bool // no sequence number is used twice
	syncBeforeUnlink bool // what survives is synced before anything older is unlinked
	syncRecovered    bool // what a former life left is synced before a base claims it
}

// options are what tests replace.
type options struct {
	disk         disk
	now          func() time.Time
	life         func() uint64
	segmentBytes int64
	rules        rules
}

func defaults(cfg Config) options {
	return options{
		disk:         osDisk{},
		now:          time.Now,
		life:         randomLife,
		segmentBytes: min(max(int64(cfg.MaxBytes)/8, minSegmentBytes), maxSegmentBytes),
		rules:        rules{true, true, true, true},
	}
}

func randomLife() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// Open takes the directory, recovers what former lives left in it and begins a new life. The caller then runs Run, and calls
// Close when nothing else uses the spool any more.
func Open(cfg Config, log *slog.Logger, m *Metrics) (*Spool, error) {
	return open(cfg, log, m, defaults(cfg))
}

func open(cfg Config, log *slog.Logger, m *Metrics, o options) (*Spool, error) {
	if m == nil {
		m = NewMetrics(nil)
	}
	s := &Spool{
		cfg: cfg, log: log, m: m, disk: o.disk, now: o.now, rules: o.rules, segmentBytes: o.segmentBytes,
		life: o.life(), marks: newMarks(), rebase: true, writing: true,
		kick: make(chan struct{}, 1), synced: make(chan struct{}),
		trouble: map[string]time.Time{},
		floor:   floor{effective: 1}, // all input records are needed until the owner has looked at them
	}
	s.reader = &Reader{s: s}
	if err := s.start(); err != nil {
		s.abandon()
		hint := ""
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR) {
			hint = "; this user must be able to write there, or spool.dir must name another directory"
		}
		return nil, fmt.Errorf("open spool %s: %w%s", cfg.Dir, err, hint)
	}
	m.attach(s)
	return s, nil
}

func (s *Spool) start() error {
	if s.cfg.Dir == "" {
		return errors.New("spool.dir is empty")
	}
	if err := s.take(); err != nil {
		return err
	}
	rec := recovery{s: s, marks: s.marks}
	if err := rec.recover(); err != nil {
		return err
	}
	now := s.now()
	s.unacked = now
	if err := s.openAcks(); err != nil && !noSpace(err) {
		return err
	}
	// On a full disk the spool opens all the same: what is in it can still be sent, which makes room.
	if err := s.roll(now); err != nil && !noSpace(err) {
		return err
	} else if err != nil {
		s.log.Error("disk is full, the spool takes nothing until there is room", "path", s.cfg.Dir, "err", err)
		return nil
	}
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.removeEmpty()
	s.reap()
	return nil
}

// take makes the directory and locks it.
func (s *Spool) take() error {
	if err := s.disk.mkdir(s.cfg.Dir); err != nil {
		return err
	}
	l, err := lock(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.lock = l
	return s.disk.syncDir(filepath.Dir(s.cfg.Dir))
}

// firstOf returns the first sequence number of the life after the one that used newest. The upper half of a sequence number
// counts lives, so a life need not know how far into its numbers the one before got: what a power cut took away unsynced,
// or damage made unreadable, had lower numbers all the same. The base is synced before the first number of a life is given
// out, and segment names, `.bad` names and `acked` all tell a life was there.
func (s *Spool) firstOf(newest uint64) (uint64, error) {
	if !s.rules.neverReuse {
		return max(s.last, 1<<32) + 1, nil
	}
	if newest>>32 >= math.MaxUint32-1 {
		return 0, fmt.Errorf("sequence number %x leaves none to count on with: move the segments away", newest)
	}
	return (newest>>32 + 1) << 32, nil
}

// Marks returns a copy of the merge of all marks: after Open, what was recovered.
func (s *Spool) Marks() map[string][]byte {
	s.wr.Lock()
	defer s.wr.Unlock()
	return s.marks.copy()
}

// SetMark changes one mark without a record. It reaches the disk with the snapshot of the next segment.
func (s *Spool) SetMark(key string, value []byte) {
	s.wr.Lock()
	defer s.wr.Unlock()
	s.marks.set([]byte(key), value)
}

// Pulse shows the progress of Run.
func (s *Spool) Pulse() *pulse.Pulse { return &s.pulse }

// Reader returns the one reader of the spool.
func (s *Spool) Reader() *Reader { return s.reader }

// Close syncs what is in the spool, saves the cursor and lets the directory go. Run must have returned before.
func (s *Spool) Close() error {
	s.wr.Lock()
	defer s.wr.Unlock()
	if !s.writing {
		return ErrClosed
	}
	s.syncMu.Lock()
	s.mu.Lock()
	s.active = nil
	segs := append([]*segment(nil), s.segs...)
	s.mu.Unlock()
	var errs []error
	for _, g := range segs {
		if g.w != nil && g.synced < g.last {
			errs = append(errs, s.syncSegment(g))
		}
	}
	s.reap()
	errs = append(errs, s.saveAcks(s.now(), true))
	s.syncMu.Unlock()
	s.abandon()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close spool %s: %w", s.cfg.Dir, err)
	}
	return nil
}

// abandon closes all handles and nothing else, as the end of the process would. wr is held, or nobody else knows s yet.
func (s *Spool) abandon() {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing, s.closed, s.active = false, true, nil
	s.settleFull(s.now())
	for _, g := range s.segs {
		s.closeSegment(g)
	}
	if s.acks != nil {
		_ = s.acks.Close()
		s.acks = nil
	}
	if s.reader.file != nil {
		_ = s.reader.file.Close()
		s.reader.file = nil
	}
	s.reader.later.close()
	if s.lock != nil {
		_ = s.lock.Close()
		s.lock = nil
	}
	s.wakeSynced()
}

// closeSegment closes the handle of g. syncMu and mu are held.
func (s *Spool) closeSegment(g *segment) {
	for _, f := range []file{g.w, g.hold} {
		if f != nil {
			_ = f.Close() // synced or given up: nothing is left that an error here could tell
		}
	}
	g.w, g.hold = nil, nil
}

// poke wakes Run.
func (s *Spool) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// complain logs what keeps failing at most once a minute. Among args are the path and the error, as "err". syncMu is held.
func (s *Spool) complain(msg string, args ...any) {
	now := s.now()
	s.complained = true
	s.mu.Lock()
	s.failingWhy = fmt.Sprintf("%s: %v", msg, args[len(args)-1])
	s.mu.Unlock()
	if t, ok := s.trouble[msg]; ok && now.Sub(t) < time.Minute {
		return
	}
	s.trouble[msg] = now
	s.log.Error(msg, args...)
}

// settleTrouble notes the end of what complain was called for: a step without complaints, and no segment left that must be on
// disk and cannot get there. syncMu and mu are held.
func (s *Spool) settleTrouble() {
	if s.complained || s.missing || len(s.trouble) == 0 {
		return
	}
	for _, g := range s.segs {
		if g.syncErr != nil && g.dirty(s.acked) {
			return
		}
	}
	clear(s.trouble)
	s.failingWhy = ""
	s.log.Info("the disk of the spool does its work again", "path", s.cfg.Dir)
}
