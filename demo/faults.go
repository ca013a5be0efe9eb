package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// modes are the ways in which the balancer ends an idle connection, one a round.
var modes = []struct {
	mode balancer.Mode
	how  string
}{
	{balancer.FIN, "closed it, as a Classic Load Balancer"},
	{balancer.SilentReset, "forgot it in silence, as a Network Load Balancer"},
	{balancer.RST, "cut it with RST"},
	{balancer.Silent, "forgot it and swallows what comes, as a firewall"},
}

// faults kills the receiver and has the balancer drop idle connections, by the script.
type faults struct {
	recv  *receiver.Receiver
	bal   *balancer.Balancer
	began time.Time

	mu     sync.Mutex // guards what follows
	cut    int64      // connections that the receiver's death ended
	last   string
	lastAt time.Time
	isDown bool
}

func balancerOptions(round int) balancer.Options {
	return balancer.Options{Idle: idleDrop, Mode: modes[round%len(modes)].mode}
}

// run ends with the context, and leaves the receiver alive.
func (f *faults) run(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var dropped int64
	round := 0
	for {
		now := time.Now()
		a := actAt(now.Sub(f.began))
		if s := f.bal.Stats(); s.Dropped > dropped {
			dropped = s.Dropped
			f.note(now, "the balancer dropped an idle connection: it "+modes[round%len(modes)].how)
		}
		if a.round != round {
			round = a.round
			f.bal.Set(balancerOptions(round))
		}
		f.recv.Set(receiver.Behaviour{NoAcks: a.dumb})
		if err := f.set(a.down, now); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			f.recv.Set(receiver.Behaviour{})
			return f.revive()
		case <-tick.C:
		}
	}
}

// set kills the receiver or brings it back.
func (f *faults) set(down bool, now time.Time) error {
	f.mu.Lock()
	was := f.isDown
	f.isDown = down
	f.mu.Unlock()
	switch {
	case down && !was:
		held := f.bal.Stats().Active
		f.recv.Kill()
		f.mu.Lock()
		f.cut += min(held, 1) // there is one at a time; another is one that the balancer forgot before
		f.mu.Unlock()
		f.note(now, "the receiver was killed in the midst of data, its last acks lost")
	case !down && was:
		return f.revive()
	}
	return nil
}

// revive restarts the receiver on its port, which a connection of another program may hold for a moment. It does so after the end of
// the context too: what is still on its way has to arrive.
func (f *faults) revive() error {
	f.mu.Lock()
	f.isDown = false
	f.mu.Unlock()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	err := f.recv.Restart()
	for tries := 1; err != nil && tries < 20; tries++ {
		<-tick.C
		err = f.recv.Restart()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("restart the receiver: %w", err)
}

func (f *faults) note(now time.Time, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last, f.lastAt = what, now
}

// lost is how many connections ended against fairlead's will.
func (f *faults) lost() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut + f.bal.Stats().Dropped
}

func (f *faults) state() (last string, at time.Time, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.lastAt, f.isDown
}
