package fluent

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/internal/receiver"
)

// Weights decide which endpoint is taken at each connect; standbys come behind all primaries, and what is down behind those.
func TestEndpointsRanked(t *testing.T) {
	now := time.Now()
	a, b, c := newPeer(Endpoint{Address: "a:1"}), newPeer(Endpoint{Address: "b:1", Weight: 30}), newPeer(Endpoint{Address: "c:1", Weight: 10})
	spare := newPeer(Endpoint{Address: "d:1", Standby: true, Weight: 1000})
	first, second := map[*peer]int{}, map[*peer]int{}
	const draws = 20000
	for range draws {
		groups := ranked([]*peer{spare, a, b, c}, now)
		first[groups[0][0]]++
		second[groups[0][1]]++
		if len(groups[0]) != 3 || groups[1][0] != spare {
			t.Fatalf("groups %v", groups)
		}
	}
	for p, share := range map[*peer]float64{a: .6, b: .3, c: .1} { // 60 is the default
		if got := float64(first[p]) / draws; got < share-.02 || got > share+.02 {
			t.Errorf("%s first in %.3f of the connects, want %.2f", p.Address, got, share)
		}
	}
	if got, want := float64(second[a])/draws, .3*.6/.7+.1*.6/.9; got < want-.02 || got > want+.02 {
		t.Errorf("a second in %.3f of the connects, want %.3f", got, want)
	}

	// One that broke is the last of its rank for a minute, one that is down the last of all, and a standby before it.
	b.health.broke(now)
	if g := ranked([]*peer{spare, b, a}, now); g[0][0] != a || g[0][1] != b {
		t.Errorf("the one that broke comes first: %v", g)
	}
	a.health.unreachable(now, &defaultTune)
	b.health.unreachable(now, &defaultTune)
	if g := ranked([]*peer{b, spare, a}, now); len(g[0]) != 0 || g[1][0] != spare || len(g[2]) != 2 {
		t.Errorf("both primaries are down: %v", g)
	}
	if g := ranked([]*peer{spare, a, b}, now.Add(defaultTune.downFor)); len(g[0]) != 2 {
		t.Errorf("after some time they are tried again: %v", g)
	}
}

// Going where nothing is served becomes rare, and is forgiven only after it has served for as long.
func TestPenalty(t *testing.T) {
	now := time.Now()
	var h health
	var total time.Duration
	visits := 0
	for ; total < 6*time.Hour; visits++ {
		h.useless(now, &defaultTune)
		pause := h.retry.Sub(now)
		if pause > defaultTune.maxPenalty {
			t.Fatalf("down for %v", pause)
		}
		total += pause
		now = h.retry
		h.served(0, &defaultTune) // a probe found that it answers pings
	}
	if visits > 45 {
		t.Errorf("%d visits in 6 hours to one that serves nothing, want at most 45", visits)
	}
	h.served(time.Hour, &defaultTune)
	h.useless(now, &defaultTune)
	if got := h.retry.Sub(now); got != defaultTune.downFor {
		t.Errorf("down for %v after it had served, want %v", got, defaultTune.downFor)
	}
}

// standby is a rig with r.recv as the primary and another receiver as the standby.
func standby(t *testing.T) (r *rig, spare *receiver.Receiver) {
	r = newRig(t)
	spare, err := receiver.Listen("127.0.0.1:0", r.got.handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = spare.Close() })
	r.start(func(s *Sender) {
		s.cfg.ResolveEvery = testResolveEvery
		s.peers[1].Standby = true
	}, r.recv.Addr(), spare.Addr())
	return r, spare
}

// A standby is taken while the primary is away, and left when it is back: once, and with nothing sent twice.
func TestStandby(t *testing.T) {
	t.Parallel()
	r, spare := standby(t)
	at := func(x *receiver.Receiver) func() bool {
		return func() bool { return r.s.Status().Address == x.Addr() }
	}
	r.flow("the primary", at(r.recv))
	time.Sleep(3 * testTune.downFor)
	if n := spare.Stats().Connections; n > 0 {
		t.Errorf("%d connections to the standby while the primary works", n)
	}
	for range 3 {
		r.recv.Kill()
		r.flow("the standby", at(spare))
		r.check(6 * maxBatchFrames) // or what the kill cost would be counted later
		resent := testutil.ToFloat64(r.m.resent)
		if err := r.recv.Restart(); err != nil {
			t.Fatal(err)
		}
		r.flow("the primary again", at(r.recv))
		if n := testutil.ToFloat64(r.m.resent) - resent; n > 0 {
			t.Errorf("%v frames sent twice on the way back", n)
		}
	}
	r.check(3 * maxBatchFrames)
	if n := r.disconnects(preferred); n != 3 {
		t.Errorf("the standby was left %d times for the primary, want 3", n)
	}
	r.stop()
}

// A balancer's idle timeout, or the cut of a connection that served, is no reason to take a standby.
func TestStandbyIsNotForCuts(t *testing.T) {
	t.Parallel()
	r, spare := standby(t)
	for range 10 {
		r.add(20, 1, 100)
		r.check(0)
		r.recv.DropConnections()
	}
	if n := spare.Stats().Connections; n > 0 {
		t.Errorf("%d connections to the standby", n)
	}
	r.stop()
}

// A primary that accepts, acks pings and takes no data does not make the sender go to and fro.
func TestStandbyBehindFullPrimary(t *testing.T) {
	t.Parallel()
	r, spare := standby(t)
	r.recv.Set(receiver.Behaviour{Refuse: true})
	r.flow("the standby", func() bool { return r.s.Status().Address == spare.Addr() })
	begun := time.Now()
	r.flow("two seconds", func() bool { return time.Since(begun) > 2*time.Second })
	n, took := r.disconnects(preferred), time.Since(begun)
	if n > 5+int(took/time.Second) { // 50 ms, doubled: 100, 200, 400, 800, then each second
		t.Errorf("the standby was left %d times in %v for one that takes no data", n, took)
	}
	r.recv.Set(receiver.Behaviour{})
	r.flow("the primary", func() bool { return r.s.Status().Address == r.recv.Addr() })
	r.check(0)
	r.stop()
}
