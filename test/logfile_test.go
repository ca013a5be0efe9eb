package test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/oracle"
	"github.com/fairlead/fairlead/test/script"
)

// logFile is a plain log under the hands of a scenario: who writes it and who rotates it.
type logFile struct {
	t      *testing.T
	oracle *oracle.Oracle
	path   string
	stream script.Stream
	file   *os.File
	group  int // next to be written
	perm   os.FileMode
}

// newLog makes the stream known; open creates the file.
func (r *rig) newLog(path string, layout script.Layout, from oracle.Source) *logFile {
	base := strings.ReplaceAll(filepath.Base(path), ".", "-")
	l := &logFile{t: r.t, oracle: r.oracle, path: path, perm: 0o644, stream: script.Stream{Writer: writerName(r.t, base), Name: 'f', Layout: layout}}
	from.NoTimes = true
	r.oracle.Expect(l.stream, from)
	return l
}

// open opens the path for appending, as a program does when told to reopen its log.
func (l *logFile) open() {
	l.t.Helper()
	if l.file != nil {
		l.file.Close()
	}
	var err error
	if l.file, err = os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, l.perm); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.file.Close() })
}

func (l *logFile) put(s string) {
	l.t.Helper()
	if _, err := l.file.WriteString(s); err != nil {
		l.t.Fatal(err)
	}
}

func (l *logFile) nextUnits() []script.Unit {
	l.group++
	return l.stream.Group(l.group - 1)
}

// next returns the writes of the next group.
func (l *logFile) next() []string {
	var writes []string
	for _, u := range l.nextUnits() {
		writes = append(writes, u.Writes...)
	}
	return writes
}

// write appends groups.
func (l *logFile) write(groups int) {
	l.t.Helper()
	for range groups {
		for _, w := range l.next() {
			l.put(w)
		}
	}
}

// writeJSON appends groups as dockerd does: a record a line, all lines of a call with nearly the same time.
func (l *logFile) writeJSON(groups int) {
	l.t.Helper()
	for range groups {
		for _, w := range l.next() {
			for line := range strings.Lines(w) {
				text, err := json.Marshal(line)
				if err != nil {
					l.t.Fatal(err)
				}
				l.put(fmt.Sprintf(`{"log":%s,"stream":"stdout","time":%q}`+"\n", text, time.Now().UTC().Format(time.RFC3339Nano)))
			}
		}
	}
}

// done tells the oracle that this was all.
func (l *logFile) done() { l.oracle.Must(l.stream, l.group*script.GroupEvents) }

// shift renames path.N to path.N+1 up to path.1, makes room for a new path.1 and forgets what is older than keep.
func (l *logFile) shift(keep int) {
	l.t.Helper()
	for n := keep; n > 0; n-- {
		for _, ext := range []string{"", ".gz"} {
			from, to := fmt.Sprintf("%s.%d%s", l.path, n, ext), fmt.Sprintf("%s.%d%s", l.path, n+1, ext)
			if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
				l.t.Fatal(err)
			}
		}
	}
}

// rotate is logrotate's way by rename: the program goes on in a new file.
func (l *logFile) rotate() {
	l.t.Helper()
	l.shift(20)
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		l.t.Fatal(err)
	}
	l.open()
}

// compress packs path.1, first beside it, as logrotate and Docker do.
func (l *logFile) compress() {
	l.t.Helper()
	plain, err := os.ReadFile(l.path + ".1")
	if err != nil {
		l.t.Fatal(err)
	}
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	if _, err := zw.Write(plain); err != nil {
		l.t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.path+".1.gz", packed.Bytes(), 0o644); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Remove(l.path + ".1"); err != nil {
		l.t.Fatal(err)
	}
}

// copyTruncate is logrotate's other way: the program goes on in the same file.
func (l *logFile) copyTruncate() {
	l.t.Helper()
	l.shift(20)
	from, err := os.Open(l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(l.path + ".1")
	if err != nil {
		l.t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Truncate(l.path, 0); err != nil {
		l.t.Fatal(err)
	}
}

// arrived waits until the first n events of the log are at the receiver.
func (r *rig) arrived(l *logFile) {
	r.t.Helper()
	want := l.group * script.GroupEvents
	err := poll(r.t.Context(), time.Minute, func() bool {
		r.daemon.alive()
		return r.oracle.Arrived(l.stream) >= want
	})
	if err != nil {
		r.t.Errorf("%d of %d events of %s arrived: %v", r.oracle.Arrived(l.stream), want, l.path, err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// logPath returns a path in a new folder that everybody may enter.
func logPath(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(bed.dir, "l")
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "log")
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}
