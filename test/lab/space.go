package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Space is where processes and sockets of a trial live: namespaces without a name, which the kernel removes when their last process and
// descriptor are gone. So nothing of them stays behind, however a run ends. A nil Space is the machine itself.
type Space struct {
	net   int           // descriptor of the network namespace; -1: the machine's
	mount int           // the same for mounts
	ahead time.Duration // of the machine's monotonic clock, for processes started in it
}

func newSpace() *Space { return &Space{net: -1, mount: -1} }

// NewNetwork is a space with a network of its own, with nothing but a loopback interface. It takes root, and is to be closed.
func NewNetwork() (*Space, error) {
	s := newSpace()
	return s, s.addNetwork()
}

// Close lets go of it; processes in it keep it until they end.
func (s *Space) Close() error { return s.close() }

// close lets go of it; processes in it keep it until they end.
func (s *Space) close() error {
	var errs []error
	for _, fd := range []int{s.net, s.mount} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// Do runs f on a thread in the space. The thread is not used again.
func (s *Space) Do(f func() error) error {
	if s == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		err := s.enter()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// enter moves the thread, which must be locked and must end with its goroutine.
func (s *Space) enter() error {
	if s == nil {
		return nil
	}
	if s.net >= 0 {
		if err := unix.Setns(s.net, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
	}
	if s.mount >= 0 {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("have a root of its own: %w", err)
		}
		if err := unix.Setns(s.mount, unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the mount namespace: %w", err)
		}
	}
	if s.ahead != 0 {
		return newTime(s.ahead)
	}
	return nil
}

// newTime makes what the thread starts live on another monotonic clock.
func newTime(ahead time.Duration) error {
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("make a time namespace: %w", err)
	}
	sec := int64(ahead / time.Second)
	offsets := fmt.Sprintf("monotonic %d 0\nboottime %d 0\n", sec, sec)
	return os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), []byte(offsets), 0)
}

// addNetwork gives the space a network of its own, with nothing but a loopback interface.
func (s *Space) addNetwork() error {
	return (&Space{net: -1, mount: -1}).Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if err := setUp("lo", nil, 0); err != nil {
			return err
		}
		var err error
		s.net, err = openNamespace("net")
		return err
	})
}

// addMounts gives the space mounts of its own, which mount makes. Nobody else sees them.
func (s *Space) addMounts(mount func() error) error {
	return (&Space{net: -1, mount: -1}).Do(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keep mounts to itself: %w", err)
		}
		if err := mount(); err != nil {
			return err
		}
		var err error
		s.mount, err = openNamespace("mnt")
		return err
	})
}

func openNamespace(kind string) (int, error) {
	return unix.Open(fmt.Sprintf("/proc/%d/ns/%s", unix.Gettid(), kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// tmpfs mounts a small file system at dir and returns a path to it that is good outside of the space too.
func tmpfs(dir string, size int64) (path string, close func() error, err error) {
	if err := unix.Mount("fl-lab", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0755", size)); err != nil {
		return "", nil, fmt.Errorf("mount a tmpfs at %s: %w", dir, err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() error { return unix.Close(fd) }, nil
}

// bind shows what instead of the file or folder at where.
func bind(what, where string) error {
	at, err := filepath.EvalSymlinks(where)
	if err != nil {
		return err
	}
	if err := unix.Mount(what, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s over %s: %w", what, at, err)
	}
	return nil
}

// setUp brings an interface of the thread's network up, with an address in a network of 256 and a packet size where they are given.
func setUp(name string, address []byte, mtu uint32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request := func(what uint, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = fill(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(fd, what, r)
		}
		if err != nil {
			return fmt.Errorf("set up interface %s: %w", name, err)
		}
		return nil
	}
	if address != nil {
		if err := request(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(address) }); err != nil {
			return err
		}
		if err := request(unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }); err != nil {
			return err
		}
	}
	if mtu != 0 {
		if err := request(unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }); err != nil {
			return err
		}
	}
	return request(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil })
}
