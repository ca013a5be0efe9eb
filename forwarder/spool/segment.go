package spool

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	maxSegmentBytes = 16 << 20
	minSegmentBytes = 1 << 20
	segmentSuffix   = ".seg"
	badSuffix       = ".bad"
	tempSuffix      = ".tmp"
)

// segment is one file of the log. It is written by one life only and never reopened for writing. What is kept of it in memory
// does not grow with its records. All fields but the first three are under Spool.mu.
type segment struct {
	first uint64 // sequence number of the snapshot at its head, and its name
	path  string
	w     file // what it was written with; opened and closed with Spool.syncMu held, nil for a former life
	hold  file // of a former life's, as long as w: should its name be removed under us, this is all there is left of it

	last       uint64 // sequence number of its last record
	lastFrame  uint64 // of its last record that is to be sent, 0 if none
	lastInput  uint64 // of its last input record, 0 if none
	size       int64  // end of its last whole record; the Reader stops here
	disk       int64  // bytes of the file
	sealed     int64  // no pending frame in it is older, Unix milliseconds; 0 if none pends
	gaps       []gap  // where damage lies before size
	frames     int64  // frames not yet acked
	events     int64  // events in them
	bytes      int64  // bytes of them
	records    int    // valid records, if a former life wrote it
	synced     uint64 // the last record known to be on disk
	headSynced bool   // the snapshot at its head and its folder entry are on disk: what lies before it may go
	syncErr    error  // a sync failed: the kernel forgot those pages, a later success would prove nothing
	damaged    bool   // it holds bytes nobody understands: renamed, not unlinked, when its turn comes
}

// gap is a damaged stretch of a segment. The record at its end has sequence number next.
type gap struct {
	from, to int64
	next     uint64
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, segmentSuffix) }

// parseName reads the first sequence number off a file name of the given suffix. It takes what follows the number as
// belonging to the suffix, as in 0000000100000000-1a40.bad.
func parseName(name, suffix string) (uint64, bool) {
	stem, ok := strings.CutSuffix(name, suffix)
	if !ok || len(stem) < 16 || (len(stem) > 16 && suffix == segmentSuffix) {
		return 0, false
	}
	first, err := strconv.ParseUint(stem[:16], 16, 64)
	return first, err == nil
}

// dirty reports whether something in the segment must reach the disk before the spool may call everything in it safe.
func (g *segment) dirty(acked uint64) bool {
	return g.synced < g.last && (g.lastFrame > acked || g.lastInput > g.synced)
}

// gapAt returns the gap that off lies in.
func (g *segment) gapAt(off int64) (gap, bool) {
	for _, p := range g.gaps {
		if p.from <= off && off < p.to {
			return p, true
		}
	}
	return gap{}, false
}
