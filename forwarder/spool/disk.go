package spool

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// disk is every change the spool makes to its directory, and what it must know of it. Reading goes straight to the operating
// system. Tests put a disk here that fails or forgets.
type disk interface {
	create(path string) (file, error)    // a new file; an error if the path exists
	openAcked(path string) (file, error) // for reading and writing, made if missing
	openSync(path string) (file, error)  // an existing file, to sync it
	remove(path string) error
	rename(from, to string) error
	mkdir(path string) error // with its parents; one that exists is fine
	syncDir(path string) error
	free(path string) (int64, error) // bytes that may still be written
}

// file is a file being written. Writes name their offset, so the position of the descriptor is nobody's.
type file interface {
	write(bufs [][]byte, off int64) (int64, error) // whole or an error; the count says how much is in the file
	truncate(size int64) error
	sync() error
	fd() *os.File
	Close() error
}

type osDisk struct{}

func (osDisk) create(path string) (file, error) {
	return openFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL) // also to read: should its name be removed, the handle is what is left
}

func (osDisk) openAcked(path string) (file, error) { return openFile(path, os.O_RDWR|os.O_CREATE) }

func (osDisk) openSync(path string) (file, error) { return openFile(path, os.O_RDONLY) }

func (osDisk) remove(path string) error     { return os.Remove(path) }
func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) mkdir(path string) error      { return os.MkdirAll(path, 0o700) }

func (osDisk) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (osDisk) free(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

type osFile struct{ f *os.File }

func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

const maxIov = 1024 // IOV_MAX of Linux

func (o *osFile) write(bufs [][]byte, off int64) (int64, error) {
	var done int64
	for len(bufs) > 0 {
		batch := bufs[:min(len(bufs), maxIov)]
		var n int
		var err error
		if len(batch) == 1 {
			n, err = unix.Pwrite(int(o.f.Fd()), batch[0], off+done)
		} else {
			n, err = unix.Pwritev(int(o.f.Fd()), batch, off+done)
		}
		runtime.KeepAlive(o.f)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, &os.PathError{Op: "write", Path: o.f.Name(), Err: err}
		}
		if n == 0 {
			return done, &os.PathError{Op: "write", Path: o.f.Name(), Err: unix.EIO}
		}
		done += int64(n)
		// A write may be short (a signal, a nearly full disk): go on behind what was taken. The caller's slices stay as they are.
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs = append([][]byte{bufs[0][n:]}, bufs[1:]...)
		}
	}
	return done, nil
}

func (o *osFile) truncate(size int64) error { return o.f.Truncate(size) }
func (o *osFile) fd() *os.File              { return o.f }
func (o *osFile) Close() error              { return o.f.Close() }

// sync writes the data and the size of the file to disk; its times may wait.
func (o *osFile) sync() error {
	err := unix.Fdatasync(int(o.f.Fd()))
	runtime.KeepAlive(o.f)
	if err != nil {
		return &os.PathError{Op: "fdatasync", Path: o.f.Name(), Err: err}
	}
	return nil
}
