package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What containers of these frameworks really wrote, in Docker's own json-file, each with the list of its events.
//
//go:embed logs
var logs embed.FS

// The corpora that are replayed, by the names of their containers.
var casts = []struct{ role, corpus string }{
	{"web", "rails61-default-tags"},
	{"api", "rails51-calls-tags"},
	{"shop", "rails61-lograge"},
	{"worker", "sidekiq"},
}

// corpus is one log cut into groups.
type corpus struct {
	boot []group // what only a process that starts writes
	loop []group // what it can go on writing
}

// group is the shortest run of records that begins and ends between events. Reports of several calls lie in each other, so a
// group can hold many events.
type group struct {
	gap     time.Duration // between the record before it and its first
	records []record
	events  []event
}

// record is one line of a json-file.
type record struct {
	head   []byte // the file's own bytes, up to the value of `time`
	text   string // what the process wrote
	stderr bool
}

// event is what is to arrive.
type event struct {
	text   string
	stderr bool
	lines  int // records
	first  int // index of its first record in the group
}

// player hands out the groups of a corpus one after the other, for ever.
type player struct {
	c      *corpus
	booted bool
	next   int
}

func (p *player) group() *group {
	list := p.c.loop
	if !p.booted {
		list = p.c.boot
	}
	if p.next == len(list) {
		p.booted, p.next, list = true, 0, p.c.loop
	}
	p.next++
	return &list[p.next-1]
}

// loadCorpora reads all of them, in the order of casts.
func loadCorpora() ([]*corpus, error) {
	all := make([]*corpus, len(casts))
	for i, c := range casts {
		var err error
		if all[i], err = loadCorpus(c.corpus); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// truth is an event as the corpus describes it.
type truth struct {
	Stream  string `json:"stream"`
	First   int    `json:"first"` // 1-based numbers of records
	Last    int    `json:"last"`
	Records []int  `json:"records"` // where they are not simply first to last
	Kind    string `json:"kind"`
	Ideal   bool   `json:"ideal"`
	Soft    bool   `json:"soft"`
}

// line is a record of the json-file.
type line struct {
	Log    string    `json:"log"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
	raw    []byte
}

// loadCorpus reads a corpus and keeps the events whose bounds can be told from the stream: of the others not even a person could
// say from the log alone where they end.
func loadCorpus(name string) (*corpus, error) {
	lines, err := readLines[line](name + ".json.log.gz")
	if err != nil {
		return nil, err
	}
	truths, err := readLines[truth](name + ".events.jsonl.gz")
	if err != nil {
		return nil, err
	}
	owner := make([]*truth, len(lines))
	left := map[*truth]int{} // records still to come of each event that is kept
	boot := map[*truth]bool{}
	starting := true
	for i := range truths {
		t := &truths[i]
		if t.Records == nil {
			for n := t.First; n <= t.Last; n++ {
				t.Records = append(t.Records, n)
			}
		}
		own := t.Kind == "puma-line" // of the server itself: it writes them as it starts and stops, bare in between prefixed ones
		starting = starting && own
		if !t.Ideal || t.Soft || own && !starting {
			continue
		}
		boot[t], left[t] = starting, len(t.Records)
		for _, n := range t.Records {
			if n < 1 || n > len(lines) {
				return nil, fmt.Errorf("logs %s: event %d has a record %d of %d", name, i+1, n, len(lines))
			}
			owner[n-1] = t
		}
	}
	c := &corpus{}
	var g group
	var members []*truth
	var numbers []int // of the records in g
	var before time.Time
	open := 0
	for i := range lines {
		t := owner[i]
		if t == nil {
			continue
		}
		l := &lines[i]
		if len(g.records) == 0 && !before.IsZero() {
			g.gap = max(0, l.Time.Sub(before))
		}
		before = l.Time
		if left[t] == len(t.Records) {
			open++
			members = append(members, t)
		}
		if left[t]--; left[t] == 0 {
			open--
		}
		at := bytes.LastIndex(l.raw, []byte(`"time":"`))
		if at < 0 {
			return nil, fmt.Errorf("logs %s: record %d has no time at its end", name, i+1)
		}
		g.records = append(g.records, record{head: l.raw[:at+len(`"time":"`)], text: l.Log, stderr: l.Stream == "stderr"})
		numbers = append(numbers, i+1)
		if open > 0 {
			continue
		}
		for _, t := range members {
			g.events = append(g.events, newEvent(lines, t, slices.Index(numbers, t.Records[0])))
		}
		if boot[members[0]] {
			c.boot = append(c.boot, g)
		} else {
			c.loop = append(c.loop, g)
		}
		g, members, numbers = group{}, nil, nil
	}
	return c, nil
}

// newEvent puts the text of an event together: what its records hold, less the last newline.
func newEvent(lines []line, t *truth, first int) event {
	var b strings.Builder
	for _, n := range t.Records {
		b.WriteString(lines[n-1].Log)
	}
	return event{text: strings.TrimSuffix(b.String(), "\n"), stderr: t.Stream == "stderr", lines: len(t.Records), first: first}
}

func (l *line) keep(raw []byte) { l.raw = bytes.Clone(raw) }
func (*truth) keep([]byte)      {}

// readLines decodes a file of one JSON object a line.
func readLines[T any, P interface {
	*T
	keep(raw []byte)
}](name string) ([]T, error) {
	f, err := logs.Open("logs/" + name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", name, err)
	}
	var all []T
	sc := bufio.NewScanner(zr)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("read %s: line %d: %w", name, len(all)+1, err)
		}
		P(&v).keep(sc.Bytes())
		all = append(all, v)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return all, nil
}
