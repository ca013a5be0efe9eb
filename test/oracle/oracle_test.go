package oracle

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

var (
	s    = script.Stream{Writer: "w1", Name: 'o', Layout: script.TagsManyCalls}
	from = Source{Tag: "docker.w1", Fields: map[string]string{"container_id": "abc", "source": "stdout"}}
)

// arrivals are the first n events of s as they should come.
func arrivals(n int) []Event {
	now := time.Now().UnixNano()
	events := make([]Event, n)
	for i := range events {
		fields := map[string]string{"container_id": "abc", "source": "stdout", "extra": "x"}
		events[i] = Event{Tag: from.Tag, Time: now + int64(i), Log: s.Event(i), Fields: fields}
	}
	return events
}

// report returns the number of an event of several lines.
func report(t *testing.T) int {
	t.Helper()
	for n := range 100 {
		if strings.Contains(s.Event(n), "\n") {
			return n
		}
	}
	t.Fatal("no report among 100 events")
	return 0
}

func TestOracleNotices(t *testing.T) {
	const n = 64
	trace := report(t)
	tests := []struct {
		name    string
		spoil   func([]Event) []Event
		missing string // part of the complaint of Wait; "": complete
		problem string // part of the first problem; "": none
	}{
		{"nothing where all is well", func(e []Event) []Event { return e }, "", ""},
		{"nothing in repeats", func(e []Event) []Event { return append(e, e[5:20]...) }, "", ""},
		{"nothing in foreign events", func(e []Event) []Event { return append(e, Event{Tag: "docker.other", Log: "hello"}) }, "", ""},
		{"a lost event", func(e []Event) []Event { return append(e[:7], e[8:]...) }, "1 of 64 events: 7", ""},
		{"a lost end", func(e []Event) []Event { return e[:60] }, "4 of 64 events: 60-63", ""},
		{"a wrong order", func(e []Event) []Event { e[3], e[4] = e[4], e[3]; return e }, "", "event 3 arrived for the first time after event 4"},
		{"a split trace", func(e []Event) []Event {
			head, tail, _ := strings.Cut(e[trace].Log, "\n")
			second := e[trace]
			second.Log, e[trace].Log = tail, head
			return append(e, second)
		}, "", ""},
		{"a glued event", func(e []Event) []Event { e[8].Log += "\n" + e[9].Log; return append(e[:9], e[10:]...) }, "", "event 9 came glued to event 8"},
		{"another text", func(e []Event) []Event { e[2].Log += "\n"; return e }, "", "event 2 is not what was written"},
		{"another tag", func(e []Event) []Event { e[2].Tag = "docker.x"; return e }, "", `event 2 has tag "docker.x"`},
		{"another field", func(e []Event) []Event { e[2].Fields["source"] = "stderr"; return e }, "", `event 2 has source "stderr"`},
		{"another time at a repeat", func(e []Event) []Event { r := e[2]; r.Time++; return append(e, r) }, "", "event 2 came with time"},
		{"a time out of the way", func(e []Event) []Event { e[2].Time = 0; return e }, "", "not of today's run"},
		{"more than was written", func(e []Event) []Event { return append(e, arrivals(n + 1)[n]) }, "", "but only 64 were written"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := New()
			o.Expect(s, from)
			o.Add(tt.spoil(arrivals(n))...)
			o.Must(s, n)
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			err := o.Wait(ctx)
			if tt.missing == "" && err != nil {
				t.Errorf("Wait: %v, want nil", err)
			}
			if tt.missing != "" && (err == nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.missing)) {
				t.Errorf("Wait: %v, want %q in it", err, tt.missing)
			}
			problems := strings.Join(o.Problems(), "\n")
			if tt.name == "a split trace" {
				if problems == "" {
					t.Error("no problem found")
				}
				return
			}
			if (tt.problem == "") != (problems == "") || !strings.Contains(problems, tt.problem) {
				t.Errorf("problems: %s\nwant: %s", problems, tt.problem)
			}
		})
	}
}

func TestOracleCutEnd(t *testing.T) {
	trace := report(t)
	head, _, _ := strings.Cut(s.Event(trace), "\n") // a report's first line bears no number
	for _, tt := range []struct {
		name string
		end  string
		ok   bool
	}{
		{"nothing", "", true},
		{"a whole event", s.Event(trace), true},
		{"the head of a report", head, true},
		{"all but the end", s.Event(trace)[:len(s.Event(trace))-5], true},
		{"something else", "something else", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := New()
			o.Expect(s, from)
			o.Cut(s, trace)
			events := arrivals(trace + 1)
			if tt.end == "" {
				events = events[:trace]
			} else {
				events[trace].Log = tt.end
			}
			o.Add(events...)
			if err := o.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if problems := o.Problems(); (len(problems) == 0) != tt.ok {
				t.Errorf("problems: %q, want ok %v", problems, tt.ok)
			}
		})
	}
}
