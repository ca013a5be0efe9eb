package lab

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// Subject is who carries the lines.
type Subject string

// All subjects.
const (
	Fairlead    Subject = "fairlead"
	DockerSync  Subject = "Docker's driver"
	DockerAsync Subject = "Docker's driver, async"
)

// maxBatchFrames is what one fault may repeat.
const maxBatchFrames = 256

// lane is one subject with what it sends to. Lanes of a trial share nothing but the machine.
type lane struct {
	t         *Trial
	subject   Subject
	ledger    *Ledger
	receivers []*receiver.Receiver
	child     *child
	bal       *balancer.Balancer
	former    int64 // connections of balancers that are gone
	daemon    *Daemon
	container container
	dir       string

	mu       sync.Mutex // what the receivers' goroutines touch
	chunk    string
	chunks   map[string]bool
	repeated int // frames
	taken    int
}

// take is the handler of the receivers. With t.swallow it loses what it acknowledges, as no receiver may: to see that the ledger tells.
func (l *lane) take(e *receiver.Event) {
	text := e.Field("log")
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Chunk != l.chunk {
		l.chunk = e.Chunk
		if l.chunks[e.Chunk] {
			l.repeated++
		}
		l.chunks[e.Chunk] = true
	}
	if l.taken++; l.t.setup.swallow > 0 && l.taken%l.t.setup.swallow == 0 {
		return
	}
	l.ledger.Receive(text, time.Now())
}

// open starts receivers and, where there is one, the balancer before them.
func (l *lane) open() error {
	s := l.t.setup
	if s.child {
		var err error
		l.child, err = startChild(l.t.env.Self, l.ledger)
		return err
	}
	return l.t.far.Do(func() error {
		for i := range max(s.receivers, 1) {
			addr := "127.0.0.1:0"
			switch {
			case s.apart:
				addr = fmt.Sprintf("%s:%d", farAddress, 24224+i)
			case s.named:
				addr = fmt.Sprintf("127.0.73.%d:24224", i+1)
			}
			r, err := receiver.Listen(addr, l.take)
			if err != nil {
				return err
			}
			r.Set(s.behaviour)
			l.receivers = append(l.receivers, r)
		}
		if s.balancer == nil {
			return nil
		}
		addr := "127.0.0.1:0"
		if s.apart {
			addr = farAddress + ":0"
		}
		var backends []string
		for _, r := range l.receivers {
			backends = append(backends, r.Addr())
		}
		var err error
		l.bal, err = balancer.Listen(addr, l.t.inFar(*s.balancer), backends...)
		return err
	})
}

// addresses are what a sender is told.
func (l *lane) addresses() []string {
	switch {
	case l.child != nil:
		return []string{l.child.addr}
	case l.bal != nil:
		return []string{l.bal.Addr()}
	case l.t.setup.named:
		return []string{labName + ":24224"}
	}
	var all []string
	for _, r := range l.receivers {
		all = append(all, r.Addr())
	}
	return all
}

func (l *lane) connections() int64 {
	switch {
	case l.child != nil:
		return l.child.connections.Load()
	case l.bal != nil:
		return l.former + l.bal.Stats().Accepted
	}
	var n int64
	for _, r := range l.receivers {
		n += r.Stats().Connections
	}
	return n
}

// revive starts a killed receiver again on its port.
func (l *lane) revive(r *receiver.Receiver) error {
	return l.retry(func() error { return l.t.far.Do(r.Restart) })
}

// retry tries for a second: another connection may hold the port for a moment.
func (l *lane) retry(f func() error) error {
	err := f()
	for tries := 0; err != nil && tries < 20 && l.t.pause(50*time.Millisecond); tries++ {
		err = f()
	}
	return err
}

func (l *lane) closeBalancer() error {
	l.former += l.bal.Stats().Accepted
	return l.bal.Close()
}

func (l *lane) reopenBalancer(addr string, o balancer.Options) error {
	return l.retry(func() error {
		return l.t.far.Do(func() error {
			b, err := balancer.Listen(addr, l.t.inFar(o), l.receivers[0].Addr())
			if err == nil {
				l.bal = b
			}
			return err
		})
	})
}

// result is the verdict on the lane, and what else is wrong with it.
func (l *lane) result() (Result, []string) {
	r := l.ledger.Result(l.t.over)
	r.Connections = l.connections()
	if l.subject != Fairlead {
		return r, nil
	}
	problems := l.ledger.Problems()
	l.mu.Lock()
	defer l.mu.Unlock()
	if most := maxBatchFrames * (int(r.Connections) - 1 + l.t.kills); l.repeated > max(most, 0) {
		problems = append(problems, fmt.Sprintf("%d frames came again over %d connections, want at most %d", l.repeated, r.Connections, most))
	}
	if r.Written == 0 {
		problems = append(problems, "nothing was written, so nothing was tried")
	}
	return r, problems
}

func (l *lane) close(ctx context.Context) error {
	var errs []error
	if l.daemon != nil {
		errs = append(errs, l.daemon.kill())
	}
	errs = append(errs, l.container.remove(ctx, l.t.env.Engine))
	if l.bal != nil {
		errs = append(errs, l.bal.Close())
	}
	for _, r := range l.receivers {
		errs = append(errs, r.Close())
	}
	if l.child != nil {
		errs = append(errs, l.child.close())
	}
	return errors.Join(errs...)
}

// goBuild makes a static program.
func goBuild(dir, out, pkg string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, strings.TrimSpace(string(text)))
	}
	return nil
}
