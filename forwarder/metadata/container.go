// Package metadata tells what a log source is called, from what lies beside its files on disk: it needs no running Docker engine.
package metadata

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Container is what is known of a container.
type Container struct {
	ID   string // 64 hex digits
	Name string // with Docker's leading slash, as its fluentd driver writes it; empty where it is not known
}

// ShortID is the first twelve digits of the id, as Docker shows it.
func (c Container) ShortID() string { return c.ID[:min(len(c.ID), 12)] }

// ReadContainer reads config.v2.json in the folder that Docker keeps of a container. Docker rewrites that file by rename at every
// change of state, so an error may be of an instant.
func ReadContainer(dir string) (Container, error) {
	c := Container{ID: filepath.Base(dir)}
	b, err := os.ReadFile(filepath.Join(dir, "config.v2.json"))
	if err != nil {
		return c, err
	}
	var v struct{ Name string }
	if err := json.Unmarshal(b, &v); err != nil {
		return c, fmt.Errorf("read %s: %w", filepath.Join(dir, "config.v2.json"), err)
	}
	if v.Name == "" {
		return c, fmt.Errorf("read %s: it has no Name", filepath.Join(dir, "config.v2.json"))
	}
	c.Name = v.Name
	return c, nil
}
