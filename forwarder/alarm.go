package forwarder

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is the loop's clock and bell: a timerfd. A Go timer would wake the process two or three times for each turn (the runtime
// waits in whole milliseconds rounded down, and its monitor thread wakes for each timer too), and at light load waking up is
// most of what a turn costs.
type alarm struct {
	f    *os.File
	conn syscall.RawConn
	rung atomic.Bool // since wait was last left
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	a := &alarm{f: os.NewFile(uintptr(fd), "timerfd")}
	if a.conn, err = a.f.SyscallConn(); err != nil {
		_ = a.f.Close()
		return nil, fmt.Errorf("timerfd: %w", err)
	}
	return a, nil
}

func (a *alarm) set(d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))} // 0 would disarm it
	_ = a.conn.Control(func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), 0, &spec, nil) })
}

// ring ends the present wait, or the next. It may be called from any goroutine.
func (a *alarm) ring() {
	if !a.rung.Swap(true) {
		a.set(0)
	}
}

// wait returns after d, or when it is rung.
func (a *alarm) wait(d time.Duration) {
	a.set(d)
	if !a.rung.Load() { // before set, ring's own setting is lost
		var n [8]byte
		_, _ = a.f.Read(n[:])
	}
	a.rung.Store(false)
}

func (a *alarm) close() { _ = a.f.Close() }
