package collector

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Manifest says what is in a bundle, and what is not and why.
type Manifest struct {
	Version     string    `json:"version"`
	Instance    string    `json:"instance"`
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"`
	CPUSeconds  float64   `json:"cpu_seconds"` // of the gathering process and its commands
	Deadline    float64   `json:"deadline_seconds"`
	Interrupted bool      `json:"interrupted"`
	DiskFull    bool      `json:"disk_full"`
	Secrets     int       `json:"redacted_secrets"` // different ones; redactions.json has where they stood
	Sources     []Entry   `json:"sources"`
}

// Outcomes of a source.
const (
	OK       = "ok"
	Partial  = "partial"
	TimedOut = "timed out"
	Absent   = "absent"  // it does not exist on this host
	Refused  = "refused" // permission denied, connection refused
	Failed   = "failed"  // otherwise, with nothing to show
)

// Entry is what came of a source.
type Entry struct {
	Source  string   `json:"source"`
	Outcome string   `json:"outcome"`
	Why     string   `json:"why,omitempty"`
	Seconds float64  `json:"seconds"`
	Bytes   int64    `json:"bytes"`
	Members []Member `json:"members,omitempty"`
}

// Member is a file of the archive.
type Member struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Note  string `json:"note,omitempty"` // which part of the original it is
}

// outcome says how a source with this error went.
func outcome(err error, some bool) (what, why string) {
	var dns *net.DNSError
	switch {
	case err == nil && some:
		return OK, ""
	case err == nil:
		return Absent, "nothing there"
	case errors.Is(err, errTimedOut), errors.Is(err, context.DeadlineExceeded):
		what = TimedOut
	case errors.Is(err, syscall.ECONNREFUSED):
		what = Refused
	case some && isAbsent(err): // one of several things
		return OK, ""
	case some:
		what = Partial
	case errors.Is(err, errAbsent), errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound), errors.Is(err, syscall.ENOTDIR):
		what = Absent
	case errors.Is(err, fs.ErrPermission):
		what = Refused
	case errors.As(err, &dns) && dns.IsTimeout:
		what = TimedOut
	default:
		what = Failed
	}
	return what, strings.ReplaceAll(err.Error(), "\n", "; ")
}

// worse keeps the first error that says more than that something is not there.
func worse(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case isAbsent(a) && !isAbsent(b), !errors.Is(a, errTimedOut) && errors.Is(b, errTimedOut):
		return b
	}
	return a
}

func isAbsent(err error) bool { return errors.Is(err, errAbsent) || errors.Is(err, fs.ErrNotExist) }
