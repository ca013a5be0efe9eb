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
var vocabulary = strings.Split(`plain

  
RuntimeError (open
message):
    12: <p>
  
app/models/order.rb:15:in 'Order#take!'
app/views/orders/show.html.erb:5

Information for cause: KeyError (x):
  
app/models/order.rb:15:in 'Order#take!'
Started GET "/" for ::1 at now
F, [2026-01-02T03:04:05.000002 #7] FATAL -- :   
F, [2026-01-02T03:04:05.000002 #7] FATAL -- : RuntimeError (seven
second):
F, [2026-01-02T03:04:05.000002 #7] FATAL -- :     12: source
F, [2026-01-02T03:04:05.000002 #7] FATAL -- :   
F, [2026-01-02T03:04:05.000002 #7] FATAL -- : app/a.rb:6:in 'A#pay'
app/a.rb:6:in 'A#pay'
F, [2026-01-02T03:04:05.000002 #7] FATAL -- : app/b.rb:6:in 'A#pay'
I, [2026-01-02T03:04:05.000002 #7]  INFO -- : Completed 500 Internal Server Error in 3ms
F, [2026-01-02T03:04:05.000002 #8] FATAL -- :   
RuntimeError (eight):
F, [2026-01-02T03:04:05.000002 #8] FATAL -- : RuntimeError (eight
I, [2026-01-02T03:04:05.000002 #7]  INFO -- : info
two
  three
[11111111-2222-4333-8444-555555555555]   
[11111111-2222-4333-8444-555555555555] RuntimeError (boom):
[11111111-2222-4333-8444-555555555555]   
[11111111-2222-4333-8444-555555555555] app/models/order.rb:11:in 'Order#take!'
[99999999-aaaa-4bbb-8ccc-dddddddddddd]   
[99999999-aaaa-4bbb-8ccc-dddddddddddd] Started
2026-11-21T09:43:05.312Z pid=1 tid=a WARN: {"context":"x"}
2026-11-21T09:43:05.312Z pid=1 tid=b INFO: done
2026-11-21T09:43:05.312Z pid=1 tid=a WARN: RuntimeError: boom
2026-11-21T09:43:05.312Z pid=1 tid=b WARN: {"context":"x"}
2026-11-21T09:43:05.312Z pid=1 tid=a WARN: /app/sk.rb:14:in 'A#perform'
/app/sk.rb:14:in 'A#perform'
Note: this
app/models/order.rb:15:in 'Order#take!'
message (Shop::Refused)
payload was:
  indented
slow trace
	tabbed
2026-01-02 03:04:05 dated
more
2026-01-02T03:04:05Z INFO other date
/app/plain.rb:8:in 'value': meter not readable (Meter::ReadError)
message
	from /app/plain.rb:5:in 'value'
rake aborted!
KeyError: x
/app/plain.rb:5:in 'value'

Caused by:
KeyError: x
Tasks: TOP => x
(See full trace by running task with --trace)
Traceback (most recent call last):
  File "x"
ValueError: x
panic: oops

goroutine 1 [running]:
main.main()
	/app/main.go:33 +0x18e
==================
WARNING: DATA RACE
java.io.IOException: closed
second line of it
	at com.acme.Shop.main(Shop.java:37)
	... 3 more
Caused by: java.lang.NumberFormatException: x
	Suppressed: java.lang.X: y
Exception in thread "main" java.lang.Error: x
Nov 21, 2026 9:31:34 AM Billing main
SEVERE: run failed
TypeError: x is not a function
    at parse (/app/server.js:5:33)
    at node:internal/main/run_main_module:28:49 {
  [cause]: Error: y
  code: 'ENOENT',
}
/app/server.js:28
  throw x;
        ^
Node.js v20.20.2
{
  user: 1,
PHP Fatal error:  Uncaught X: y in /app/i.php:5
Stack trace:
#0 {main}
Next RuntimeException: z in /app/i.php:6
  thrown in /app/i.php on line 6
no such bucket at /app/job.pl line 6.
	main::inner("y") called at /app/job.pl line 7
Unhandled exception. System.Exception: x
   at Shop.Cart.Add(String sku) in /app/Cart.cs:line 12
 ---> System.Exception: inner
   --- End of inner exception stack trace ---
fail: Shop.Cart[0]
      text
thread 'main' panicked at src/main.rs:2:5:
stack backtrace:
   0: rust_begin_unwind
note: run with RUST_BACKTRACE=1
During handling of the above exception, another exception occurred:
  + Exception Group Traceback (most recent call last):
    | x
/app/x.py:12: DeprecationWarning: old
  old()
ERROR:root:failed
ESC[31mError: redESC[0m
ESC[31m    at f (/a.js:1:2)ESC[0m`, "\n")

