package drain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// note is what must survive the process: an instance that was drained sleeps in a warm pool, and comes back another day.
type note struct {
	Instance  string   `json:"instance"`   // an AMI that was made of this instance carries the note to others
	InService bool     `json:"in_service"` // it was in the service of its group once, so what is Warmed comes from there
	Out       bool     `json:"out"`        // we set it DRAINING, or wanted to
	Causes    causes   `json:"causes,omitempty"`
	Identity  identity `json:"identity"`
	Ignored   string   `json:"ignored,omitempty"` // the rebalance recommendation that an operator has overruled
}

// identity is the container instance as ECS knows it.
type identity struct {
	Cluster string `json:"cluster"`
	ARN     string `json:"arn"`
}

func (d *Drain) notePath() string { return filepath.Join(d.stateDir, "drain.json") }

// recall reads the note of an earlier process. One that cannot be read is as good as none.
func (d *Drain) recall() {
	text, err := os.ReadFile(d.notePath())
	if err == nil {
		err = json.Unmarshal(text, &d.note)
	}
	if err != nil {
		d.note = note{}
		if !errors.Is(err, fs.ErrNotExist) {
			d.log.Warn("what an earlier process noted of draining cannot be read", "path", d.notePath(), "err", err)
		}
	}
}

// keep writes the note down. d.mu is held.
func (d *Drain) keep() {
	text, err := json.Marshal(d.note)
	if err == nil {
		err = replace(d.notePath(), append(text, '\n'))
	}
	if err != nil && d.noteErr != err.Error() {
		d.noteErr = err.Error()
		d.log.Warn("what is noted of draining is not kept: a drained instance that comes back may have to be set ACTIVE by hand", "err", err)
	}
}

func replace(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return os.Rename(f.Name(), path)
}
