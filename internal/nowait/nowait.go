// Package nowait makes system calls that return at once, without a word to the Go scheduler. Around an ordinary call the
// scheduler gets ready for a thread that blocks: it wakes its monitor thread, which then looks every 20 µs until the process
// sleeps again. To a process that wakes thirty times a second for half a hundred calls of a microsecond each, that is most of
// what it costs. Nothing here may block: the scheduler could not take the processor away.
package nowait

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageBytes divides the size of every page: a read cut short because the next page is not in memory ends at one, and a read that ends
// elsewhere has come to the end of the file.
const pageBytes = 4096

// unable is set once the kernel has said that it has no such call.
var unable atomic.Bool

// Open opens a file for reading, without a note of each reading in its inode: a log that is read after each line written would
// cost the file system a journal entry a time. Only the owner and root can have it so; for others the file is opened as ever.
func Open(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOATIME|flags, 0)
	if errors.Is(err, unix.EPERM) {
		return os.OpenFile(path, os.O_RDONLY|flags, 0)
	}
	return f, err
}

// Pread fills b from off as far as the file goes, as pread(2) does. What is in the page cache, nearly always the newest end of
// a log, is read without waiting; the rest by an ordinary call.
func Pread(f *os.File, b []byte, off int64) (int, error) {
	defer runtime.KeepAlive(f)
	fd, n := int(f.Fd()), 0
	for n < len(b) {
		m, err := cached(fd, b[n:], off+int64(n))
		if err != nil {
			break
		}
		if m == 0 { // the end, it says; Linux 5.9 and 5.10 say so before it as well (preadv2(2), BUGS)
			if ends(fd, off+int64(n)) {
				return n, nil
			}
			break
		}
		if n += m; (off+int64(n))%pageBytes != 0 {
			return n, nil
		}
	}
	for n < len(b) {
		m, err := unix.Pread(fd, b[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, err
		}
		if n += m; m == 0 {
			break
		}
	}
	return n, nil
}

// cached reads what lies in the page cache.
func cached(fd int, b []byte, off int64) (int, error) {
	if unable.Load() {
		return 0, unix.ENOSYS
	}
	iov := unix.Iovec{Base: unsafe.SliceData(b)}
	iov.SetLen(len(b))
	low, high := uintptr(off), uintptr(uint64(off)>>32)
	if unsafe.Sizeof(low) == 8 {
		high = 0
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, low, high, unix.RWF_NOWAIT)
	if errno != 0 { // EAGAIN: not in the page cache; EOPNOTSUPP: a file system that cannot tell
		if errno == unix.ENOSYS {
			unable.Store(true)
		}
		return 0, errno
	}
	return int(n), nil
}

// ends reports whether a file that cached could read has nothing from off on.
func ends(fd int, off int64) bool {
	var st unix.Stat_t
	_, _, errno := syscall.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(&st)), 0)
	return errno == 0 && st.Size <= off
}

// Read reads from a descriptor that does not block.
func Read(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Writev writes to a descriptor that does not block.
func Writev(fd int, iov []unix.Iovec) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// SetTimer sets a timerfd.
func SetTimer(fd int, spec *unix.ItimerSpec) error {
	_, _, errno := syscall.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(fd), 0, uintptr(unsafe.Pointer(spec)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
