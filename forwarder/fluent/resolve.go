package fluent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// resolver is *net.Resolver; tests have others.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// found is one address that a target leads to.
type found struct {
	addr     netip.AddrPort
	priority uint16 // of SRV: lower ones come first
	weight   int
}

// maxTargets bounds what one SRV answer can make us look up.
const maxTargets = 64

// lookup finds the addresses of an endpoint. network is ip, ip4 or ip6. whole is false when some targets of an SRV name
// could not be resolved: then what is missing in the list may still be there.
func (s *Sender) lookup(ctx context.Context, p *peer, network string) (list []found, whole bool, err error) {
	if p.fixed() {
		a, _ := netip.ParseAddr(p.host)
		return []found{{addr: netip.AddrPortFrom(a.Unmap(), p.port), weight: 1}}, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	if !p.srv {
		addrs, err := s.resolver.LookupNetIP(ctx, network, p.host)
		if err != nil {
			return nil, false, fmt.Errorf("resolve %s: %w", p.Address, err)
		}
		return appendFound(nil, addrs, found{weight: 1}, p.port), true, nil
	}
	_, targets, err := s.resolver.LookupSRV(ctx, "", "", p.host)
	if len(targets) == 0 && err == nil {
		err = errors.New("the answer names no target")
	}
	if len(targets) == 0 {
		return nil, false, fmt.Errorf("resolve the SRV name of %s: %w", p.Address, err)
	}
	whole, err = err == nil && len(targets) <= maxTargets, nil // beside an error there are those targets that have valid names
	for _, t := range targets[:min(len(targets), maxTargets)] {
		if t.Target == "." { // "the service is decidedly not available" (RFC 2782)
			err = cmp.Or(err, errors.New("the answer says that there is no such service"))
			continue
		}
		addrs, lookupErr := s.resolver.LookupNetIP(ctx, network, t.Target)
		if lookupErr != nil {
			whole, err = false, lookupErr
			continue
		}
		list = appendFound(list, addrs, found{priority: t.Priority, weight: int(t.Weight)}, t.Port)
	}
	if len(list) == 0 {
		return nil, false, fmt.Errorf("resolve the SRV targets of %s: %w", p.Address, err)
	}
	return list, whole, nil
}

// appendFound leaves out what is there already. The resolver gives IPv4 addresses as IPv6; they are remembered by what is
// connected to.
func appendFound(list []found, addrs []netip.Addr, like found, port uint16) []found {
	for _, a := range addrs {
		like.addr = netip.AddrPortFrom(a.Unmap(), port)
		if !slices.ContainsFunc(list, func(f found) bool { return f.addr == like.addr }) {
			list = append(list, like)
		}
	}
	return list
}

// sightings remember which addresses a name has lately been answered with, to tell an address that was taken out of DNS
// from one that a rotating name will answer with again.
//
// A name whose answers hold all its addresses never brings one back, so missing from a few answers in a row is enough.
// Route 53's weighted records answer with one address at a time, multivalue records with eight of many, and resolvers
// between keep an answer for its TTL: there any address is missing most of the time. Such names give themselves away: an
// address comes back. From then on one is gone only when it is missing for several times as long as any has been missing
// before it came back. So a rotating name costs a few needless moves in the life of a process and not one each
// resolve_every; and that a connection does not outlive max_connection_age holds for all.
type sightings struct {
	seen     map[netip.AddrPort]*sighting
	longest  time.Duration // that an address was missing before it came back
	cameBack time.Time     // when one last did
}

type sighting struct {
	last    time.Time
	missing int // from so many answers since
}

const (
	missingAnswers = 3                // in a row: the least for an address to be gone
	lookups        = 4                // in resolve_every, so that the last of those three lies within it
	missingTimes   = 3                // as long as the longest absence known
	rotatesFor     = 30 * time.Minute // after an address came back a name counts as rotating; failover records come back too
	forgetSighting = time.Hour
)

// note takes an answer. An answer without addresses of one family says nothing of that family: the query for it may
// have failed.
func (s *sightings) note(list []found, now time.Time) {
	if s.seen == nil {
		s.seen = map[netip.AddrPort]*sighting{}
	}
	var v4, v6 bool
	for _, f := range list {
		v4, v6 = v4 || f.addr.Addr().Is4(), v6 || f.addr.Addr().Is6()
	}
	for a, x := range s.seen {
		if now.Sub(x.last) > forgetSighting {
			delete(s.seen, a)
		} else if a.Addr().Is4() && v4 || a.Addr().Is6() && v6 {
			x.missing++
		}
	}
	for _, f := range list {
		x := s.seen[f.addr]
		if x == nil {
			x = &sighting{}
			s.seen[f.addr] = x
		} else if x.missing > 1 { // one of them was counted above, for this very answer
			if now.Sub(s.cameBack) > rotatesFor {
				s.longest = 0
			}
			s.longest, s.cameBack = max(s.longest, now.Sub(x.last)), now
		}
		x.last, x.missing = now, 0
	}
}

func (s *sightings) gone(a netip.AddrPort, now time.Time) bool {
	x := s.seen[a]
	if x == nil || x.missing < missingAnswers {
		return false
	}
	return now.Sub(s.cameBack) > rotatesFor || now.Sub(x.last) > missingTimes*s.longest
}
