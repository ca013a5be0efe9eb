package fold

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"
)

// vocabulary are lines of which the property tests make streams: each begins, continues or breaks something.
var vocabulary = []string{
	"", "  ", "plain", "payload was:", "slow trace", "  indented", "\ttabbed", "Note: this", "message (Shop::Refused)", "2026-01-02 03:04:05 dated",
	"2026-01-02T03:04:05Z INFO other date", "[11111111-2222-4333-8444-555555555555] Started", "[11111111-2222-4333-8444-555555555555]   ",
	"[11111111-2222-4333-8444-555555555555] RuntimeError (boom):", "[99999999-aaaa-4bbb-8ccc-dddddddddddd]   ",
	"[99999999-aaaa-4bbb-8ccc-dddddddddddd] app/models/order.rb:11:in `take!'", "I, [2026-01-02T03:04:05.000002 #7]  INFO -- : info",
	"I, [2026-01-02T03:04:05.000002 #7]  INFO -- : Completed 500 Internal Server Error in 3ms", "F, [2026-01-02T03:04:05.000002 #7] FATAL -- :   ",
	"F, [2026-01-02T03:04:05.000002 #7] FATAL -- : RuntimeError (seven):", "F, [2026-01-02T03:04:05.000002 #7] FATAL -- : app/a.rb:6:in `pay'",
	"F, [2026-01-02T03:04:05.000002 #8] FATAL -- :   ", "F, [2026-01-02T03:04:05.000002 #8] FATAL -- : RuntimeError (eight",
	"F, [2026-01-02T03:04:05.000002 #8] FATAL -- :     12: source", "RuntimeError (boom):", "RuntimeError (open", "app/models/order.rb:15:in `take!'",
	"app/views/orders/show.html.erb:5", "    12: <p>", "Caused by: KeyError (x)", "Information for: KeyError (x):", "Started GET \"/\" for ::1 at now",
	"/app/plain.rb:8:in `value': meter not readable (Meter::ReadError)", "\tfrom /app/plain.rb:5:in `value'", "rake aborted!", "Tasks: TOP => x",
	"(See full trace by running task with --trace)", "2026-11-21T09:43:05.312Z pid=1 tid=a WARN: {\"context\":\"x\"}",
	"2026-11-21T09:43:05.312Z pid=1 tid=a WARN: RuntimeError: boom", "2026-11-21T09:43:05.312Z pid=1 tid=a WARN: /app/sk.rb:14:in `perform'",
	"2026-11-21T09:43:05.312Z pid=1 tid=b WARN: {\"context\":\"x\"}", "2026-11-21T09:43:05.312Z pid=1 tid=b INFO: done",
	"Traceback (most recent call last):", "ValueError: x", "panic: oops", "goroutine 1 [running]:",
}

// gaps between lines: within each of the waits, and over it.
var gaps = []time.Duration{0, 10 * time.Microsecond, time.Millisecond, 9 * time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond, 999 * time.Millisecond, time.Second, 3 * time.Second}

// streamOf makes a stream of bytes: two for a line, one of them its gap; some are cut into pieces.
func streamOf(data []byte) []Line {
	var lines []Line
	now := int64(time.Hour)
	for i := 0; i+1 < len(data) && len(lines) < 300; i += 2 {
		text := vocabulary[int(data[i])%len(vocabulary)]
		g, pieces := int(data[i+1])%64, int(data[i+1])/64
		if g >= len(gaps) {
			g = 1 // mostly close together
		}
		now += int64(gaps[g])
		for p := pieces; p >= 0; p-- {
			n := len(text) / (p + 1)
			lines = append(lines, Line{Text: []byte(text[:n]), Time: now, More: p > 0})
			text = text[n:]
		}
		if pieces == 3 {
			lines[len(lines)-1].More = true // a last line without newline: the next time ends it
			now++
		}
	}
	for i := range lines {
		lines[i].Read = lines[i].Time
		lines[i].Pos = Pos{File: uint32(i / 50), Start: int64(i), End: int64(i) + 1}
	}
	return lines
}

// fold takes the lines in one go.
func fold(s *Stream, lines []Line) []folded {
	var got []folded
	emit := func(e *Event) { got = append(got, copyOf("", e)) }
	for _, l := range lines {
		s.Add(l, emit)
	}
	s.Flush(emit)
	return got
}

func describe(events []folded) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%v part %d %v %q\n", e.Records, e.Part, e.PartLast, e.Text)
	}
	return b.String()
}

func same(a, b []folded) bool { return describe(a) == describe(b) }

