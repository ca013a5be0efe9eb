package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tooLate is how long a killed command is waited for. One that sleeps in the kernel (a dead NFS server) does not die: it is left behind.
const tooLate = 300 * time.Millisecond

// command runs a program in a process group of its own and answers up to limit bytes of what it prints, the first or the last ones. When the
// context ends the group is killed and what came until then is answered. Its environment holds nothing of ours.
func command(ctx context.Context, limit int, last bool, name string, args ...string) ([]byte, error) {
	path, err := lookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errAbsent)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	defer read.Close()
	c := exec.Command(path, args...)
	c.Env = []string{"PATH=" + searchPath, "LC_ALL=C", "HOME=/root", "TERM=dumb", "COLUMNS=4096", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat", "SYSTEMD_LESS="}
	c.Stdout = write
	var complaint bounded
	complaint.limit = 4 << 10
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	defer errRead.Close()
	c.Stderr = errWrite
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = c.Start()
	write.Close()
	errWrite.Close()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	out := &bounded{limit: limit, last: last}
	ended := make(chan error, 1)
	over := make(chan struct{})
	go func() { // ends with the command: the pipes are closed by the return of command at the latest
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(&complaint, errRead) })
		_, _ = io.Copy(out, read)
		both.Wait()
		ended <- c.Wait()
		close(over)
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		t := time.NewTimer(tooLate)
		defer t.Stop()
		select {
		case <-over:
		case <-t.C:
		}
		return wholeLines(out.text()), fmt.Errorf("%s: %w", name, errTimedOut)
	}
	if err != nil {
		said, _, _ := strings.Cut(strings.TrimSpace(string(complaint.text())), "\n")
		if denied(said) {
			return out.text(), fmt.Errorf("%s: %s: %w", name, said, fs.ErrPermission)
		}
		return out.text(), fmt.Errorf("%s: %w: %s", name, err, said)
	}
	if out.cut() {
		return out.text(), fmt.Errorf("%s: %w: %d bytes of its output", name, errPart, limit)
	}
	return out.text(), nil
}

func denied(said string) bool {
	said = strings.ToLower(said)
	return strings.Contains(said, "permission denied") || strings.Contains(said, "operation not permitted")
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(searchPath, ":") {
		if info, err := os.Stat(dir + "/" + name); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return dir + "/" + name, nil
		}
	}
	return "", exec.ErrNotFound
}

// bounded keeps the first or the last bytes that are written to it, in whole lines where it had to cut.
type bounded struct {
	limit int
	last  bool

	mu    sync.Mutex // guards what follows: a command that is left behind may go on writing
	buf   []byte
	total int64
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total += int64(len(p))
	switch {
	case !b.last:
		b.buf = append(b.buf, p[:min(len(p), b.limit-len(b.buf))]...)
	default:
		b.buf = append(b.buf, p...)
		if len(b.buf) > 2*b.limit {
			b.buf = append(b.buf[:0], b.buf[len(b.buf)-b.limit:]...)
		}
	}
	return len(p), nil
}

func (b *bounded) cut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total > int64(b.limit)
}

// text answers a copy of what was kept.
func (b *bounded) text() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buf
	if b.total <= int64(b.limit) {
		return bytes.Clone(text)
	}
	if !b.last {
		return bytes.Clone(wholeLines(text))
	}
	text = text[max(0, len(text)-b.limit):]
	return bytes.Clone(text[bytes.IndexByte(text, '\n')+1:])
}

// wholeLines leaves out the end of a text that was cut: a line without its own may be half a secret, which nobody can know for one.
func wholeLines(text []byte) []byte { return text[:bytes.LastIndexByte(text, '\n')+1] }

var (
	errAbsent   = errors.New("not there")
	errTimedOut = errors.New("no end in time")
	errPart     = errors.New("not all of it is here")
)
