package fold

import (
	"bytes"
	"testing"
	"time"
	"unsafe"
)

const ms = int64(time.Millisecond)

// TestWaits: what pends after a line, for how long, and what goes out at once.
func TestWaits(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		more  bool
		want  int64 // how long the last line is held; 0: not at all
	}{
		{"line without prefix", []string{"hello"}, false, 0},
		{"line with prefix", []string{"I, [2026-01-02T03:04:05.000002 #7]  INFO -- : one"}, false, 10 * ms},
		{"line with date", []string{"2026-01-02T03:04:05Z INFO one"}, false, 10 * ms},
		{"message of several lines", []string{"2026-01-02T03:04:05Z INFO one", "two"}, false, 10 * ms},
		{"fatal", []string{"F, [2026-01-02T03:04:05.000002 #7] FATAL -- : one"}, false, 1000 * ms},
		{"first call of a report", []string{"E, [2026-01-02T03:04:05.000002 #7] ERROR -- :   "}, false, 1000 * ms},
		{"first line of a report", []string{"  "}, false, 1000 * ms},
		{"head of a report", []string{"Shop::Refused (x):"}, false, 1000 * ms},
		{"frames", []string{"Shop::Refused: x", "app/a.rb:4:in 'A#b'"}, false, 1000 * ms},
		{"traceback", []string{"Traceback (most recent call last):"}, false, 1000 * ms},
		{"end of a traceback", []string{"Traceback (most recent call last):", "  x", "ValueError: y"}, false, 100 * ms},
		{"name of an exception", []string{"fetch failed: HttpError: bad gateway"}, false, 100 * ms},
		{"class with its package", []string{"java.io.IOException: closed"}, false, 1000 * ms},
		{"end of rake's report", []string{"rake aborted!", "x", "(See full trace by running task with --trace)"}, false, 0},
		{"sidekiq's first call", []string{`2026-11-21T09:43:05.312Z pid=1 tid=a WARN: {"context":"x"}`}, false, 1000 * ms},
		{"last line without newline", []string{"hello"}, true, 10 * ms},
		{"first 16 KiB of a line", []string{string(bytes.Repeat([]byte("x"), dockerPiece))}, true, 5000 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFolder(t, nil).Stream("a")
			n := 0
			emit := func(*Event) { n++ }
			read := int64(time.Hour) + 77 // later than the record's time: a pause of ours costs nothing
			for i, text := range c.lines {
				s.Add(Line{Text: []byte(text), Time: int64(i), Read: read, More: c.more}, emit)
			}
			got := int64(0)
			if d := s.Deadline(); d > 0 {
				got = d - read
			}
			if got != c.want {
				t.Fatalf("held for %v, want %v", time.Duration(got), time.Duration(c.want))
			}
			if c.want == 0 {
				if n != 1 {
					t.Errorf("%d events, want 1", n)
				}
				return
			}
			if s.Tick(read+c.want-1, emit); n != 0 {
				t.Error("ended before its time")
			}
			if s.Tick(read+c.want, emit); n != 1 || s.Pending() != 0 {
				t.Errorf("%d events at the deadline, %d bytes pend", n, s.Pending())
			}
		})
	}
}

// TestIdle: a stream without anything open holds no buffer, and the common line costs no allocation.
func TestIdle(t *testing.T) {
	f := newFolder(t, nil)
	s := f.Stream("a")
	emit := func(*Event) {}
	now := int64(1)
	line := []byte("I, [2026-01-02T03:04:05.000002 #7]  INFO -- : [11111111-2222-4333-8444-555555555555] one")
	add := func() {
		now += ms
		s.Add(Line{Text: line, Time: now, Read: now}, emit)
	}
	add()
	if n := testing.AllocsPerRun(1000, add); n > 0 {
		t.Errorf("%v allocations a line", n)
	}
	s.Retain()
	s.Tick(now+shortWait, emit)
	s.Retain()
	if s.spare != nil || len(s.open) != 0 || s.piece.text != nil || s.line.text != nil {
		t.Errorf("an idle stream holds buffers: %+v", s)
	}
	if n := unsafe.Sizeof(*s) + uintptr(cap(s.open))*8; n > 1<<10 {
		t.Errorf("an idle stream has %d bytes", n)
	}

	// A large event leaves nothing behind.
	s.Add(Line{Text: line, Time: now, Read: now}, emit)
	for range 3000 {
		s.Add(Line{Text: bytes.Repeat([]byte("x"), 100), Time: now, Read: now}, emit)
		s.Retain()
	}
	e := s.open[0]
	s.Flush(emit)
	if cap(e.own) > maxIdleBytes || cap(e.lines) > maxIdleLines || cap(e.pos) > maxIdleLines {
		t.Errorf("an event put back holds %d bytes, %d lines", cap(e.own), cap(e.lines))
	}
}
