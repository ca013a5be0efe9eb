package forwarder

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

func (l *lab) pack(path string) {
	l.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		l.t.Fatal(err)
	}
	f, err := os.Create(path + ".gz")
	if err != nil {
		l.t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	_, _ = z.Write(text)
	if err := z.Close(); err != nil {
		l.t.Fatal(err)
	}
	_ = f.Close()
	if err := os.Remove(path); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) rename(from, to string) {
	l.t.Helper()
	if err := os.Rename(from, to); err != nil {
		l.t.Fatal(err)
	}
}

// A trace that lies across two archives: the first is still needed when the second is to be unpacked.
func TestTraceAcrossArchives(t *testing.T) {
	l := newLab(t)
	id := l.container(1)
	parts := strings.SplitAfter(trace+"\n", "\n")
	at := time.Now().UnixNano()
	l.append(l.log(id)+".2", jsonRecord("stdout", parts[0], at)+jsonRecord("stdout", parts[1], at))
	l.pack(l.log(id) + ".2")
	l.append(l.log(id)+".1", jsonRecord("stdout", parts[2], at)+jsonRecord("stdout", parts[3], at))
	l.pack(l.log(id) + ".1")
	l.append(l.log(id), jsonRecord("stdout", parts[4], at))
	l.start()
	l.await(id, trace)
	l.balanced()
}

// An archive stands at the end of what one container has, its log is not there yet: the archives of others are read all the same.
func TestArchivesDoNotWaitForOthers(t *testing.T) {
	l := newLab(t)
	for n := range 3 {
		id := l.container(n)
		l.append(l.log(id)+".1", records(numbered(0, 5), "stdout"))
		l.pack(l.log(id) + ".1")
	}
	l.start()
	for n := range 3 {
		id := fmt.Sprintf("%064x", n)
		l.await(id, numbered(0, 5)...)
		if err := os.RemoveAll(filepath.Dir(l.log(id))); err != nil {
			t.Fatal(err)
		}
	}
	id := l.container(4)
	l.append(l.log(id)+".1", records(numbered(0, 5), "stdout"))
	l.pack(l.log(id) + ".1")
	l.append(l.log(id), records(numbered(5, 10), "stdout"))
	l.await(id, numbered(0, 10)...)
	l.balanced()
}

// The glob matches rotated names, and for a while only the rotated file is there: it is no source of its own.
func TestRotatedNameIsNoSource(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.cfg.Sources.Files = []Files{{Path: filepath.Join(dir, "*.log*"), Tag: "app"}}
	path := filepath.Join(dir, "a.log")
	l.append(path, strings.Join(numbered(0, 10), "\n")+"\n")
	l.start()
	l.await(path, numbered(0, 10)...)
	l.rename(path, path+".1")
	time.Sleep(1200 * time.Millisecond) // a poll of the globs falls into it
	l.append(path, "after\n")
	l.await(path, append(numbered(0, 10), "after")...)
	l.stop()
	l.rename(path+".1", path+".2")
	l.rename(path, path+".1") // nothing is at the path when the next life begins
	l.start()
	time.Sleep(1200 * time.Millisecond)
	l.append(path, "again\n")
	l.await(path, append(numbered(0, 10), "after", "again")...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.got) != 1 {
		t.Errorf("rotated files came as sources of their own: %v", l.got)
	}
}

// What was deleted unread is brought into the spool at a stop, also where an older file still has its name.
func TestStopReadsDeletedBehindRotated(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.cfg.Sources.Files = []Files{{Path: filepath.Join(dir, "*.log"), Tag: "app"}}
	l.cfg.Sources.RotateWait = 10 * time.Second
	path := filepath.Join(dir, "a.log")
	l.append(path, strings.Join(numbered(0, 10), "\n")+"\n")
	l.start()
	l.await(path, numbered(0, 10)...)
	l.rename(path, path+".1")
	l.append(path, "second\n")
	l.await(path, append(numbered(0, 10), "second")...)
	l.append(path, "half")
	time.Sleep(100 * time.Millisecond)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := l.got[path]; len(got) != 12 || got[11] != "half" {
		t.Errorf("got %q", got)
	}
}

