package forwarder

import (
	"testing"

	"github.com/fairlead/fairlead/forwarder/backfill"
	"github.com/fairlead/fairlead/forwarder/listen"
)

func TestSendsTo(t *testing.T) {
	cfg := listen.Config{TCP: "127.0.0.1:24224", Unix: "/run/fairlead/fluent.sock"}
	for address, want := range map[string]bool{
		"": true, "127.0.0.1:24224": true, "tcp://localhost:24224": true, "localhost": true, "unix:///run/fairlead/fluent.sock": true,
		"127.0.0.1:24225": false, "fluentd.internal:24224": false, "unix:///run/other.sock": false, "tcp://10.0.0.1": false,
	} {
		if got := sendsTo(address, cfg); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
	if sendsTo("", listen.Config{}) {
		t.Error("a driver sends to a listener that is off")
	}
}

// TestMissing: of a cache, what is missing is what was neither had, nor filled before. Where the driver sends whole seconds, the lines of
// one second are told by how many of them there were.
func TestMissing(t *testing.T) {
	entry := func(source, text string, at int64) *listen.Entry {
		return &listen.Entry{Time: at, Line: &listen.Line{Source: []byte(source), Text: []byte(text)}}
	}
	count := func(g *gap, entries ...*listen.Entry) (missing []string) {
		f := newFiller(nil, g)
		for _, e := range entries {
			if f.missing(string(e.Line.Source), e) {
				missing = append(missing, string(e.Line.Text))
				g.filled[gapKey(string(e.Line.Source), e.Time, g.remote.WholeSeconds(), e.Line.Text)]++
			}
		}
		return missing
	}
	for _, precise := range []bool{true, false} {
		g := &gap{remote: &backfill.Remote{Options: map[string]string{}}, since: 5e9, filled: map[uint64]int32{}, dropped: map[uint64]int32{}}
		// Two lines were had in the second 7.
		g.from = map[string]had{"o": {time: 7e9, n: 2}}
		if precise {
			g.remote.Options["fluentd-sub-second-precision"] = "true"
			g.from = map[string]had{"o": {time: 7e9 + 2, n: 1}}
		}
		cache := []*listen.Entry{
			entry("stdout", "a", 7e9+1), entry("stdout", "b", 7e9+2), entry("stdout", "c", 7e9+3), entry("stdout", "c", 7e9+3),
			entry("stderr", "early", 4e9), entry("stderr", "late", 6e9), entry("stdout", "d", 9e9),
		}
		if got := count(g, cache...); len(got) != 4 || got[0] != "c" || got[1] != "c" || got[2] != "late" || got[3] != "d" {
			t.Errorf("precise %v: missing %v", precise, got)
		}
		if got := count(g, cache...); len(got) != 0 {
			t.Errorf("precise %v: missing again %v", precise, got)
		}
		live := entry("stdout", "c", 7e9+3)
		if !precise {
			live.Time = 7e9
		}
		for n, want := range []bool{true, true, false} {
			if got := g.heard(live); got != want {
				t.Errorf("precise %v: line %d that looks like the two filled: %v, want %v", precise, n+1, got, want)
			}
		}
		g.came, g.until = true, 10e9
		if got := count(g, append(cache, entry("stdout", "e", 10e9), entry("stdout", "after", 12e9))...); len(got) != 1 || got[0] != "e" {
			t.Errorf("precise %v: up to the first line that came, missing %v", precise, got)
		}
	}
}
