package forwarder

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/forwarder/parse"
)

// copies tells which lines of the journal and of /var/log/messages are copies of what is read from a file.
type copies struct {
	cfg Host

	mu    sync.Mutex // guards what follows
	files map[string]*fileTime
}

// fileTime is when a log's file was last written, as far as is known.
type fileTime struct {
	written, looked int64
}

const (
	// copyApart is how much later than in the file a line may seem to be in its copy: times in the syslog are whole seconds.
	copyApart = int64(2 * time.Second)
	// copyLook is how often a file is asked for its time at most.
	copyLook = int64(10 * time.Millisecond)
)

func newCopies(cfg Host) *copies { return &copies{cfg: cfg, files: map[string]*fileTime{}} }

// inFile says whether a line, written to standard output at the time t, is in the log's file as well. Only what the log's own logger
// writes can be; the panic of a process that dies cannot. A file that has not been written since is another life's.
func (c *copies) inFile(l *hostLog, line []byte, t int64, h *parse.Host) bool {
	return c.cfg.Enabled && len(l.paths) > 0 && parse.Logger(line, h) && c.written(l, t)
}

// inMessages says whether rsyslog writes what is in the journal at the time t to a file.
func (c *copies) inMessages(t int64) bool {
	return c.cfg.Enabled && c.written(hostLogOf("messages"), t)
}

// written says whether a file of the log was written at the time t or later.
func (c *copies) written(l *hostLog, t int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[l.name]
	if f == nil {
		f = &fileTime{}
		c.files[l.name] = f
	}
	if f.written >= t-copyApart {
		return true
	}
	now := time.Now().UnixNano()
	if now-f.looked < copyLook && now >= f.looked {
		return false
	}
	f.looked = now
	for _, pattern := range l.paths {
		if strings.Contains(pattern, "*") {
			continue // not the log, but what lies beside it
		}
		paths, _ := filepath.Glob(filepath.Join(c.cfg.Root, pattern))
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				f.written = max(f.written, info.ModTime().UnixNano())
			}
		}
	}
	return f.written >= t-copyApart
}

// elsewhere says whether a line of /var/log/messages comes from another source, and is left to that: a file before the journal, the
// journal before this.
func (l *loop) elsewhere(s *source, line []byte) bool {
	if s.host == nil || s.host.name != "messages" {
		return false
	}
	ident, text := parse.SyslogIdent(line)
	if len(ident) == 0 {
		return false
	}
	for _, h := range hostLogs {
		if !slices.Contains(h.idents, string(ident)) {
			continue
		}
		if !bySyslog(line, l.now, &l.host) {
			return false
		}
		t := l.host.Time
		if l.journal != nil && l.journal.takes(h, t) || l.copies != nil && l.copies.inFile(h, text, t, &l.host) {
			l.metrics.hostCopies.Inc()
			return true
		}
		return false
	}
	return false
}
