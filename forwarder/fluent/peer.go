package fluent

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// peer is an entry of `to` and what was learned about the receivers behind it. The sender's goroutine owns it, and while a
// session runs its watcher has health, addrs and seen; the fields that the ack reader also touches are in session.
type peer struct {
	Endpoint
	target
	health health
	addrs  map[netip.AddrPort]*health // of its addresses, those that failed
	seen   sightings

	pings     answer      // does it ack pings
	pongs     atomic.Bool // the same, for the watcher: it has acked one
	doubts    int         // connections on which it seemed not to
	learned   time.Time   // when pings became `no`
	hungUp    bool        // a connection ended on the first ping: the next one goes without, to see whether data fares better
	silences  int         // pings unanswered in a row
	single    int         // connections in a row that ended right after one acked message
	oneAtOnce bool        // it closes after each message
	packing   packing
}

type answer byte

const (
	unknown answer = iota
	yes
	no
)

func newPeer(e Endpoint) *peer {
	p := &peer{Endpoint: e, addrs: map[netip.AddrPort]*health{}}
	p.target, _ = parseAddress(e.Address) // Validate has refused one that is wrong
	return p
}

// fixed tells an IP address from a name.
func (p *peer) fixed() bool {
	_, err := netip.ParseAddr(p.host)
	return err == nil && !p.srv
}

// at returns the health of an address. What was known of those that failed long ago is forgotten.
func (p *peer) at(addr netip.AddrPort, now time.Time) *health {
	h := p.addrs[addr]
	if h == nil {
		for a, old := range p.addrs {
			if now.Sub(old.failed) > max(failureCounts, 2*old.penalty) {
				delete(p.addrs, a)
			}
		}
		h = &health{}
		p.addrs[addr] = h
	}
	return h
}

// groups puts addresses into the order in which they are to be tried: SRV's priorities apart, those that are down behind all.
func (p *peer) groups(list []found, now time.Time) [][]found {
	up, down := make([]found, 0, len(list)), []found(nil)
	for _, f := range list {
		if p.addrDown(f.addr, now) {
			down = append(down, f)
		} else {
			up = append(up, f)
		}
	}
	slices.SortStableFunc(up, func(a, b found) int { return int(a.priority) - int(b.priority) })
	var all [][]found
	for len(up) > 0 {
		n := 1
		for n < len(up) && up[n].priority == up[0].priority {
			n++
		}
		all, up = append(all, up[:n:n]), up[n:]
	}
	if len(down) > 0 {
		all = append(all, down)
	}
	for _, g := range all {
		spread(g, func(f found) float64 { return float64(f.weight) }, func(f found) time.Time { return p.addrLately(f.addr, now) })
	}
	return all
}

func (p *peer) addrDown(addr netip.AddrPort, now time.Time) bool {
	h := p.addrs[addr]
	return h != nil && h.down(now)
}

func (p *peer) addrLately(addr netip.AddrPort, now time.Time) time.Time {
	if h := p.addrs[addr]; h != nil {
		return h.lately(now)
	}
	return time.Time{}
}

// ranked puts endpoints into the order in which they are to be tried: primaries, standbys, and those that are down.
func ranked(peers []*peer, now time.Time) [][]*peer {
	var all [3][]*peer
	for _, p := range peers {
		rank := 0
		switch {
		case p.health.down(now):
			rank = 2
		case p.Standby:
			rank = 1
		}
		all[rank] = append(all[rank], p)
	}
	for _, g := range all {
		spread(g, func(p *peer) float64 { return float64(p.Weight.share()) }, func(p *peer) time.Time { return p.health.lately(now) })
	}
	return all[:]
}

// spread puts those that have not failed for longest first, and the ones that did not fail at all into random order by
// weight, so that a fleet of senders is spread over its receivers as the weights say.
func spread[T any](list []T, weight func(T) float64, failed func(T) time.Time) {
	type place struct {
		at     T
		failed time.Time
		key    float64 // the time of the first of random events that come at the rate of the weight
	}
	places := make([]place, len(list))
	for i, x := range list {
		places[i] = place{x, failed(x), rand.ExpFloat64() / max(weight(x), 0.001)} // SRV's weight 0 has a small chance
	}
	slices.SortFunc(places, func(a, b place) int {
		if c := a.failed.Compare(b.failed); c != 0 {
			return c
		}
		if a.key < b.key {
			return -1
		}
		return 1
	})
	for i := range places {
		list[i] = places[i].at
	}
}
