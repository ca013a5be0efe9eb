package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is a child that dies with us: nothing stays behind even if we are killed.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended
	err    error         // how; only after exited
	wanted atomic.Bool   // its end was asked for
}

// StartProcess starts cmd in a space. The thread that starts it is kept until it ends: the kernel means that thread when it says that the
// parent died.
func StartProcess(cmd *exec.Cmd, in *Space) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		err := in.enter()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Died says that it ended without having been asked to.
func (p *Process) Died() bool {
	select {
	case <-p.exited:
		return !p.wanted.Load()
	default:
		return false
	}
}

// Err is how it ended, once it has: nil with exit code 0.
func (p *Process) Err() error {
	<-p.exited
	return p.err
}

// Signal is for signals that it survives.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// End sends a signal that ends it, and waits until it has.
func (p *Process) End(sig syscall.Signal, within time.Duration) error {
	if p.Died() {
		return fmt.Errorf("%s has ended by itself: %w", p.cmd.Path, p.err)
	}
	p.wanted.Store(true)
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(within):
		return fmt.Errorf("%s still runs %s after %s", p.cmd.Path, within, sig)
	}
}
