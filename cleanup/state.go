package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// Below <state.dir>/cleanup, which is locked by whoever does a pass:
//
//	seen.json       what earlier looks saw, with a version; without it everything waits for its whole grace again
//	history.jsonl   what was removed
const memoryVersion = 1

// state is our folder on disk.
type state struct {
	dir     string
	machine string // this host
}

func (s state) path(name string) string { return filepath.Join(s.dir, name) }

// lockWait is how long a pass waits for another one to end.
const lockWait = 10 * time.Minute

// lock waits until no other process does a pass. A disk that has no room even for our folder is no reason not to clean it up: then the lock is
// that of the folder above.
func (s state) lock(ctx context.Context) (unlock func(), err error) {
	dir := s.dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if dir = existing(dir); dir == "" || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			return nil, err
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = f.Close() }, nil // which lets go of the lock
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another clean-up holds %s: %w", f.Name(), context.Cause(ctx)), f.Close())
		case <-tick.C:
		}
	}
}

type remembered struct {
	Version int    `json:"version"`
	Machine string `json:"machine,omitempty"`
	plan.Memory
}

// load reads what earlier looks saw. A file that cannot be understood is as none: then everything waits anew.
func (s state) load() (plan.Memory, error) {
	text, err := os.ReadFile(s.path("seen.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return plan.Memory{}, nil
	}
	if err != nil {
		return plan.Memory{}, err
	}
	var r remembered
	if err := json.Unmarshal(text, &r); err != nil {
		return plan.Memory{}, fmt.Errorf("read %s: %w (all ages are counted anew)", s.path("seen.json"), err)
	}
	if r.Version != memoryVersion {
		return plan.Memory{}, fmt.Errorf("read %s: version %d is not %d (all ages are counted anew)", s.path("seen.json"), r.Version, memoryVersion)
	}
	if r.Machine != s.machine { // what must not go is no different there; what has waited there has not here
		return plan.Memory{Shared: r.Shared, Left: r.Left}, nil
	}
	return r.Memory, nil
}

// save puts the memory in the place of the former one, whole or not at all.
func (s state) save(m plan.Memory) (err error) {
	text, err := json.Marshal(remembered{memoryVersion, s.machine, m})
	if err != nil {
		return err
	}
	// Who holds the lock is the only one to write it; what a kill leaves is written over.
	f, err := os.OpenFile(s.path("seen.json.new"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), s.path("seen.json")); err != nil {
		return err
	}
	return syncDir(s.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
