package spool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// world is what outlives a process: log files, the receiver, and the knowledge of what was promised.
type world struct {
	rng     *rand.Rand
	files   map[int]*logFile // by inode number
	freed   []int            // inode numbers of files that are gone, given out again at once
	lines   []line           // by number
	records []*written
	next    int    // source number
	settled uint64 // records before were unlinked
	marker  bool

	ids     map[string]string // chunk id to content
	arrived int               // arrivals, repeats included
	repeats int
	allowed int            // repeats that faults explain
	order   map[[2]int]int // source and thread to the last number that arrived first
	strict  bool           // positions are never forgotten once their segment is unlinked
	ordered bool           // nothing happened that may change the order of first arrivals
}

// line is one numbered line.
type line struct {
	source, thread int
	head           bool
	text           string
	arrived        int
	settled        bool // its position must not be forgotten any more
	torn           bool // its log file lost bytes
	excused        bool // counted as dropped, or rotten with its only record
}

// written is one record as the owner knows it.
type written struct {
	seq   uint64
	nums  []int
	alive bool // it must not be lost
	safe  bool // not by a power cut either
	void  bool // a power cut may have taken its position
}

// logFile is one source: a file with numbered lines.
type logFile struct {
	ino, source int
	data        []byte
	deleted     bool
}

func (w *world) newLine(source int) int {
	n := len(w.lines)
	l := line{source: source, thread: w.rng.IntN(3), head: w.rng.IntN(3) > 0}
	kind := "c"
	if l.head {
		kind = "h"
	}
	l.text = fmt.Sprintf("%d %d %d %s %s\n", n, source, l.thread, kind, strings.Repeat(".", w.rng.IntN(30)))
	w.lines = append(w.lines, l)
	return n
}

func (w *world) newFile() *logFile {
	ino := len(w.files) + len(w.freed) + 1
	if n := len(w.freed); n > 0 {
		ino, w.freed = w.freed[n-1], w.freed[:n-1]
	}
	f := &logFile{ino: ino, source: w.next}
	w.next++
	w.files[ino] = f
	return f
}

// living returns the files in the order of their inode numbers.
func (w *world) living() []*logFile {
	var fs []*logFile
	for _, f := range w.files {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *logFile) int { return a.ino - b.ino })
	return fs
}

// release frees the inode of a deleted file nobody holds any more.
func (w *world) release(f *logFile) {
	delete(w.files, f.ino)
	w.freed = append(w.freed, f.ino)
}

// deliver is the receiver taking a frame.
func (w *world) deliver(frame []byte) error {
	id, text := string(frame[len(frame)-IDBytes:]), string(frame[:len(frame)-IDBytes])
	if old, ok := w.ids[id]; ok && old != text {
		return fmt.Errorf("id %s names two contents", id)
	}
	w.ids[id] = text
	nums, err := numbers(text)
	if err != nil {
		return err
	}
	for _, n := range nums {
		if n >= len(w.lines) {
			return fmt.Errorf("line %d was never written", n)
		}
		l := &w.lines[n]
		w.arrived++
		if l.arrived++; l.arrived > 1 {
			w.repeats++
			continue
		}
		key := [2]int{l.source, l.thread}
		if last, ok := w.order[key]; ok && w.ordered && last > n {
			return fmt.Errorf("line %d of source %d thread %d arrived first after line %d", n, l.source, l.thread, last)
		}
		w.order[key] = max(n, w.order[key])
	}
	return nil
}

func numbers(text string) ([]int, error) {
	var nums []int
	for _, s := range strings.Fields(text) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("invented: %q", text)
		}
		nums = append(nums, n)
	}
	return nums, nil
}
