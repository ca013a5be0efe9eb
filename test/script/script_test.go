package script

import (
	"slices"
	"strings"
	"testing"
)

// What is written and what must arrive are the same bytes, every event bears its own number, and a report is where it should be.
func TestGroupsAreConsistent(t *testing.T) {
	for _, layout := range Layouts {
		t.Run(string(layout), func(t *testing.T) {
			s := Stream{Writer: "a-1", Name: 'o', Layout: layout, Long: true}
			next, reports, between := 0, 0, 0
			for k := range 200 {
				written, arrived := 0, 0
				for _, u := range s.Group(k) {
					for _, w := range u.Writes {
						written += len(w)
					}
					for _, e := range u.Events {
						arrived += len(e) + 1
						marks := Marks(e)
						if want := []Mark{{"a-1", 'o', next}}; !slices.Equal(marks, want) {
							t.Fatalf("group %d: marks %v, want %v in %q", k, marks, want, e)
						}
						if got := s.Event(next); got != e {
							t.Fatalf("Event(%d) = %q, want %q", next, got, e)
						}
						if strings.Contains(e, "\n") {
							reports++
						}
						next++
					}
					if len(u.Events) == 1 && strings.Join(u.Writes, "") != u.Events[0]+"\n" {
						t.Fatalf("group %d: written %q, want %q", k, u.Writes, u.Events[0])
					}
					if len(u.Events) > 1 {
						between++
					}
				}
				if written != arrived {
					t.Fatalf("group %d: %d bytes written, %d expected", k, written, arrived)
				}
				if next != (k+1)*GroupEvents {
					t.Fatalf("group %d ends before event %d", k, next)
				}
			}
			if reports < 200 {
				t.Errorf("%d reports among %d events", reports, next)
			}
			if (between > 0) != (layout == TagsManyCalls) {
				t.Errorf("%d interleaved reports", between)
			}
		})
	}
}
