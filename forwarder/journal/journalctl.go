// Package journal follows the entries of some units in systemd's journal, by a child that runs journalctl: no library of systemd is
// linked. It promises every entry that journalctl finds, in order, with the cursor to go on from; after a restart at that cursor it
// says whether the entry was still there. It does not supervise: whoever opens a child opens the next.
package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says what is followed.
type Config struct {
	Units     []string // as systemctl takes them; those without a suffix are services
	Directory string   // where the journal lies; empty: where journald keeps it
}

// UnitName is the full name of a unit.
func UnitName(unit string) string {
	if strings.ContainsRune(unit, '.') {
		return unit
	}
	return unit + ".service"
}

const (
	program = "journalctl"

	dropped  = "a596d6fe7bfa4994828e72309e95d61e" // "Suppressed 1234 messages from docker.service"
	coredump = "fc2e22bc6ee647b6b90729ab34a250b1"
)

// IsDropNotice says whether journald says in an entry that it dropped messages of a service that wrote too many.
func (e *Entry) IsDropNotice() bool { return string(e.MessageID) == dropped }

// Missing says what there is not that is needed to read the journal; empty: all is there. It is cheap.
func (c Config) Missing() string {
	if _, err := exec.LookPath(program); err != nil {
		return "no journalctl"
	}
	dirs := []string{"/var/log/journal/*/*.journal", "/run/log/journal/*/*.journal"}
	if c.Directory != "" {
		dirs = []string{filepath.Join(c.Directory, "*.journal"), filepath.Join(c.Directory, "*/*.journal")}
	}
	for _, pattern := range dirs {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return ""
		}
	}
	return "no journal"
}

// arguments asks for all entries of the units from the cursor's on, the entry of the cursor included, or without a cursor for those
// of this boot. Matches are spelled out: -u of old versions does not find the notices of journald, and they know no --output-fields.
func (c Config) arguments(cursor, boot string) []string {
	args := []string{"--no-pager", "--quiet", "--follow", "--no-tail", "--output=export"}
	if c.Directory != "" {
		args = append(args, "--directory="+c.Directory)
	}
	if cursor != "" {
		return append(append(args, "--cursor="+cursor), c.matches("")...)
	}
	return append(args, c.matches(boot)...)
}

// matches are those of the units, of one boot if it is named.
func (c Config) matches(boot string) []string {
	var args, common []string
	if boot != "" {
		common = []string{"_BOOT_ID=" + boot}
	}
	add := func(match ...string) {
		args = append(append(append(args, common...), match...), "+")
	}
	for _, u := range c.Units {
		u = UnitName(u)
		add("_SYSTEMD_UNIT=" + u)
		add("_PID=1", "UNIT="+u)
		add("_UID=0", "OBJECT_SYSTEMD_UNIT="+u)
		add("_UID=0", "COREDUMP_UNIT="+u, "MESSAGE_ID="+coredump)
	}
	add("MESSAGE_ID=" + dropped)
	return args[:len(args)-1]
}

// Newest asks for the time of the newest entry of the units in this boot, in Unix nanoseconds; 0: there is none.
func (c Config) Newest(ctx context.Context) (int64, error) {
	boot, err := bootID()
	if err != nil {
		return 0, err
	}
	args := []string{"--no-pager", "--quiet", "--lines=1", "--output=export"}
	if c.Directory != "" {
		args = append(args, "--directory="+c.Directory)
	}
	cmd := exec.CommandContext(ctx, program, append(args, c.matches(boot)...)...)
	cmd.Env = environment()
	cmd.WaitDelay = stopWait
	text, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("ask journalctl for the newest entry: %w", err)
	}
	var at int64
	err = NewDecoder().Decode(text, func(e *Entry) { at = e.Time })
	return at, err
}

func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"} }

// bootID is the kernel's name for this boot, as the journal writes it.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "-", ""), nil
}

// Child is a running journalctl. It belongs to one goroutine, but for Interrupt.
type Child struct {
	cmd     *exec.Cmd
	out     *os.File
	said    *complaint
	decoder *Decoder
	buf     []byte
	began   time.Time
}

// ErrEnded says that journalctl has ended.
var ErrEnded = errors.New("journalctl ended")

// readBytes is how much is read from the pipe at a time.
const readBytes = 64 << 10

// stopWait is how long journalctl may take to end once it is told to.
const stopWait = 2 * time.Second

// Open starts a child from the cursor, or without one from the begin of this boot.
func (c Config) Open(cursor string) (*Child, error) {
	boot := ""
	if cursor == "" {
		var err error
		if boot, err = bootID(); err != nil {
			return nil, err
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe for journalctl: %w", err)
	}
	child := &Child{out: r, said: &complaint{}, decoder: NewDecoder(), buf: make([]byte, readBytes), began: time.Now()}
	child.cmd = exec.Command(program, c.arguments(cursor, boot)...)
	child.cmd.Env = environment()
	child.cmd.Stdout, child.cmd.Stderr = w, child.said
	child.cmd.WaitDelay = stopWait
	err = child.cmd.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("start journalctl: %w", err)
	}
	return child, nil
}

// Read waits for entries, until the deadline (the zero time: for ever), and calls f for each of those that came together. It returns
// os.ErrDeadlineExceeded if nothing came, and ErrEnded after the last entry of a child that ended.
func (c *Child) Read(deadline time.Time, f func(*Entry)) error {
	if err := c.out.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("read from journalctl: %w", err)
	}
	n, err := c.out.Read(c.buf)
	if n > 0 {
		return c.decoder.Decode(c.buf[:n], f)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return ErrEnded
}

// Age is how long ago the child was started.
func (c *Child) Age() time.Duration { return time.Since(c.began) }

// Interrupt ends the present Read, or the next, when ctx ends.
func (c *Child) Interrupt(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.out.Close() })
}

// Close ends the child, waits for it, and says what it wrote to its standard error and how it ended.
func (c *Child) Close() (said string, how error) {
	_ = c.out.Close() // it may be waiting for us to read
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopWait, func() { _ = c.cmd.Process.Kill() })
	how = c.cmd.Wait()
	kill.Stop()
	return c.said.text(), how
}

// complaint keeps the begin of what a child writes to its standard error. The rest is thrown away, or the child would stop.
type complaint struct {
	mu sync.Mutex // guards b
	b  []byte
}

func (c *complaint) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b = append(c.b, b[:min(len(b), 1024-min(len(c.b), 1024))]...)
	return len(b), nil
}

func (c *complaint) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.TrimSpace(string(c.b))
}