func init() {
	for i := range vocabulary {
		vocabulary[i] = strings.ReplaceAll(vocabulary[i], "ESC", "\x1b")
	}
	if len(vocabulary) > 128 {
		panic("streamOf reaches 128 words only")
	}
}

// gaps between lines: within each of the waits, and over it.
var gaps = []time.Duration{0, 10 * time.Microsecond, time.Millisecond, 9 * time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond, 999 * time.Millisecond, time.Second, 3 * time.Second}

// streamOf makes a stream of bytes: two for a line, one of them its gap; some are cut into pieces.
func streamOf(data []byte) []Line {
	var lines []Line
	now := int64(time.Hour)
	word := 0
	for i := 0; i+1 < len(data) && len(lines) < 300; i += 2 {
		if data[i]%2 == 0 {
			word++ // what naturally follows
		} else {
			word = int(data[i]) / 2
		}
		text := vocabulary[word%len(vocabulary)]
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
	buf := make([]byte, 32<<10)
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
		if next-lines[i-1].Read > int64(10*time.Second) {
			s.Tick(next, emit)
			continue
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
			if got := restart(folder, lines, stop); !same(got, want) {
				t.Fatalf("restart before record %d, got\n%swant\n%s", stop, describe(got), describe(want))
			}
		}
	})
}

// restart folds up to a record, and then as a new process does: what pended is read again by a stream that remembers, and events are
// old if none of their records pended and all are before the mark.
func restart(folder *Folder, lines []Line, stop int) []folded {
	var got []folded
	emit := func(e *Event) { got = append(got, copyOf("", e)) }
	s := folder.Stream("a")
	for _, l := range lines[:stop] {
		s.Add(l, emit)
	}
	memory, from, done := s.Memory(), stop, -1
	pended := map[int]bool{}
	for _, p := range s.Open(nil) {
		from = min(from, int(p.Start))
		pended[int(p.Start)] = true
	}
	for _, e := range got {
		done = max(done, slices.Max(e.Records))
	}
	s = folder.Stream("a")
	s.SetMemory(memory)
	for _, e := range fold(s, lines[from:]) {
		if slices.Max(e.Records) > done || slices.ContainsFunc(e.Records, func(r int) bool { return pended[r] }) {
			got = append(got, e)
		}
	}
	return got
}

// TestSplitCorpora does the same with real logs.
func TestSplitCorpora(t *testing.T) {
	folder := newFolder(t, nil)
	for _, dir := range corpusCases(t) {
		for stream, lines := range corpusStreams(t, dir) {
			want := fold(folder.Stream("a"), lines)
			for seed := range uint64(2) {
				if got := split(folder, lines, seed); !same(got, want) {
					t.Errorf("%s of %s comes out otherwise when it is read in pieces, seed %d", stream, dir, seed)
				}
			}
		}
	}
}

// corpusStreams are the lines of stdout and stderr; positions are counted in each.
func corpusStreams(t testing.TB, dir string) map[string][]Line {
	t.Helper()
	streams := map[string][]Line{}
	for i, r := range readJSONLines[record](t, filepath.Join(dir, "json.log")) {
		l := r.lineOf(i)
		l.Pos.Start = int64(len(streams[r.Stream]))
		l.Pos.End = l.Pos.Start + 1
		streams[r.Stream] = append(streams[r.Stream], l)
	}
	return streams
}

// TestRestartCorpora ends the process within real logs, in the middle of their interleaved reports.
func TestRestartCorpora(t *testing.T) {
	folder := newFolder(t, nil)
	for _, dir := range corpusCases(t) {
		for stream, lines := range corpusStreams(t, dir) {
			want := fold(folder.Stream("a"), lines)
			for stop := 0; stop < len(lines); stop += 1 + len(lines)/11 {
				if got := restart(folder, lines, stop); !same(got, want) {
					t.Fatalf("%s of %s: restart before record %d, got\n%.3000swant\n%.3000s", stream, dir, stop, describe(got), describe(want))
				}
			}
		}
	}
}

// FuzzMemory restores from damaged bytes.
func FuzzMemory(f *testing.F) {
	folder := newFolder(f, nil)
	f.Add([]byte{memoryVersion, 4, 1, 0, 0, 0, 7}, []byte("abcd"))
	f.Add(append([]byte{memoryVersion, 4, 1, 0, 0, 0, 7}, make([]byte, 2*ghostBytes)...), []byte("abcdefghijkl"))
	f.Fuzz(func(t *testing.T, memory, data []byte) {
		lines := streamOf(data)
		s := folder.Stream("a")
		s.SetMemory(memory)
		checkWhole(t, fold(s, lines), len(lines), false)
	})
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
