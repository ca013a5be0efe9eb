package tail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Watcher hears of files that come and go in folders. It watches folders only and leaves writes out: growth is found by
// looking, and a busy container would otherwise wake it ten thousand times a second. What it says is a hint: the kernel's queue
// may overflow and a folder may not be watchable.
type Watcher struct {
	f  *os.File
	mu sync.Mutex // guards dirs
	// dirs holds a folder under each watch descriptor.
	dirs map[int32]string
}

// Hint is something that happened in a watched folder.
type Hint struct {
	Dir  string
	Name string // empty for the folder itself: it was deleted or moved, and is no longer watched
	// Lost is set where the kernel dropped hints: everything is to be looked at. Dir and Name are empty then.
	Lost bool
}

const watchMask = unix.IN_CREATE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// NewWatcher opens the inotify descriptor. It fails where the kernel gives no more of them
// (fs.inotify.max_user_instances).
func NewWatcher() (*Watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &Watcher{f: os.NewFile(uintptr(fd), "inotify"), dirs: map[int32]string{}}, nil
}

// Add watches a folder. What was in it before is for the caller to list, after Add.
func (w *Watcher) Add(dir string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var wd int
	var err error
	conn, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := conn.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), dir, watchMask) })
	if err = errors.Join(cerr, err); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	w.dirs[int32(wd)] = dir
	return nil
}

// Run hands hints to handle, all that came together in one call, until the context ends.
func (w *Watcher) Run(ctx context.Context, handle func([]Hint)) error {
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	defer func() { _ = w.f.Close() }()
	buf := make([]byte, 64<<10)
	var hints []Hint
	for {
		n, err := w.f.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inotify: %w", err)
		}
		hints = w.decode(buf[:n], hints[:0])
		handle(hints)
	}
}

// decode reads struct inotify_event: wd int32, mask, cookie, len uint32, name[len].
func (w *Watcher) decode(b []byte, hints []Hint) []Hint {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		n := int(binary.NativeEndian.Uint32(b[12:])) + unix.SizeofInotifyEvent
		if n > len(b) {
			break
		}
		name := b[unix.SizeofInotifyEvent:n]
		for len(name) > 0 && name[len(name)-1] == 0 {
			name = name[:len(name)-1]
		}
		b = b[n:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			hints = append(hints, Hint{Lost: true})
			continue
		}
		dir, ok := w.dirs[wd]
		if !ok {
			continue
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(w.dirs, wd)
			hints = append(hints, Hint{Dir: dir})
			continue
		}
		if last := len(hints) - 1; last >= 0 && hints[last].Dir == dir && hints[last].Name == string(name) {
			continue
		}
		hints = append(hints, Hint{Dir: dir, Name: string(name)})
	}
	return hints
}
