package fluent

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// name answers like a name in DNS, through a resolver that keeps each answer for its TTL.
type name struct {
	ttl    time.Duration
	draw   func(at time.Time) []int // an answer of the authority
	now    []int
	expire time.Time
}

func (n *name) lookup(at time.Time) []int {
	if !at.Before(n.expire) {
		n.now, n.expire = n.draw(at), at.Add(n.ttl)
	}
	return n.now
}

// fate is what became of one sender in a simulated time.
type fate struct {
	connects map[int]int // to each address
	held     map[int]time.Duration
	moves    int           // connections left because the address counted as gone
	late     time.Duration // the longest that an address was kept after it had left DNS for good
}

// live is the life of a sender as far as addresses go, with the figures of the default configuration.
func live(rnd *rand.Rand, n *name, long time.Duration, stands func(addr int, at time.Time) bool) fate {
	cfg := DefaultConfig()
	f := fate{connects: map[int]int{}, held: map[int]time.Duration{}}
	var s sightings
	addr := func(i int) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1) }
	look := func(at time.Time) []int {
		var list []found
		for _, i := range n.lookup(at) {
			list = append(list, found{addr: addr(i)})
		}
		s.note(list, at)
		return n.now
	}
	start := time.Unix(1760000000, 0)
	for at := start; at.Sub(start) < long; {
		answers := look(at)
		in := answers[rnd.IntN(len(answers))]
		f.connects[in]++
		old := at.Add(cfg.MaxConnectionAge - time.Duration(rnd.Int64N(int64(cfg.MaxConnectionAge/4))))
		var left time.Time // DNS, for good
		for at.Before(old) {
			step := cfg.ResolveEvery / lookups
			step -= time.Duration(rnd.Int64N(int64(step / 8)))
			at = at.Add(step)
			f.held[in] += step
			look(at)
			if stands(in, at) {
				left = time.Time{}
			} else if left.IsZero() {
				left = at.Add(-step)
			}
			if !left.IsZero() {
				f.late = max(f.late, at.Sub(left))
			}
			if s.gone(addr(in), at) {
				f.moves++
				break
			}
		}
	}
	return f
}

// A rotating name leads to the spread that its weights say, over connects and over time, and costs hardly a move; an
// address that leaves a name which answers with all it has is left within resolve_every.
func TestRotatingNames(t *testing.T) {
	const day = 24 * time.Hour
	always := func(int, time.Time) bool { return true }
	weighted := func(weights ...int) func(*rand.Rand) func(time.Time) []int {
		return func(rnd *rand.Rand) func(time.Time) []int {
			return func(time.Time) []int {
				total := 0
				for _, w := range weights {
					total += w
				}
				at := rnd.IntN(total)
				for i, w := range weights {
					if at -= w; at < 0 {
						return []int{i}
					}
				}
				panic("never")
			}
		}
	}
	for _, c := range []struct {
		name   string
		ttl    time.Duration
		draw   func(*rand.Rand) func(time.Time) []int
		stands func(int, time.Time) bool
		shares []float64
		moves  float64       // a day, on average
		late   time.Duration // 0: not asked
	}{
		{"weighted 50:50, no TTL", 0, weighted(50, 50), always, []float64{.5, .5}, 2, 0},
		{"weighted 50:50, TTL 60 s", time.Minute, weighted(50, 50), always, []float64{.5, .5}, 6, 0},
		{"weighted 90:10, no TTL", 0, weighted(90, 10), always, []float64{.9, .1}, 3, 0},
		{"weighted 90:10, TTL 60 s", time.Minute, weighted(90, 10), always, []float64{.9, .1}, 6, 0},
		{"weighted, four, TTL 60 s", time.Minute, weighted(40, 30, 20, 10), always, []float64{.4, .3, .2, .1}, 6, 0},
		{"multivalue, 8 of 20, TTL 60 s", time.Minute, func(rnd *rand.Rand) func(time.Time) []int {
			return func(time.Time) []int { return rnd.Perm(20)[:8] }
		}, always, nil, 6, 0},
		{"all of three, for ever", time.Minute, func(*rand.Rand) func(time.Time) []int {
			return func(time.Time) []int { return []int{0, 1, 2} }
		}, always, []float64{1. / 3, 1. / 3, 1. / 3}, 0, 0},
		{"replaced each hour, no TTL", 0, func(*rand.Rand) func(time.Time) []int {
			return func(at time.Time) []int { return []int{int(at.Unix()/3600) % 250} }
		}, func(i int, at time.Time) bool { return int(at.Unix()/3600)%250 == i }, nil, 25, 30 * time.Second},
		{"failover for an hour each two hours, no TTL", 0, func(*rand.Rand) func(time.Time) []int {
			return func(at time.Time) []int { return []int{int(at.Unix()/3600) % 2} }
		}, func(i int, at time.Time) bool { return int(at.Unix()/3600)%2 == i }, nil, 25, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			const agents = 12
			moves, connects, late := 0, map[int]int{}, time.Duration(0)
			held := map[int]time.Duration{}
			total, time := 0, time.Duration(0)
			for seed := range uint64(agents) {
				rnd := rand.New(rand.NewPCG(seed, 3))
				f := live(rnd, &name{ttl: c.ttl, draw: c.draw(rnd)}, day, c.stands)
				moves += f.moves
				late = max(late, f.late)
				for i, n := range f.connects {
					connects[i] += n
					total += n
				}
				for i, d := range f.held {
					held[i] += d
					time += d
				}
			}
			perDay := float64(moves) / agents
			t.Logf("%.1f moves a day, latest %v after it left", perDay, late)
			if perDay > c.moves {
				t.Errorf("%.1f moves a day, want at most %.0f", perDay, c.moves)
			}
			if c.late > 0 && late > c.late {
				t.Errorf("left %v after it was gone, want %v", late, c.late)
			}
			for i, share := range c.shares {
				overConnects, overTime := float64(connects[i])/float64(total), float64(held[i])/float64(time)
				t.Logf("address %d: %.3f of the connects, %.3f of the time, weight %.3f", i, overConnects, overTime, share)
				if overConnects < share-.03 || overConnects > share+.03 || overTime < share-.04 || overTime > share+.04 {
					t.Errorf("address %d: %.3f of the connects and %.3f of the time, want %.3f", i, overConnects, overTime, share)
				}
			}
		})
	}
}
