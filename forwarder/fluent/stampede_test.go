package fluent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dataless is a queue of which only Wait matters.
type dataless struct{ data bool }

func (q dataless) Next(dst []Frame, _ int, _ int64) ([]Frame, error) { return dst, nil }
func (q dataless) Rewind()                                           {}
func (q dataless) Ack(uint64) error                                  { return nil }
func (q dataless) Ready() bool                                       { return q.data }
func (q dataless) Wait(ctx context.Context) error {
	if q.data {
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

// fleet is a thousand senders before one receiver, in virtual time.
type fleet struct {
	up       func(context.Context) error // is the receiver there
	mu       sync.Mutex
	attempts []time.Duration // when each connect began, since the fault
	back     []time.Duration // when each sender was connected
	since    time.Time
}

const fleetSize = 1000

// dial counts, and keeps those that get through.
func (f *fleet) dial(ctx context.Context, _ netip.AddrPort) (Conn, error) {
	f.mu.Lock()
	f.attempts = append(f.attempts, time.Since(f.since))
	f.mu.Unlock()
	if err := f.up(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.back = append(f.back, time.Since(f.since))
	f.mu.Unlock()
	<-ctx.Done()
	return nil, ctx.Err()
}

// run lets all senders go on from what begin says, for so long.
func (f *fleet) run(data bool, long time.Duration, begin func(*Sender) restart) {
	ctx, cancel := context.WithCancel(context.Background())
	var senders sync.WaitGroup
	cfg := DefaultConfig()
	cfg.To = []Endpoint{{Address: "10.0.0.1:24224"}}
	m := NewMetrics(nil)
	f.since = time.Now()
	for range fleetSize {
		s := NewSender(cfg, dataless{data}, slog.New(slog.DiscardHandler), m)
		s.dial = f.dial
		s.cfg.ConnectTimeout = time.Hour // dial does it
		senders.Go(func() {
			s.timer = time.NewTimer(time.Hour)
			s.run(ctx, begin(s))
		})
	}
	time.Sleep(long)
	cancel()
	senders.Wait()
}

// peak is the most of the times that lie within any window of the length, from a time on.
func peak(times []time.Duration, window, from time.Duration) int {
	times = slices.DeleteFunc(slices.Sorted(slices.Values(times)), func(d time.Duration) bool { return d < from })
	most := 0
	for i, j := 0, 0; j < len(times); j++ {
		for times[j]-times[i] >= window {
			i++
		}
		most = max(most, j-i+1)
	}
	return most
}

// cut is the end of a connection that had served for a minute, with so many frames in flight.
func cut(inFlight int) func(*Sender) restart {
	return func(s *Sender) restart {
		now := time.Now()
		c := &session{s: s, p: s.peers[0], to: found{addr: netip.MustParseAddrPort("10.0.0.1:24224")}, fl: &s.flights,
			born: now.Add(-time.Minute), lastAck: now.Add(-time.Second), acks: 10, frames: 9}
		for range inFlight {
			c.fl.push()
		}
		return s.ended(c, &ended{peerReset, errors.New("cut")})
	}
}

// A thousand senders that lose their connections at one time do not come back at one time, and are back soon all the same.
func TestStampede(t *testing.T) {
	atOnce := func(*Sender) restart { return restart{} }
	refuse := func(context.Context) error { return syscall.ECONNREFUSED }
	accept := func(context.Context) error { return nil }
	const outage = time.Minute
	for _, c := range []struct {
		name     string
		data     bool
		begin    func(*Sender) restart
		up       func(f *fleet) func(context.Context) error
		from     time.Duration // where to look
		in100    int           // connects in any 100 ms, at most; all at once would be 1000
		in1s     int
		backFor  time.Duration // all are back by then, from from
		attempts int           // a second, over the outage; 0: not asked
	}{
		{"balancer cuts all, frames in flight", true, cut(3), func(*fleet) func(context.Context) error { return accept }, 0, 160, 1000, time.Second, 0},
		{"balancer cuts all, data waits", true, cut(0), func(*fleet) func(context.Context) error { return accept }, 0, 160, 1000, time.Second, 0},
		{"balancer cuts all, nothing to send", false, cut(0), func(*fleet) func(context.Context) error { return accept }, 0, 25, 90, 21 * time.Second, 0},
		{"receiver is back, had refused", true, atOnce, func(f *fleet) func(context.Context) error {
			return func(ctx context.Context) error {
				if time.Since(f.since) < outage {
					return refuse(ctx)
				}
				return nil
			}
		}, outage, 90, 500, 4 * time.Second, 600},
		{"receiver is back, had swallowed", true, atOnce, func(f *fleet) func(context.Context) error {
			return func(ctx context.Context) error {
				begun := time.Since(f.since)
				for _, syn := range []time.Duration{0, time.Second, 3 * time.Second} { // TCP sends its SYN again
					if wait := begun + syn - time.Since(f.since); wait > 0 {
						time.Sleep(wait)
					}
					if time.Since(f.since) >= outage {
						return nil
					}
				}
				time.Sleep(begun + 5*time.Second - time.Since(f.since)) // connect_timeout
				return syscall.ETIMEDOUT
			}
		}, outage, 200, 1000, 4 * time.Second, 250},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fleet{}
				f.up = c.up(f)
				f.run(c.data, c.from+30*time.Second, c.begin)
				if len(f.back) != fleetSize {
					t.Fatalf("%d of %d are back", len(f.back), fleetSize)
				}
				last := slices.Max(f.back) - c.from
				in100, in1s := peak(f.back, 100*time.Millisecond, c.from), peak(f.back, time.Second, c.from)
				perSecond := 0.
				if c.from > 0 {
					perSecond = float64(len(f.attempts)-fleetSize) / c.from.Seconds()
				}
				t.Logf("%d connects in the worst 100 ms, %d in the worst second; all back after %v; %.0f attempts a second before",
					in100, in1s, last.Round(time.Millisecond), perSecond)
				if in100 > c.in100 || in1s > c.in1s {
					t.Errorf("want at most %d and %d", c.in100, c.in1s)
				}
				if last > c.backFor {
					t.Errorf("want all back after %v", c.backFor)
				}
				if c.attempts > 0 && perSecond > float64(c.attempts) {
					t.Errorf("want at most %d attempts a second", c.attempts)
				}
			})
		})
	}
}
