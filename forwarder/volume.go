package forwarder

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/size"
)

// A volume is where the files of one entry of sources.files lie, as far as its `max_bytes` and `delete_acked` are concerned: as a
// sidecar, fairlead shares a small disk with a program that writes there and with nobody who empties it. It belongs to the reading
// loop.
//
//	always, with delete_acked     rotated files that are delivered are deleted
//	over 3/4 of max_bytes         the same without delete_acked, and what is delivered of the other files becomes a hole
//	over 15/16                    what is in a synced record of the spool goes likewise, acknowledged or not
//	over 15/16, spool full        what nobody has read: counted and named as lost
//	over max_bytes for 2 s        the same, and at once where the disk itself has only a sixteenth of that left
//
// The last sixteenth is room for what is written between two looks. The two seconds are for what was written while fairlead was down,
// which it reads as soon as it is back.
type volume struct {
	cfg     Files
	spooled bool // the spool lies on the same disk and counts

	looked   int64
	used     int64
	over     int64 // since when it is over max_bytes; 0: it is not
	lost     int64 // bytes given up, ever
	unlogged int64 // of them
	logged   int64 // when they were logged last
	trouble  trouble
	tight    trouble
}

const (
	volumeQuiet = int64(time.Second) // between two looks at a volume that is not half full
	volumeLog   = int64(time.Minute) // between two words about what is given up
	volumeOver  = 2 * int64(time.Second)
	volumeStuck = 10 * int64(time.Second) // over max_bytes, and nothing has helped
	minVolume   = 16 * size.MiB
)

// newVolume is nil for an entry whose files are left to others.
func newVolume(cfg Files) *volume {
	if cfg.MaxBytes == 0 && !cfg.DeleteAcked {
		return nil
	}
	return &volume{cfg: cfg}
}

// withinVolumes bounds the spool where it lies on a volume that is bounded itself: half of that is left to the files.
func (c Config) withinVolumes() spool.Config {
	sp := c.Spool
	for _, f := range c.Sources.Files {
		if half := f.MaxBytes / 2; half > 0 && half < sp.MaxBytes && sameDisk(f.folder(), sp.Dir) {
			sp.MaxBytes = half
		}
	}
	return sp
}

