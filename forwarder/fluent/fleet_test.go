package fluent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// tier is a fleet before a tier of receivers, in virtual time. Each instance knows eight of them at most, as Route 53 answers.
type tier struct {
	instances, receivers int
	away                 func(receiver int, since time.Duration) bool

	mu       sync.Mutex
	begun    time.Time
	attempts int
	back     []time.Duration   // when each instance had a receiver again
	at       [][]time.Duration // of each receiver, when it was connected to
}

const known = 8

func address(receiver int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(receiver >> 8), byte(receiver)}), 24224)
}

// dial connects an instance, which has then done what it is here for.
func (f *tier) dial(done context.CancelFunc, a netip.AddrPort) (Conn, error) {
	b := a.Addr().As4()
	receiver := int(b[2])<<8 | int(b[3])
	since := time.Since(f.begun)
	f.mu.Lock()
	f.attempts++
	away := f.away(receiver, since)
	if !away {
		f.back = append(f.back, since)
		f.at[receiver] = append(f.at[receiver], since)
	}
	f.mu.Unlock()
	if away {
		return nil, syscall.ECONNREFUSED
	}
	done()
	return nil, context.Canceled
}

// run has those instances that were connected to a receiver that is away lose it, with data in flight, and waits so long.
func (f *tier) run(long time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	m := NewMetrics(nil)
	f.begun = time.Now()
	f.at = make([][]time.Duration, f.receivers)
	for i := range f.instances {
		was := i % f.receivers
		if !f.away(was, 0) {
			continue
		}
		cfg := DefaultConfig()
		cfg.To = []Endpoint{{Address: address(was).String()}}
		for _, other := range rand.Perm(f.receivers) {
			if len(cfg.To) < known && other != was {
				cfg.To = append(cfg.To, Endpoint{Address: address(other).String()})
			}
		}
		s := NewSender(cfg, dataless{true}, slog.New(slog.DiscardHandler), m)
		senders.Go(func() {
			ctx, done := context.WithCancel(ctx)
			defer done()
			s.dial = func(_ context.Context, a netip.AddrPort) (Conn, error) { return f.dial(done, a) }
			s.timer = time.NewTimer(time.Hour)
			s.run(ctx, cut(3)(s))
		})
	}
	time.Sleep(long)
	cancel()
	senders.Wait()
}

// What a fault of its receivers does to a tier, for fleets of several sizes: the load on each receiver goes by how many instances there are to a
// receiver, not by how many there are. docs/fleet.md has the figures.
func TestFleet(t *testing.T) {
	type size struct{ instances, receivers int }
	sizes := []size{{10, 2}, {1000, 4}}
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		sizes = append(sizes, size{100000, 400})
	}
	const outage = 20 * time.Second
	for _, c := range []struct {
		name string
		away func(receiver int, since time.Duration) bool
		from time.Duration
	}{
		{"one receiver dies", func(receiver int, _ time.Duration) bool { return receiver == 0 }, 0},
		{"all receivers are away", func(_ int, since time.Duration) bool { return since < outage }, outage},
	} {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s/%d", c.name, size.instances), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := &tier{instances: size.instances, receivers: size.receivers, away: c.away}
					f.run(c.from + 10*time.Second)
					lost := size.instances
					if c.from == 0 {
						lost = size.instances / size.receivers
					}
					if len(f.back) != lost {
						t.Fatalf("%d of %d instances are back", len(f.back), lost)
					}
					in100, in1s, most := 0, 0, 0
					for _, times := range f.at {
						in100, in1s, most = max(in100, peak(times, 100*time.Millisecond, c.from)), max(in1s, peak(times, time.Second, c.from)), max(most, len(times))
					}
					last := slices.Max(f.back) - c.from
					each := size.instances / size.receivers
					t.Logf("%d instances, %d receivers: %d instances lost theirs; the receiver that got most of them got %d, %d in its worst second, %d in its worst 100 ms; all back after %v; %d attempts",
						size.instances, size.receivers, lost, most, in1s, in100, last.Round(time.Millisecond), f.attempts)
					if last > 5*time.Second {
						t.Errorf("want all back within 5 s")
					}
					// At most twice its share of instances, and a third of these in the worst 100 ms.
					if most > 2*each+10 || in100 > (2*each+10)/3 {
						t.Errorf("a receiver has %d instances usually", each)
					}
				})
			})
		}
	}
}
