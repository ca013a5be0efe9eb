package ecsconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// BackupSuffix is added to the name of the file for the copy of what was replaced last.
const BackupSuffix = ".fairlead-backup"

// maxFile bounds what is read as ecs.config.
const maxFile = 1 << 20

// Read answers what stands in the file; nothing if it is not there.
func Read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes, more than %d is no ecs.config", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// Write puts text into the file so that at any moment, whatever happens, either the old or the new text is there. Mode and
// owner stay; with a secret in it, nobody but the owner may read it. What is replaced is kept beside it.
func Write(path string, text []byte, secret bool) error {
	// Behind a link, the file itself is replaced.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mode, uid, gid := fs.FileMode(0o644), -1, -1
	old, err := os.Stat(path)
	if err == nil {
		mode = old.Mode().Perm()
		if st, ok := old.Sys().(*syscall.Stat_t); ok {
			uid, gid = int(st.Uid), int(st.Gid)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if secret {
		mode &= 0o600
	}
	if old != nil {
		before, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// The old text may hold what the new one holds no longer: it is never more open than either.
		if err := replace(path+BackupSuffix, before, mode&old.Mode().Perm(), uid, gid); err != nil {
			return fmt.Errorf("keep a copy of %s: %w", path, err)
		}
	}
	return replace(path, text, mode, uid, gid)
}

// replace writes beside, syncs, renames, and syncs the folder. The folder is locked meanwhile, so that what a killed process left beside can
// be told from what another one is at.
func replace(path string, text []byte, mode fs.FileMode, uid, gid int) (err error) {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", d.Name(), err)
	}
	name := "." + filepath.Base(path) + ".fairlead-*"
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), name)); err == nil {
		for _, one := range left {
			_ = os.Remove(one) // it is in nobody's way
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if uid >= 0 {
		if err := f.Chown(uid, gid); err != nil && os.Geteuid() == 0 {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return d.Sync()
}

// Replace writes a file that nobody else writes to, whole or not at all.
func Replace(path string, text []byte, mode fs.FileMode) error {
	return replace(path, text, mode, -1, -1)
}

// Narrow takes the file from everyone but its owner.
func Narrow(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return os.Chmod(path, mode&0o600)
	}
	return nil
}