// folder is what of the path is no pattern.
func (f Files) folder() string {
	dir := f.Path
	if i := strings.IndexAny(dir, `*?[\`); i >= 0 {
		dir = dir[:i]
	}
	return filepath.Dir(dir)
}

// sameDisk says whether two folders lie on one file system. For one that is not there yet, the folder it will be made in tells.
func sameDisk(a, b string) bool {
	var x, y unix.Stat_t
	return statAncestor(a, &x) && statAncestor(b, &y) && x.Dev == y.Dev
}

func statAncestor(dir string, st *unix.Stat_t) bool {
	for unix.Stat(dir, st) != nil {
		if dir == "/" || dir == "." {
			return false
		}
		dir = filepath.Dir(dir)
	}
	return true
}

// point is a place in a file up to which everything is in the spool by a record.
type point struct {
	seq uint64
	off int64
}

// points follows how far a file is acknowledged, or synced, without a list of all its records: up to off it is, waiting comes next,
// latest is the newest record.
type points struct {
	off             int64
	waiting, latest point
}

func (p *points) note(q point) {
	if p.waiting.seq == 0 {
		p.waiting = q
		return
	}
	p.latest = q
}

// through is how far the file is in records up to seq.
func (p *points) through(seq uint64) int64 {
	for p.waiting.seq != 0 && p.waiting.seq <= seq {
		p.off = max(p.off, p.waiting.off)
		p.waiting, p.latest = p.latest, point{}
	}
	return p.off
}

// keep looks at a volume and frees what may be freed and has to be.
func (l *loop) keep(v *volume) {
	limit := int64(v.cfg.MaxBytes)
	if v.used <= limit/2 && l.now-v.looked < volumeQuiet && l.now >= v.looked {
		return
	}
	v.looked = l.now
	st := l.out.spool.Stats()
	done := l.survey(v, &st)
	eased, pressed := limit/4*3, limit-limit/16
	if v.cfg.DeleteAcked || limit > 0 && v.used > eased {
		l.deleteDone(v, done, st.AckedSeq)
	}
	if limit == 0 {
		return
	}
	if v.used > eased {
		l.hollow(v, func(f *openFile) int64 { return f.acked.through(st.AckedSeq) })
	}
	if v.used > pressed {
		if l.syncSoon != nil && st.SyncedSeq < st.LastSeq {
			l.syncSoon(st.LastSeq)
		}
		l.deleteDone(v, done, st.SyncedSeq)
		l.hollow(v, func(f *openFile) int64 { return f.synced.through(st.SyncedSeq) })
	}
	if v.used <= limit {
		v.over = 0
	} else if v.over == 0 || v.over > l.now {
		v.over = l.now
	}
	if v.used > pressed && (l.out.full || v.over > 0 && (l.now-v.over >= volumeOver || v.short(limit/16))) {
		l.giveUpUnread(v, v.used-pressed)
	}
	switch {
	case v.over > 0 && l.now-v.over >= volumeStuck && v.used > limit:
		v.tight.report(l.log, "the volume takes more than its max_bytes, and nothing of it can be freed", errTight, "path", v.cfg.Path,
			"used", size.Bytes(v.used).String(), "max_bytes", v.cfg.MaxBytes.String(), "fix", "let fairlead run as the user that writes the logs")
	case v.over == 0:
		v.tight.over(l.log, "the volume is within its max_bytes again", "path", v.cfg.Path)
	}
	if v.unlogged > 0 && l.now-v.logged >= volumeLog {
		l.log.Error("log lines given up unread: max_bytes of the volume is reached", "path", v.cfg.Path, "bytes", v.unlogged, "max_bytes", v.cfg.MaxBytes.String(),
			"spool", st.Full)
		v.unlogged, v.logged = 0, l.now
	}
}

// short says whether less than bytes are left on the disk.
func (v *volume) short(bytes int64) bool {
	var st unix.Statfs_t
	return unix.Statfs(v.cfg.folder(), &st) == nil && int64(st.Bavail)*st.Bsize < bytes
}

var errTight = errors.New("over max_bytes")

// doneFile is a rotated file that was read to its end.
type doneFile struct {
	source *source
	tail.Rotated
}

// survey adds up what the volume takes and lists the rotated files that were read to their end, oldest first.
func (l *loop) survey(v *volume, st *spool.Stats) []doneFile {
	v.used = 0
	if v.spooled {
		v.used = st.Bytes
	}
	var all []doneFile
	for _, s := range l.sources {
		if s.volume != v {
			continue
		}
		for _, f := range s.files {
			v.used += f.Blocks()
		}
		siblings, err := s.chain.Rotated()
		if err != nil {
			v.trouble.report(l.log, "cannot list the rotated files", err, "path", s.name)
			continue
		}
		for _, sib := range siblings {
			if !sib.Held { // those were added above, by their descriptors
				v.used += sib.Blocks
			}
			if sib.Done {
				all = append(all, doneFile{s, sib})
			}
		}
	}
	return all
}

// deleteDone deletes the rotated files whose events are all in records up to seq.
func (l *loop) deleteDone(v *volume, done []doneFile, seq uint64) {
	for _, d := range done {
		last, known := d.source.doneSeq[d.Was]
		if !known {
			last = max(l.foundSeq, d.source.doneBefore) // an earlier life read it, or it was forgotten
		}
		if last > seq {
			continue
		}
		freed, err := d.Remove()
		if err != nil {
			v.trouble.report(l.log, "cannot delete a rotated file that was delivered", err, "path", d.Path,
				"fix", "let fairlead run as the user that writes the logs, or give it the folder")
			continue
		}
		delete(d.source.doneSeq, d.Was)
		v.gain(l, freed)
		l.log.Debug("rotated file deleted", "path", d.Path, "bytes", freed)
	}
}

// hollow gives the space of what lies before a place in each open file back to the disk.
func (l *loop) hollow(v *volume, through func(*openFile) int64) {
	for _, s := range l.sources {
		if s.volume != v {
			continue
		}
		for _, f := range s.files {
			if f.Packed() {
				continue
			}
			freed, err := f.FreeUpTo(min(through(f), f.Offset()))
			if err != nil {
				v.trouble.report(l.log, "cannot free what was delivered of a log", err, "path", f.Path,
					"fix", "let fairlead run as the user that writes the logs; the file system must know holes (fallocate)")
				continue
			}
			v.gain(l, freed)
		}
	}
}

func (v *volume) gain(l *loop, freed int64) {
	v.used -= freed
	l.metrics.freedBytes.Add(float64(freed))
	if freed > 0 && v.trouble.err != "" {
		v.trouble.over(l.log, "space on the volume can be freed again", "path", v.cfg.Path)
	}
}

// giveUpUnread frees bytes that nobody has read, where there is most of them.
func (l *loop) giveUpUnread(v *volume, need int64) {
	for need > 0 {
		most, f, unread := l.mostUnread(v)
		if f == nil {
			return
		}
		l.flushFolds(most)
		from, before := f.Offset(), v.used
		if f.Packed() {
			if !l.release(most, f) {
				return
			}
			l.metrics.lostFiles.WithLabelValues(lostVolume).Inc()
			v.used -= f.Blocks() // of a file that is deleted at the next look
		} else {
			blocks := f.Blocks()
			to, err := f.SkipTo(from + min(need, unread))
			if err != nil {
				v.trouble.report(l.log, "cannot free the beginning of a log", err, "path", f.Path,
					"fix", "let fairlead run as the user that writes the logs; the file system must know holes (fallocate)")
				return
			}
			f.fed, f.tailN, f.long = to, 0, false
			unread = to - from
			v.used -= blocks - f.Blocks()
		}
		v.unlogged += unread
		v.lost += unread
		l.metrics.lostBytes.WithLabelValues(lostVolume).Add(float64(unread))
		if before == v.used { // a file of holes
			return
		}
		need -= before - v.used
	}
}

// mostUnread finds the source with the most unread bytes, and the oldest of its files that has any.
func (l *loop) mostUnread(v *volume) (most *source, oldest *openFile, unread int64) {
	best := int64(0)
	for _, s := range l.sources {
		if s.volume != v || !s.ready {
			continue
		}
		all, first, n := int64(0), (*openFile)(nil), int64(0)
		for _, f := range s.files[min(s.current, len(s.files)):] {
			if f.Look() != nil {
				break // rewritten: the next visit sees to it
			}
			left := f.Size() - f.Offset()
			if all += left; first == nil && left > 0 {
				first, n = f, left
			}
		}
		if all > best {
			most, oldest, unread, best = s, first, n, all
		}
	}
	return most, oldest, unread
}

// VolumeStatus is what an entry of sources.files with max_bytes takes on its disk.
type VolumeStatus struct {
	Path      string `json:"path"`
	UsedBytes int64  `json:"used_bytes"` // the files with what was rotated, and the spool if it lies there too
	MaxBytes  int64  `json:"max_bytes"`
	LostBytes int64  `json:"lost_bytes"` // given up unread since the start
}

func (l *loop) volumeStatus() []VolumeStatus {
	var all []VolumeStatus
	for _, v := range l.volumes {
		all = append(all, VolumeStatus{v.cfg.Path, v.used, int64(v.cfg.MaxBytes), v.lost})
	}
	return all
}
