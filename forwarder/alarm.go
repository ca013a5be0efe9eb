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
	f    *os.File // nil: there is a Go timer instead
	conn syscall.RawConn
	rung atomic.Bool // since wait was last left

	timer *time.Timer
}

// newTimerAlarm is for where the kernel gives no timerfd, and for the virtual clock of a simulation.
func newTimerAlarm() *alarm { return &alarm{timer: time.NewTimer(time.Hour)} }

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
		a.set(0)
	}
}

// set has it ring after d, whatever was set before.
func (a *alarm) set(d time.Duration) {
	if a.f == nil {
		a.timer.Reset(d)
		return
	}
	_ = a.conn.Control(func(fd uintptr) { set(fd, d) })
}

// hear waits until what was set with set has passed.
func (a *alarm) hear() {
	if a.f == nil {
		<-a.timer.C
		return
	}
	var n [8]byte
	_, _ = a.f.Read(n[:])
}

// wait returns after d, or when it is rung. The descriptor is never read: to set the timer again makes it unready, and the
// runtime's poller is told of each time that it gets ready. It is set only when the poller is prepared, or that word is lost.
func (a *alarm) wait(d time.Duration) {
	defer a.rung.Store(false)
	if a.f == nil {
		if a.timer.Reset(d); !a.rung.Load() {
			<-a.timer.C
		}
		return
	}
	first := true
	_ = a.conn.Read(func(fd uintptr) bool {
		if !first {
			return true
		}
		first = false
		set(fd, d)
		return a.rung.Load() // before it was set: ring's own setting is lost
	})
}

func (a *alarm) close() {
	if a.f == nil {
		a.timer.Stop()
		return
	}
	_ = a.f.Close()
}