// checkWhole fails unless each record is in exactly one event, parts are numbered, and the events come in the order of their ends.
func checkWhole(t *testing.T, events []folded, n int, ordered bool) {
	t.Helper()
	var all []int
	last := -1
	for _, e := range events {
		all = append(all, e.Records...)
		if len(e.Records) == 0 {
			t.Fatalf("event without records: %+v", e)
		}
		if ordered && e.Part == 0 {
			if e.Records[len(e.Records)-1] < last {
				t.Fatalf("event that ends at %d after one that ends at %d", e.Records[len(e.Records)-1], last)
			}
			last = e.Records[len(e.Records)-1]
		}
	}
	sort.Ints(all)
	for i := range all {
		if all[i] != i {
			t.Fatalf("record %d is missing or repeated: %v", i, all)
		}
	}
	if len(all) != n {
		t.Fatalf("%d records came out of %d", len(all), n)
	}
}

func FuzzSplit(f *testing.F) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data, seed)
	}
	folder := newFolder(f, nil)
	small := newFolder(f, func(c *Config) { c.MaxBytes = minMaxBytes })
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		lines := streamOf(data)
		for _, folder := range []*Folder{folder, small} {
			want := fold(folder.Stream("a"), lines)
			checkWhole(t, want, len(lines), true)
			if got := split(folder, lines, seed); !same(got, want) {
				t.Fatalf("split differently, got\n%swant\n%s", describe(got), describe(want))
			}
		}
	})
}

// split reads the lines in pieces from one buffer that is used again, late, and with Ticks at the end of each read.
func split(folder *Folder, lines []Line, seed uint64) []folded {
	r := rand.New(rand.NewPCG(seed, 2))
	s := folder.Stream("a")
	var got []folded
	emit := func(e *Event) { got = append(got, copyOf("", e)) }
	buf := make([]byte, 1<<10)
	for i := 0; i < len(lines); {
		used, first := 0, i
		for ; i < len(lines) && (i == first || r.IntN(4) > 0) && used+len(lines[i].Text) <= len(buf); i++ {
			l := lines[i]
			n := copy(buf[used:], l.Text)
			l.Text = buf[used : used+n : used+n]
			used += n
			s.Add(l, emit)
		}
		s.Retain()
		for k := range buf {
			buf[k] = '#'
		}
		// At the end of the input: up to the time of what will come next.
		next := lines[i-1].Time + int64(2*time.Minute)
		if i < len(lines) {
			next = lines[i].Time
			if lines[i-1].More && next == lines[i-1].Time {
				continue
			}
		}
		for now := lines[i-1].Read; now <= next; now += int64(r.IntN(int(400 * time.Millisecond))) {
			if r.IntN(3) == 0 {
				d := s.Deadline()
				n := len(got)
				s.Tick(now, emit)
				if d > now && len(got) > n {
					panic("ended before its deadline")
				}
			}
			if next-now > int64(10*time.Second) {
				break
			}
		}
	}
	s.Flush(emit)
	if s.Pending() != 0 || len(s.Open(nil)) != 0 || s.Deadline() != 0 {
		panic("something pends after Flush")
	}
	return got
}

// FuzzRestart ends the process at a random record: what pends there is read again by a new stream that remembers.
func FuzzRestart(f *testing.F) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		data := make([]byte, 110)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data, uint16(seed*7))
	}
	folder := newFolder(f, nil)
	small := newFolder(f, func(c *Config) { c.MaxBytes = minMaxBytes })
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		lines := streamOf(data)
		if len(lines) == 0 || len(lines) > maxOpen {
			return
		}
		for _, folder := range []*Folder{folder, small} {
			want := fold(folder.Stream("a"), lines)
			stop := int(at) % len(lines)
			var got []folded
			emit := func(e *Event) { got = append(got, copyOf("", e)) }
			s := folder.Stream("a")
			for _, l := range lines[:stop] {
				s.Add(l, emit)
			}
			memory, open := s.Memory(), s.Open(nil)
			from, done := stop, -1
			if len(open) > 0 {
				from = int(open[0].Start)
			}
			pends := map[int]bool{}
			for _, p := range open {
				pends[int(p.Start)] = true
			}
			for _, e := range got {
				done = max(done, slices.Max(e.Records))
			}
			s = folder.Stream("a")
			s.SetMemory(memory)
			for _, e := range fold(s, lines[from:]) {
				// As the reader of the marks does: an event is old if none of its records is open and all are before the mark.
				if slices.Max(e.Records) > done || slices.ContainsFunc(e.Records, func(r int) bool { return pends[r] }) {
					got = append(got, e)
				}
			}
			if !same(got, want) {
				t.Fatalf("restart before record %d, read again from %d, got\n%swant\n%s", stop, from, describe(got), describe(want))
			}
		}
	})
}

