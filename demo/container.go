package demo

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	maxLogBytes  = 200 << 10 // as `max-size=200k`
	rotatedFiles = 3         // kept beside the live one, as `max-file=4`
	recordStep   = 20 * time.Microsecond
)

// container is one container as Docker keeps it on disk: a folder with its configuration and its log. One goroutine owns it.
type container struct {
	id, name  string
	dir, path string
	pace      pace
	account   *account

	file   *os.File
	opened time.Time // the file
	size   int64
	clock  int64 // time of the last record: each has one of its own
	// leaving is set when it is to be removed: its log is not rotated any more, so that its last file is not a new one.
	leaving bool

	buf       []byte
	times     []int64
	rotations int
}

// newContainer makes the folder and an empty log, in the order in which Docker does.
func newContainer(root, name string, c *corpus, o *oracle, now time.Time) (*container, error) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	k := &container{id: hex.EncodeToString(b[:]), name: name, pace: pace{player: player{c: c}}}
	k.dir = filepath.Join(root, k.id)
	k.path = filepath.Join(k.dir, k.id+"-json.log")
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{"ID": k.id, "Name": "/" + name, "LogPath": k.path})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(k.dir, "config.v2.json"), config, 0o600); err != nil {
		return nil, err
	}
	k.account = o.open(k.id, name, nil)
	return k, k.create(now)
}

func (k *container) create(now time.Time) error {
	f, err := os.OpenFile(k.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	k.file, k.size, k.opened = f, 0, now
	return nil
}

// write appends a group to the log. It is expected from before its first byte can be read.
func (k *container) write(o *oracle, g *group, now time.Time) error {
	k.times = k.times[:0]
	k.clock = max(k.clock, now.UnixNano())
	for range g.records {
		k.clock += int64(recordStep)
		k.times = append(k.times, k.clock)
	}
	o.mu.Lock()
	o.expect(k.account, g, k.times, now)
	o.mu.Unlock()
	k.buf = k.buf[:0]
	for i, r := range g.records {
		if k.size+int64(len(k.buf)) >= maxLogBytes && !k.leaving {
			if err := k.flush(); err != nil {
				return err
			}
			if err := k.rotate(now); err != nil {
				return fmt.Errorf("rotate %s: %w", k.path, err)
			}
		}
		k.buf = append(k.buf, r.head...)
		k.buf = time.Unix(0, k.times[i]).UTC().AppendFormat(k.buf, time.RFC3339Nano)
		k.buf = append(k.buf, "\"}\n"...)
	}
	return k.flush()
}

func (k *container) flush() error {
	n, err := k.file.Write(k.buf)
	k.size += int64(n)
	k.buf = k.buf[:0]
	return err
}

// rotate renames as Docker does, also in the midst of an event.
func (k *container) rotate(now time.Time) error {
	if err := k.file.Close(); err != nil {
		return err
	}
	for n := rotatedFiles; n > 0; n-- {
		from := k.path
		if n > 1 {
			from = fmt.Sprintf("%s.%d", k.path, n-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", k.path, n)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	k.rotations++
	return k.create(now)
}

// remove deletes the container with its log.
func (k *container) remove() error {
	if err := k.file.Close(); err != nil {
		return err
	}
	return os.RemoveAll(k.dir)
}
