package collector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fairlead/fairlead/collector/findings"
)

// source is something that can be asked, in a time of its own.
type source struct {
	name   string
	within time.Duration
	run    func(ctx context.Context, sh *sheet) error
}

// shape is how a member is redacted.
type shape int

const (
	asText shape = iota
	asJSON
	asECSConfig
	asUnit // of systemd
)

// member is a file of the archive to be, not redacted yet: its text, or how to open it.
type member struct {
	path  string
	shape shape
	data  []byte
	open  func(ctx context.Context, limit int64) (r io.ReadCloser, at time.Time, note string, err error)
	limit int64 // of what is opened
}

// sheet takes what a source answers. A source that does not come back in time keeps its sheet, and nobody reads on.
type sheet struct {
	source *source
	began  time.Time

	mu      sync.Mutex // guards what follows
	members []member
	err     error
	found   []func(*findings.Facts)
	closed  bool
	took    time.Duration
}

// gather asks the source and comes back in time, with what there is by then.
func (s *source) gather(ctx context.Context) *sheet {
	sh := &sheet{source: s, began: time.Now()}
	if ctx.Err() != nil {
		sh.close(fmt.Errorf("not asked any more: %w", errTimedOut))
		return sh
	}
	own, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // left behind if it sleeps in the kernel
		var err error
		defer func() { ended <- err }()
		defer recovered(&err)
		err = s.run(own, sh)
	}()
	select {
	case err := <-ended:
		sh.close(err)
		return sh
	case <-own.Done():
	}
	t := time.NewTimer(2 * tooLate) // commands that are killed bring what they have
	defer t.Stop()
	select {
	case err := <-ended:
		sh.close(err)
	case <-t.C:
		sh.close(errTimedOut)
	}
	return sh
}

func (sh *sheet) close(err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed, sh.err, sh.took = true, worse(sh.err, err), time.Since(sh.began)
}

// take answers what is on the sheet, which is closed.
func (sh *sheet) take() ([]member, time.Duration, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.members, sh.took, sh.err
}

func (sh *sheet) add(m member) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.closed {
		sh.members = append(sh.members, m)
	}
}

// text adds a member. Without a text there is none.
func (sh *sheet) text(path string, text []byte) {
	if len(bytes.TrimSpace(text)) > 0 {
		sh.add(member{path: path, data: text})
	}
}

func (sh *sheet) shaped(path string, s shape, text []byte) {
	if len(bytes.TrimSpace(text)) > 0 {
		sh.add(member{path: path, data: text, shape: s})
	}
}

// file adds a member that is read when its turn comes.
func (sh *sheet) file(path, from string, limit int64) {
	sh.add(member{path: path, limit: limit, open: func(ctx context.Context, limit int64) (io.ReadCloser, time.Time, string, error) {
		f, err := openFile(ctx, from)
		return textOf(f, err, from, limit)
	}})
}

// below adds a file of a folder that others write to.
func (sh *sheet) below(path, dir, name string, limit int64) {
	sh.add(member{path: path, limit: limit, open: func(ctx context.Context, limit int64) (io.ReadCloser, time.Time, string, error) {
		f, err := openBelow(ctx, dir, name)
		return textOf(f, err, name, limit)
	}})
}

func textOf(f *hostFile, err error, name string, limit int64) (io.ReadCloser, time.Time, string, error) {
	if err != nil {
		return nil, time.Time{}, "", err
	}
	r, note, err := f.text(name, limit)
	if err != nil {
		f.Close()
		return nil, f.at, "", err
	}
	return readCloser{r, f}, f.at, note, nil
}

type readCloser struct {
	io.Reader
	f *hostFile
}

func (r readCloser) Close() error {
	r.f.Close()
	return nil
}

// problem notes what is wrong with one of several things that a source asks for.
func (sh *sheet) problem(err error) {
	if err == nil {
		return
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.closed {
		sh.err = worse(sh.err, err)
	}
}

// fact has the rules know something.
func (sh *sheet) fact(f func(*findings.Facts)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.closed {
		sh.found = append(sh.found, f)
	}
}