// Files are closed and forgotten when their containers are: nothing grows with the containers that were.
func TestChurnLeavesNothing(t *testing.T) {
	l := newLab(t)
	l.start()
	warm := l.container(1 << 20)
	l.append(l.log(warm), records(numbered(0, 1), "stdout"))
	l.await(warm, numbered(0, 1)...)
	before := openFiles(t)
	for round := range 8 {
		var ids []string
		for n := range 25 {
			id := l.container(round*25 + n)
			ids = append(ids, id)
			l.append(l.log(id), records(numbered(0, 3), "stdout"))
		}
		for _, id := range ids {
			l.await(id, numbered(0, 3)...)
			l.rename(l.log(id), l.log(id)+".1")
			l.append(l.log(id), records(numbered(3, 5), "stderr"))
		}
		for _, id := range ids {
			l.await(id, numbered(0, 5)...)
			if err := os.RemoveAll(filepath.Dir(l.log(id))); err != nil {
				t.Fatal(err)
			}
		}
	}
	deadline := time.Now().Add(time.Minute)
	for len(l.f.Status().Sources) > 1 || openFiles(t) > before+2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d sources, %d descriptors, %d before", len(l.f.Status().Sources), openFiles(t), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.balanced()
}

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(e)
}

// Copied and truncated while nobody looked, after the live file had been found empty: its mark fits anything, so that of the copy
// before it has to tell which copies are new.
func TestCopyTruncateOfAnEmptyFileWhileDown(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.cfg.Sources.Files = []Files{{Path: filepath.Join(dir, "*.log"), Tag: "app"}}
	path := filepath.Join(dir, "a.log")
	copyTruncate := func() {
		_ = os.Rename(path+".1", path+".2")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l.append(path+".1", string(text))
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	l.append(path, strings.Join(numbered(0, 30), "\n")+"\n")
	l.start()
	l.await(path, numbered(0, 30)...)
	l.append(path, "the last\n")
	copyTruncate()
	l.await(path, append(numbered(0, 30), "the last")...)
	time.Sleep(600 * time.Millisecond) // the copy is let go
	l.stop()
	l.append(path, strings.Join(numbered(30, 40), "\n")+"\n")
	copyTruncate()
	l.append(path, "live\n")
	l.start()
	l.await(path, append(append(append(numbered(0, 30), "the last"), numbered(30, 40)...), "live")...)
	l.balanced()
}

// The spool is full, and an unread file is copied and truncated: the copy is read first.
func TestCopyTruncateWhileSpoolIsFull(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.cfg.Spool.MaxBytes = 8 << 20
	l.cfg.Sources.Files = []Files{{Path: filepath.Join(dir, "*.log"), Tag: "app"}}
	id := l.container(1)
	var want []string
	for i := range 24000 {
		want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("y", 500)))
	}
	l.recv.Set(receiver.Behaviour{Refuse: true})
	l.append(l.log(id), records(want, "stdout"))
	l.start()
	l.until("the spool is full", func() bool { return l.f.Status().Spool.Full != "" })
	path := filepath.Join(dir, "a.log")
	l.append(path, strings.Join(numbered(0, 30), "\n")+"\n")
	files := func(n int) func() bool {
		return func() bool {
			return slices.ContainsFunc(l.f.Status().Sources, func(s SourceStatus) bool { return s.Path == path && s.Files == n })
		}
	}
	l.until("the file is found", files(1))
	time.Sleep(2200 * time.Millisecond)
	if err := os.WriteFile(path+".1", []byte(strings.Join(numbered(0, 30), "\n")+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Join(numbered(30, 90), "\n")+"\n"), 0o640); err != nil { // truncates, and grows beyond
		t.Fatal(err)
	}
	l.until("the copy is held", files(2))
	_ = os.Remove(path + ".1")
	l.recv.Set(receiver.Behaviour{})
	l.await(path, numbered(0, 90)...)
	l.await(id, want...)
	l.balanced()
}
