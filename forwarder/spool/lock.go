package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrLocked is in the error of Open when another process, or another Spool of this one, has the directory.
var ErrLocked = errors.New("another daemon uses it")

const lockName = "lock"

// lock takes the directory for this process. The lock goes with the descriptor, so a killed holder leaves none behind.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if err != unix.EWOULDBLOCK {
			return nil, &os.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		return nil, fmt.Errorf("%w%s: stop it, or give this one a spool.dir of its own", ErrLocked, holder(f))
	}
	// Only for the message above: a lock without a name in it is as good.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// holder reads who wrote itself into the lock file: " (process 4711, fairlead)".
func holder(f *os.File) string {
	b, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return fmt.Sprintf(" (process %d, %s)", pid, strings.TrimSpace(string(comm)))
}
