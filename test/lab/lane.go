package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// Subject is who carries the lines.
type Subject string

// All subjects. The last three are Docker's driver with fairlead's listener for an address.
const (
	Fairlead     Subject = "fairlead"
	DockerSync   Subject = "Docker's driver"
	DockerAsync  Subject = "Docker's driver, async"
	ThroughSync  Subject = "Docker's driver through fairlead"
	ThroughAsync Subject = "Docker's driver, async, through fairlead"
	ThroughAck   Subject = "Docker's driver, async with acks, through fairlead"
)

// subjects are in the order of the table.
var subjects = []Subject{Fairlead, DockerSync, DockerAsync, ThroughSync, ThroughAsync, ThroughAck}

// through says that Docker's driver sends to a fairlead.
func (s Subject) through() bool { return s == ThroughSync || s == ThroughAsync || s == ThroughAck }

// ours says that fairlead answers for what becomes of the lines.
func (s Subject) ours() bool { return s == Fairlead || s.through() }

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

// socket is where the lane's fairlead listens to Docker's driver.
func (l *lane) socket() string {
	if !l.subject.through() {
		return ""
	}
	return filepath.Join(l.dir, "fluent.sock")
}

// startFairlead starts the lane's fairlead. Docker's driver does not start a container whose socket takes no connection.
func (l *lane) startFairlead() error {
	s, space := l.t.setup, l.t.near
	if l.subject != Fairlead {
		space = nil
	}
	health := "127.0.0.1:9778"
	if space == nil || space.net < 0 {
		var err error
		if health, err = FreeAddr(); err != nil {
			return err
		}
	}
	var to []string
	for _, a := range l.addresses() {
		to = append(to, fmt.Sprintf("%q", a))
	}
	if s.spool == "" {
		s.spool = "min_free: 0"
	}
	var err error
	if l.daemon, err = newDaemon(l.t.env.Fairlead, l.dir, space, health, strings.Join(to, ", "), filepath.Join(l.dir, "containers"), l.socket(), s.forward, s.spool); err != nil {
		return err
	}
	if err := l.daemon.start(); err != nil || l.subject == Fairlead {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("unix", l.socket())
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) || !l.t.pause(20*time.Millisecond) {
			return errors.Join(err, l.t.err)
		}
	}
}

// result is the verdict on the lane, and what else is wrong with it.
func (l *lane) result() (Result, []string) {
	r := l.ledger.Result(l.t.over)
	r.Connections = l.connections()
	if !l.subject.ours() {
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
	if l.subject != Fairlead {
		for i := range problems {
			problems[i] = string(l.subject) + ": " + problems[i]
		}
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
