package forwarder

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/internal/nowait"
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

func set(fd uintptr, d time.Duration) {
	_ = nowait.SetTimer(int(fd), &unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))}) // 0 would disarm it
}

// ring ends the present wait, or the next. It may be called from any goroutine.
func (a *alarm) ring() {
	if !a.rung.Swap(true) {
		_ = a.conn.Control(func(fd uintptr) { set(fd, 0) })
	}
}

// wait returns after d, or when it is rung. The descriptor is never read: to set the timer again makes it unready, and the
// runtime's poller is told of each time that it gets ready. It is set only when the poller is prepared, or that word is lost.
func (a *alarm) wait(d time.Duration) {
	first := true
	_ = a.conn.Read(func(fd uintptr) bool {
		if !first {
			return true
		}
		first = false
		set(fd, d)
		return a.rung.Load() // before it was set: ring's own setting is lost
	})
	a.rung.Store(false)
}

func (a *alarm) close() { _ = a.f.Close() }
