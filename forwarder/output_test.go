package forwarder

import (
	"log/slog"
	"testing"

	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/spool"
)

// A file is closed when what was read of it is safe, however busy other sources are: with one source or another always under
// construction, a wait for all of them would never end.
func TestRetireDoesNotWaitForOthers(t *testing.T) {
	var got []retired
	o := &output{retire: func(r []retired, _ uint64) { got = append(got, r...) }, builders: map[string]*builder{}, bytes: 1}
	quiet, busy := &source{name: "quiet"}, &source{name: "busy", unmarked: true}
	o.letGo(quiet, &openFile{})
	o.letGo(busy, &openFile{})
	o.letRetire()
	if len(got) != 1 || got[0].source != quiet {
		t.Fatalf("got %d files, want the one of the quiet source", len(got))
	}
	busy.unmarked = false
	o.letRetire()
	if len(got) != 2 || len(o.retired) != 0 {
		t.Errorf("got %d files, %d left", len(got), len(o.retired))
	}
}

// A builder goes with the last source that fed it: names of containers never end.
func TestBuilderGoesWithItsSources(t *testing.T) {
	l := newLab(t)
	sp, err := spool.Open(l.cfg.Spool, quietLog(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	o := &output{
		spool: sp, log: quietLog(), metrics: &metrics{}, builders: map[string]*builder{},
		marks: func(dst []byte, _ *source) []byte { return dst }, retire: func([]retired, uint64) {},
	}
	a, b := &source{name: "a", tag: "t"}, &source{name: "b", tag: "t"}
	for _, s := range []*source{a, b} {
		o.add(s, &stream{source: s}, oneLine("x"), 1)
	}
	o.sourceGone(a, nil)
	if len(o.builders) != 1 {
		t.Fatalf("%d builders while one source is left", len(o.builders))
	}
	o.add(b, &stream{source: b}, oneLine("y"), 1)
	o.sourceGone(b, nil)
	if len(o.builders) != 0 {
		t.Errorf("%d builders left", len(o.builders))
	}
	o.append()
	if st := sp.Stats(); st.PendingEvents != 3 {
		t.Errorf("%d events in the spool, want 3", st.PendingEvents)
	}
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func oneLine(text string) *fold.Event {
	return &fold.Event{Time: 1, Lines: [][]byte{[]byte(text)}, Pos: []fold.Pos{{End: 1}}}
}
