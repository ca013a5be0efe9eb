package demo

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestBlock(t *testing.T) {
	v := view{Count: Count{Lines: 1234567, Expected: 1002, Events: 1000, Traces: 100, Overdue: 1, Repeated: 5}, elapsed: 12 * time.Second,
		total: 30 * time.Second, phase: "the containers write", writers: "by 4 containers", connectionsLost: 3, fault: "the receiver was killed"}
	d := &display{colour: true}
	var b strings.Builder
	for _, r := range d.block(v) {
		b.WriteString(d.paint(clip(r.text, 60), r.colour) + "\n")
		if n := utf8.RuneCountInString(clip(r.text, 60)); n > 60 {
			t.Errorf("line of %d characters: %q", n, r.text)
		}
	}
	for _, want := range []string{"1,234,567", "12 of 30 s", "the containers write", "\x1b[31m  lost                       1", "connections lost           3",
		"the receiver was killed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	d.colour = false
	if got := d.paint("text", red); got != "text" {
		t.Errorf("colour where none is wanted: %q", got)
	}
}

func TestScript(t *testing.T) {
	for at, want := range map[time.Duration]act{
		0:                             {writing: true, left: burst},
		killAt - 1:                    {writing: true, dumb: true, left: burst - killAt + 1},
		killAt:                        {writing: true, down: true, left: burst - killAt},
		killAt + killFor:              {writing: true, leave: true, left: burst - killAt - killFor},
		burst:                         {left: pauseFor},
		3*(burst+pauseFor) + burst/10: {round: 3, writing: true, left: burst - burst/10},
	} {
		if got := actAt(at); got != want {
			t.Errorf("at %v: got %+v, want %+v", at, got, want)
		}
	}
	if pauseFor-idleDrop < 1200*time.Millisecond {
		t.Error("a report that waits a second for its end would keep the connection from being idle for long enough")
	}
	began := time.Unix(1000, 0)
	for role := range casts {
		for s := range 100 {
			now := began.Add(time.Duration(s) * time.Second)
			l := leave(began, role, now)
			if a := actAt(l.Sub(began)); !a.leave || a.round%len(casts) != role || l.Sub(now) < removeAge {
				t.Errorf("role %d leaves at %v of round %d, %v from then", role, l.Sub(began), a.round, l.Sub(now))
			}
		}
	}
}
