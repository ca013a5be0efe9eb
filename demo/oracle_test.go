package demo

import (
	"testing"
	"time"
)

func TestOracle(t *testing.T) {
	two := &group{records: make([]record, 3), events: []event{{text: "one", lines: 1}, {text: "two\nlines", lines: 2, first: 1}}}
	type arrival struct {
		time int64
		text string
	}
	type want struct{ events, traces, missing, wrong, unexpected, repeated int }
	whole := []arrival{{1, "one"}, {2, "two\nlines"}}
	for _, c := range []struct {
		name    string
		arrived []arrival
		want    want
		ok      bool
	}{
		{"nothing", nil, want{missing: 2}, false},
		{"all", whole, want{events: 2, traces: 1}, true},
		{"repeated", append(whole, whole...), want{events: 2, traces: 1, repeated: 2}, true},
		{"one missing", whole[:1], want{events: 1, missing: 1}, false},
		{"torn", []arrival{{1, "one"}, {2, "two"}, {3, "lines"}}, want{events: 1, wrong: 1, unexpected: 1}, false},
		{"glued", []arrival{{1, "one\ntwo\nlines"}}, want{missing: 1, wrong: 1}, false},
		{"damaged in the repeat", append(whole, arrival{2, "two"}), want{events: 1, wrong: 1}, false},
		{"damaged, then right", append([]arrival{{2, "two"}}, whole...), want{events: 1, wrong: 1, repeated: 1}, false},
		{"never written", append(whole, arrival{9, "one"}), want{events: 2, traces: 1, unexpected: 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOracle()
			a := o.open("id", "name", nil)
			o.expect(a, two, []int64{1, 2, 3}, time.Now())
			o.receive("another", false, 1, []byte("not ours"))
			for _, e := range c.arrived {
				o.receive("id", false, e.time, []byte(e.text))
			}
			n := o.count(time.Now())
			if got := (want{n.Events, n.Traces, n.Missing(), n.Wrong, n.Unexpected, n.Repeated}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			v := Verdict{Count: n, Details: o.report()}
			if v.OK() != c.ok || (len(v.Details) == 0) != c.ok {
				t.Errorf("verdict %s, details %q", v, v.Details)
			}
		})
	}
}

// Where the times are the engine's, events of the same text are told apart by the times they come with.
func TestOracleWithoutTimes(t *testing.T) {
	same := &group{records: make([]record, 2), events: []event{{text: "same", lines: 1}, {text: "same", lines: 1, first: 1}}}
	o := newOracle()
	written := 0
	var a *account
	a = o.open("id", "name", func() {
		if written == 0 {
			o.expect(a, same, nil, time.Now())
		}
		written++
	})
	for _, c := range []struct {
		time                                  int64
		events, missing, unexpected, repeated int
	}{
		{10, 1, 1, 0, 0},
		{10, 1, 1, 0, 1},
		{11, 2, 0, 0, 1},
		{11, 2, 0, 0, 2},
		{12, 2, 0, 1, 2},
	} {
		o.receive("id", false, c.time, []byte("same"))
		if n := o.count(time.Now()); n.Events != c.events || n.Missing() != c.missing || n.Unexpected != c.unexpected || n.Repeated != c.repeated {
			t.Errorf("at %d: %+v, want %+v", c.time, n, c)
		}
	}
}

func TestOverdue(t *testing.T) {
	o := newOracle()
	a := o.open("id", "name", nil)
	now := time.Now()
	g := &group{records: make([]record, 1), events: []event{{text: "one", lines: 1}}}
	o.expect(a, g, []int64{1}, now)
	o.expect(a, g, []int64{2}, now.Add(overdueAfter))
	for after, want := range map[time.Duration]int{0: 0, overdueAfter - 1: 0, overdueAfter: 1, 2 * overdueAfter: 2} {
		if got := o.count(now.Add(after)).Overdue; got != want {
			t.Errorf("after %v: got %d overdue, want %d", after, got, want)
		}
	}
}
