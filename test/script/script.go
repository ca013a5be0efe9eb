// Package script says what a writer of the whole-program tests writes, and which events must come of it.
//
// Both are pure functions of the writer's name and the number of the event, so that the program in the container and the oracle
// in the test agree on every byte without talking to each other. A stream is an endless run of groups of GroupEvents events; a group
// is made of units, the writes of which follow one another without a pause, as those of one request thread (or two) do.
// Every event carries its number once, as `w=<writer> s=<stream> n=<number> `.
package script

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// GroupEvents is the number of events of a group: event n belongs to group n/GroupEvents.
const GroupEvents = 16

// Layout is the manner of a stream.
type Layout string

// The layouts were read off corpora of real Rails logs. Left out is a plain error with its backtrace in one ordinary call: an
// ordinary head is held for its next line for 10 ms only, and a dockerd that rotates on a loaded machine may take longer.
const (
	TagsOneCall   Layout = "rails61-tags"  // Logger::Formatter with request ids; a report is one call
	TagsManyCalls Layout = "rails51-tags"  // the same; a report is four calls, with another request's lines between them now and then
	BareManyCalls Layout = "rails51-bare"  // no request ids; a report is four calls directly after each other
	Bare          Layout = "ruby-unmarked" // no prefix at all: plain lines, Ruby's own crash traces, rake's
)

// Layouts are all there are.
var Layouts = []Layout{TagsOneCall, TagsManyCalls, BareManyCalls, Bare}

// Stream is one output of one writer.
type Stream struct {
	Writer string
	Name   byte // 'o' for stdout, 'e' for stderr, anything for a file
	Layout Layout
	Long   bool // now and then a line over Docker's 16 KiB
}

// Unit is what is written without a pause, call by call, and the events that come of it, in the order in which they end. No text of
// an event has its last newline.
type Unit struct {
	Writes []string
	Events []string
}

// Group returns the units of group k.
func (s Stream) Group(k int) []Unit {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %c", s.Writer, s.Name)
	g := &group{stream: s, rng: rand.New(rand.NewPCG(h.Sum64(), uint64(k))), next: k * GroupEvents}
	end := g.next + GroupEvents
	for g.next < end {
		// What follows a report must be a plain line (Ruby writes the cause of a crash right behind it, in the same shape), also
		// the first of the next group.
		if room := end - g.next; room >= 4 && g.rng.IntN(4) == 0 {
			g.report()
		}
		g.line()
	}
	return g.units
}

// Event returns the text of event n.
func (s Stream) Event(n int) string {
	i := n % GroupEvents
	for _, u := range s.Group(n / GroupEvents) {
		if i < len(u.Events) {
			return u.Events[i]
		}
		i -= len(u.Events)
	}
	panic("script: a group is short of events")
}

// Mark is where an event says which it is.
type Mark struct {
	Writer string
	Stream byte
	N      int
}

var mark = regexp.MustCompile(`\bw=([0-9A-Za-z._-]+) s=(\w) n=(\d+) `)

// Marks finds all marks in a text. A text that is one event has exactly one.
func Marks(text string) []Mark {
	if !strings.Contains(text, "w=") {
		return nil
	}
	var marks []Mark
	for _, m := range mark.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[3])
		if err != nil {
			continue
		}
		marks = append(marks, Mark{Writer: m[1], Stream: m[2][0], N: n})
	}
	return marks
}
