package cleanup

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// Removal is one line of the history. It is written before the removal: what is gone has a line, even if we were killed in between. One that
// the engine then refused has a second line, with the error.
type Removal struct {
	Time   time.Time `json:"time"`
	Kind   plan.Kind `json:"kind"`
	ID     string    `json:"id"`
	Name   string    `json:"name,omitempty"`
	Bytes  int64     `json:"bytes"`
	Reason string    `json:"reason"`
	Step   plan.Step `json:"step,omitempty"`
	Family string    `json:"family,omitempty"`
	Failed string    `json:"failed,omitempty"` // why it was not removed after all
}

const (
	historyBytes = 8 << 20   // then a new file is begun; one former file is kept
	reserveBytes = 256 << 10 // taken on the disk before it is needed: the history is written when the disk is full
)

// record appends a line, and has it on disk when it returns.
func (s state) record(r Removal) error {
	path := s.path("history.jsonl")
	if info, err := os.Stat(path); err == nil && info.Size() > historyBytes {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	line, err := json.Marshal(r)
	if err == nil {
		err = s.append(f, append(line, '\n'))
	}
	return errors.Join(err, f.Close())
}

func (s state) append(f *os.File, line []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// A line that a crash cut off must not swallow this one.
	if end := make([]byte, 1); info.Size() > 0 {
		if _, err := f.ReadAt(end, info.Size()-1); err == nil && end[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(line); err != nil {
		return err
	}
	// File systems that cannot do this write the next line without a reserve.
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, info.Size(), reserveBytes)
	return f.Sync()
}

// History reads what was removed, the oldest first. Lines that cannot be read are left out; none of them was written by us.
func History(stateDir string) ([]Removal, error) {
	s := stateOf(stateDir)
	var list []Removal
	for _, name := range []string{"history.jsonl.1", "history.jsonl"} {
		text, err := os.ReadFile(s.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			var r Removal
			if json.Unmarshal(line, &r) != nil || r.Kind == "" {
				continue
			}
			if r.Failed != "" { // its first line said too much
				for i := len(list) - 1; i >= 0; i-- {
					if list[i].ID == r.ID && list[i].Kind == r.Kind && list[i].Failed == "" {
						list[i] = r
						break
					}
				}
				continue
			}
			list = append(list, r)
		}
	}
	return list, nil
}
