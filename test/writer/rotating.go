package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// rotating is a log file as a program without logrotate keeps it: past a size it is renamed, what was renamed before moves up, and
// the oldest is forgotten.
type rotating struct {
	path  string
	every int64
	file  *os.File
	size  int64
}

// keepRotated is how many rotated files are left.
const keepRotated = 1000

func (r *rotating) WriteString(s string) (int, error) {
	if r.file != nil && r.every > 0 && r.size >= r.every {
		if err := r.rotate(); err != nil {
			return 0, err
		}
	}
	if r.file == nil {
		var err error
		if r.file, err = os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return 0, err
		}
		r.size = 0
	}
	n, err := r.file.WriteString(s)
	r.size += int64(n)
	return n, err
}

func (r *rotating) rotate() error {
	r.close()
	last := 1 // the first number that is free: there are no more behind it, as nobody but a reader removes any
	for ; last < keepRotated; last++ {
		if _, err := os.Stat(fmt.Sprintf("%s.%d", r.path, last)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	for n := last - 1; n > 0; n-- {
		err := os.Rename(fmt.Sprintf("%s.%d", r.path, n), fmt.Sprintf("%s.%d", r.path, n+1))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(r.path, r.path+".1")
}

func (r *rotating) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}
