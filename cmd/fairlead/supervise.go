package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A process with a thread that sleeps in the kernel, over a dead file system, does not end, not even by SIGKILL. So a bundle is made by a
// child, which says over a pipe that it is done; whoever waits for the command waits for a process that touches nothing.

const (
	workerVariable  = "_FAIRLEAD_BUNDLE_WORKER" // no key of the configuration; the descriptor on which a worker says that it is done
	supervisorGrace = 4 * time.Second
	letGoWithin     = 3 * time.Second // for a worker that is given up to let go of our output, on a busy host
)

func isWorker() bool { return os.Getenv(workerVariable) != "" }

// supervise runs this command again as a worker and answers its exit code. An error says that it could not be started.
func supervise(c *cobra.Command, limit time.Duration) (int, error) {
	done, says, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer done.Close()
	wanted, giveUp, err := os.Pipe()
	if err != nil {
		says.Close()
		return 0, err
	}
	defer giveUp.Close()
	worker := exec.Command("/proc/self/exe", os.Args[1:]...)
	worker.Args[0] = os.Args[0]
	worker.Env = append(os.Environ(), workerVariable+"=3")
	worker.Stdin, worker.Stdout, worker.Stderr = os.Stdin, c.OutOrStdout(), c.ErrOrStderr()
	worker.ExtraFiles = []*os.File{says, wanted}
	worker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C comes once, from here
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	started := make(chan error)
	go func() {
		// The child has the priority of the thread that starts it, in all its threads; this one ends with the goroutine.
		runtime.LockOSThread()
		setPriority(0)
		started <- worker.Start()
	}()
	err = <-started
	says.Close()
	wanted.Close()
	if err != nil {
		return 0, err
	}
	ended, said := make(chan int, 1), make(chan int, 1)
	unread := false // set before ended
	go func() {     // ends with the worker, which may outlive us
		err := worker.Wait()
		var e *exec.ExitError
		if err != nil && !errors.As(err, &e) {
			ended <- 1
			return
		}
		if status, ok := worker.ProcessState.Sys().(syscall.WaitStatus); ok {
			unread = status.Signaled() && status.Signal() == syscall.SIGPIPE
		}
		ended <- max(worker.ProcessState.ExitCode(), -1)
	}()
	go func() {
		buf := make([]byte, 16)
		n, _ := done.Read(buf)
		if code, err := strconv.Atoi(strings.TrimSpace(string(buf[:n]))); err == nil {
			said <- code
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case code := <-ended:
			switch {
			case code < 0 && unread:
				code = 1
				fmt.Fprintln(c.ErrOrStderr(), "fairlead: nobody reads standard output any more: there is no bundle")
			case code < 0:
				code = 1
				fmt.Fprintln(c.ErrOrStderr(), "fairlead: the process that gathers was killed: there is no bundle")
			}
			return code, nil
		case code := <-said:
			select {
			case <-ended:
			case <-time.After(200 * time.Millisecond): // it may never end
			}
			return code, nil
		case s := <-signals:
			_ = worker.Process.Signal(s)
		case <-timer.C:
			// Killed with a thread that sleeps, it would keep our output open, and who reads that would wait as long.
			_, _ = giveUp.Write([]byte{1})
			select {
			case code := <-said:
				if code == 0 { // done, just now
					return 0, nil
				}
			case <-ended:
			case <-time.After(letGoWithin):
			}
			_ = syscall.Kill(-worker.Process.Pid, syscall.SIGKILL)
			fmt.Fprintln(c.ErrOrStderr(), "fairlead: the place that the bundle is written to does not answer: there is no bundle (try --output - or --upload)")
			return 1, nil
		}
	}
}

// sayDone tells the supervisor, and lets go of what others wait for the end of: descriptors stay open as long as any thread sleeps.
func sayDone(code int) {
	fd, err := strconv.Atoi(os.Getenv(workerVariable))
	if err != nil {
		return
	}
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		_ = f.Close()
	}
	says := os.NewFile(uintptr(fd), "supervisor")
	_, _ = fmt.Fprintln(says, code) // a supervisor that is gone needs no answer
	_ = says.Close()
}

// letGoWhenGivenUp has a worker do so when the supervisor asks for it, by the descriptor after that of done. It is no signal because the
// kernel likes to give that to the first thread of a process, which may be the one that sleeps.
func letGoWhenGivenUp() {
	fd, err := strconv.Atoi(os.Getenv(workerVariable))
	if err != nil {
		return
	}
	unix.CloseOnExec(fd)
	unix.CloseOnExec(fd + 1)
	_ = unix.SetNonblock(fd+1, true) // no thread is to wait there
	wanted := os.NewFile(uintptr(fd+1), "supervisor")
	go func() {
		if n, _ := wanted.Read(make([]byte, 1)); n > 0 { // the end of it is that of the supervisor: the bundle is made all the same
			sayDone(1)
		}
	}()
}

const (
	nicest         = 19
	ioprioWhoPID   = 1
	ioprioBestLast = 2<<13 | 7 // best effort, last of all: idle would starve beside a busy disk
)

// setPriority puts a thread behind all others, for processor and disk. 0 is the present one.
func setPriority(tid int) {
	_ = unix.Setpriority(unix.PRIO_PROCESS, tid, nicest) // what cannot be had is done without
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoPID, uintptr(tid), ioprioBestLast)
}

// lowerPriority does so for all threads there are, and has the kernel take this process first when memory runs out.
func lowerPriority() {
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			setPriority(tid)
		}
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("800"), 0)
}
