package forwarder

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
)

// The journal's mark:
//
//	key    journal \0
//	value  version  1 byte, 1
//	       cursor   uvarint length, bytes   the last entry before the oldest that pends; none: nothing was read before
//	       boot     uvarint length, bytes   the boot from whose begin on it is read where there is no cursor
//	       number   uvarint   of that entry
//	       since    varint    Unix ns, from when on the journal was read without a gap
//	       units    uvarint length, bytes   with blanks between
//	       a mark (mark.go) whose positions are numbers of entries
const (
	journalMark        = "journal\x00"
	journalMarkVersion = 1
)

func (j *journalIn) mark() []byte {
	base := &j.recent[0]
	dst := []byte{journalMarkVersion}
	for _, s := range []string{base.cursor, bootName()} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendUvarint(dst, uint64(base.n))
	dst = binary.AppendVarint(dst, j.since.Load())
	units := strings.Join(j.cfg.Units, " ")
	dst = binary.AppendUvarint(dst, uint64(len(units)))
	dst = append(dst, units...)
	var m mark
	fed := j.recent[len(j.recent)-1].n + 1
	for _, st := range j.streams {
		m.Streams = append(m.Streams, newStreamMark(st.name, st.fold.Open(nil), st.cover, st.done, fed, st.fold.Memory()))
	}
	for _, c := range j.covers { // while their lines are still to come
		if c.Done > fed {
			m.Streams = append(m.Streams, c)
		}
	}
	return m.append(dst)
}

// recall takes the journal's mark off those that the spool recovered. Without one, or with one that cannot be read, the journal is read
// from the begin of this boot.
func (j *journalIn) recall(marks map[string][]byte, log *slog.Logger) {
	j.since.Store(bootTime())
	value, ok := marks[journalMark]
	if !ok {
		return
	}
	delete(marks, journalMark)
	r := markReader{b: value}
	if v := r.byte(); v != journalMarkVersion {
		log.Error("position in the journal cannot be read; it is read from the begin of this boot", "err", fmt.Errorf("%w: version %d, know %d", errMark, v, journalMarkVersion))
		return
	}
	cursor, boot := string(r.bytes(int(r.count()))), string(r.bytes(int(r.count())))
	n, since := r.uvarint(), r.varint()
	units := string(r.bytes(int(r.count())))
	m, err := decodeMark(r.b)
	if r.bad {
		err = errMark
	}
	if err != nil {
		log.Error("position in the journal cannot be read; it is read from the begin of this boot", "err", err)
		return
	}
	if cursor == "" && boot != bootName() {
		return
	}
	j.recent = []journalPos{{n: int64(n), cursor: cursor}}
	j.since.Store(since)
	j.covers = m.Streams
	if units != strings.Join(j.cfg.Units, " ") {
		// The entries behind the mark are others now, and so are their numbers. That of the mark may not be found.
		j.known = strings.Fields(units)
		j.covers = nil
	}
}

// dropCovers forgets what an earlier life emitted: its numbers do not fit any more.
func (j *journalIn) dropCovers() {
	j.covers = nil
	for _, st := range j.streams {
		st.cover = nil
	}
}

// bootName is the kernel's name for this boot; empty where it cannot be read.
func bootName() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// bootTime is when this boot began, in Unix ns; now where that cannot be read.
func bootTime() int64 {
	b, err := os.ReadFile("/proc/stat")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			var sec int64
			if _, err := fmt.Sscanf(line, "btime %d", &sec); err == nil {
				return sec * 1e9
			}
		}
	}
	return time.Now().UnixNano()
}

// JournalStatus is the journal.
type JournalStatus struct {
	Units   []string `json:"units"`
	State   string   `json:"state"` // off, reading, waiting and for what, failing and why
	Entries int64    `json:"entries"`
	Events  int64    `json:"events"`
}

func (j *journalIn) status() JournalStatus {
	j.mu.Lock()
	defer j.mu.Unlock()
	return JournalStatus{Units: slices.Clone(j.cfg.Units), State: j.state, Entries: j.taken, Events: j.received}
}
