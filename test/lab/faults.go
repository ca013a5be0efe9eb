package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
)

// pause lets the world go on for a while. It reports whether the trial goes on.
func (t *Trial) pause(d time.Duration) bool {
	t.do(func() error { return pause(t.ctx, d) })
	t.do(t.alive)
	return t.err == nil
}

// between pauses for a random time.
func (t *Trial) between(lo, hi time.Duration) {
	t.pause(lo + time.Duration(t.rnd.Int64N(int64(hi-lo))))
}

// ends notes that the last fault is over, and lets the weather be good for a while.
func (t *Trial) ends() {
	t.over = time.Now()
	t.pause(calm)
}

// behave sets what all receivers do.
func (t *Trial) behave(b receiver.Behaviour) {
	t.each(func(l *lane) error {
		for _, r := range l.receivers {
			r.Set(b)
		}
		return nil
	})
}

// balance sets the balancers.
func (t *Trial) balance(o balancer.Options) {
	t.each(func(l *lane) error { l.bal.Set(t.inFar(o)); return nil })
}

// inFar has a balancer reach its backends from where they are.
func (t *Trial) inFar(o balancer.Options) balancer.Options {
	o.Dial = func(addr string) (conn net.Conn, err error) {
		err = t.far.Do(func() error {
			conn, err = net.DialTimeout("tcp", addr, time.Second)
			return err
		})
		return conn, err
	}
	return o
}

// kill is kill -9 for a receiver of each lane, from its start with 0.
func (t *Trial) kill(i int) {
	t.each(func(l *lane) error { l.receivers[i].Kill(); return nil })
}

func (t *Trial) revive(i int) {
	t.each(func(l *lane) error { return l.revive(l.receivers[i]) })
}

// killFairlead is kill -9 and, after a while, a new start.
func (t *Trial) killFairlead(down time.Duration) {
	t.do(t.fairlead().daemon.kill)
	t.kills++
	t.do(func() error { return pause(t.ctx, down) })
	t.do(t.fairlead().daemon.start)
}

// freeze is SIGSTOP and, after a while, SIGCONT.
func (t *Trial) freeze(p *Process, d time.Duration) {
	t.do(func() error { return p.Signal(syscall.SIGSTOP) })
	t.do(func() error { return pause(t.ctx, d) })
	t.do(func() error { return p.Signal(syscall.SIGCONT) })
}

// weather sets the network's.
func (t *Trial) weather(w Weather) {
	t.do(func() error { t.link.Set(w); return nil })
}

// restartBalancer has all connections cut and nobody listen for a while.
func (t *Trial) restartBalancer(down time.Duration) {
	addr := map[*lane]string{}
	t.each(func(l *lane) error { addr[l] = l.bal.Addr(); return l.closeBalancer() })
	t.pause(down)
	t.each(func(l *lane) error { return l.reopenBalancer(addr[l], *t.setup.balancer) })
}

// fill takes what is free of fairlead's file system, all but a few bytes; the returned function gives it back.
func (t *Trial) fill(but int64) (empty func()) {
	ballast := filepath.Join(t.tmpfs, "ballast")
	t.do(func() error {
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		size := int64(0)
		for { // again where fairlead has taken some of it meanwhile
			var st syscall.Statfs_t
			if err := syscall.Statfs(t.tmpfs, &st); err != nil {
				return fmt.Errorf("see what is free: %w", err)
			}
			free := int64(st.Bavail)*st.Bsize - but
			if free <= 0 {
				return nil
			}
			err := syscall.Fallocate(int(f.Fd()), 0, size, free)
			if err == nil {
				size += free
			} else if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
		}
	})
	return func() { t.do(func() error { return os.Remove(ballast) }) }
}

// hold has the writers of the files be silent while f goes on.
func (t *Trial) hold(f func()) {
	t.silent.Lock()
	defer t.silent.Unlock()
	f()
}

// stutter has the writers silent again and again, for up to so long each time.
func (t *Trial) stutter(length, longest time.Duration) {
	for end := time.Now().Add(length); time.Now().Before(end) && t.err == nil; {
		t.hold(func() { t.between(200*time.Millisecond, longest) })
		t.pause(300 * time.Millisecond)
	}
}