// TestRestartCorpora restarts at every 7th record of the interleaved corpora.
func TestRestartCorpora(t *testing.T) {
	for _, name := range []string{"rails51-calls-tags", "rails51-calls-no-tags", "sidekiq"} {
		records := readJSONLines[record](t, filepath.Join("testdata/corpora", name, "json.log"))
		var lines []Line
		for i := range records {
			if records[i].Stream == "stdout" {
				lines = append(lines, records[i].lineOf(i+1))
			}
		}
		folder := newFolder(t, nil)
		want := fold(folder.Stream("a"), lines)
		for stop := 0; stop < len(lines); stop += 7 {
			s := folder.Stream("a")
			seen := map[string]bool{}
			emit := func(e *Event) { seen[copyOf("", e).Text] = true }
			for _, l := range lines[:stop] {
				s.Add(l, emit)
			}
			memory, from := s.Memory(), stop
			if open := s.Open(nil); len(open) > 0 {
				from = slices.IndexFunc(lines, func(l Line) bool { return l.Pos == open[0] })
			}
			s = folder.Stream("a")
			s.SetMemory(memory)
			for _, e := range fold(s, lines[from:]) {
				seen[e.Text] = true
			}
			for _, e := range want {
				if !seen[e.Text] {
					t.Fatalf("%s: restart before record %d loses the event of records %v", name, stop, e.Records)
				}
			}
		}
	}
}

func TestManyOpen(t *testing.T) {
	s := newFolder(t, nil).Stream("a")
	var got []folded
	emit := func(e *Event) { got = append(got, copyOf("", e)) }
	for i := range 200 {
		l := Line{Text: fmt.Appendf(nil, "F, [2026-01-02T03:04:05.000002 #%d] FATAL -- :   ", i), Time: int64(i), Read: int64(i), Pos: Pos{Start: int64(i)}}
		s.Add(l, emit)
		if n := len(s.Open(nil)); n > maxOpen {
			t.Fatalf("%d events are open", n)
		}
	}
	s.Flush(emit)
	checkWhole(t, got, 200, true)
}

func TestParts(t *testing.T) {
	f := newFolder(t, func(c *Config) { c.MaxBytes = 100 << 10 })
	var lines []Line
	var text bytes.Buffer
	add := func(b []byte, more bool) {
		text.Write(b)
		if !more {
			text.WriteByte('\n')
		}
		lines = append(lines, Line{Text: b, Time: 1, Read: 1, More: more, Pos: Pos{Start: int64(len(lines))}})
	}
	add([]byte("I, [2026-01-02T03:04:05.000002 #7]  INFO -- : "+strings.Repeat("x", 16000)), true)
	for i := range 40 { // a line of 40 pieces
		add(bytes.Repeat([]byte{byte('a' + i%26)}, dockerPiece), i < 39)
	}
	for range 5000 {
		add([]byte("a line that continues the message, and nothing else"), false)
	}
	for _, way := range []string{"add", "retain", "force"} {
		s := f.Stream("a")
		var got []folded
		emit := func(e *Event) { got = append(got, copyOf("", e)) }
		for i, l := range lines {
			s.Add(l, emit)
			if way != "add" {
				s.Retain()
			}
			if way == "force" && i%37 == 0 {
				s.Force(emit)
			}
			if n := s.Pending(); n > 200<<10 {
				t.Fatalf("%s: %d bytes pend", way, n)
			}
		}
		s.Flush(emit)
		checkWhole(t, got, len(lines), false)
		var whole bytes.Buffer
		for i, e := range got {
			whole.WriteString(e.Text)
			if e.Part != i+1 || e.PartLast != (i == len(got)-1) {
				t.Errorf("%s: part %d of %d is numbered %d, last %v", way, i+1, len(got), e.Part, e.PartLast)
			}
			if len(e.Text) > 100<<10+dockerPiece {
				t.Errorf("%s: part %d has %d bytes", way, e.Part, len(e.Text))
			}
		}
		if want := bytes.TrimSuffix(text.Bytes(), []byte("\n")); !bytes.Equal(whole.Bytes(), want) {
			t.Errorf("%s: the parts have %d bytes, want %d", way, whole.Len(), len(want))
		}
	}
}
