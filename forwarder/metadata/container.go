// Package metadata tells what a log source is called, from what lies beside its files on disk: it needs no running Docker engine, and
// what it says of a container holds from before its first line until its folder is deleted.
package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Container is what is known of a container.
type Container struct {
	ID     string // 64 hex digits
	Name   string // with Docker's leading slash, as its fluentd driver writes it; empty where it is not known
	Image  string // as it was asked for: nginx:1.27
	Labels map[string]string
	Driver string // of its log; empty where it is not known
}

// ShortID is the first twelve digits of the id, as Docker shows it.
func (c Container) ShortID() string { return c.ID[:min(len(c.ID), 12)] }

// ReadContainer reads config.v2.json, and hostconfig.json if it is there, in the folder that Docker keeps of a container. The first is
// there before the container is started. Docker rewrites both by rename at every change of state, so an error may be of an instant.
func ReadContainer(dir string) (Container, error) {
	c := Container{ID: filepath.Base(dir)}
	path := filepath.Join(dir, "config.v2.json")
	text, err := os.ReadFile(path)
	if err == nil {
		err = c.config(text)
	}
	if err != nil {
		return c, fmt.Errorf("read %s: %w", path, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "hostconfig.json")); err == nil {
		c.hostConfig(text)
	}
	return c, nil
}

func (c *Container) config(text []byte) error {
	var v struct {
		Name   string
		Config struct {
			Image  string
			Labels map[string]string
		}
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	if v.Name == "" {
		return errors.New("it has no Name")
	}
	c.Name, c.Image, c.Labels = v.Name, v.Config.Image, v.Config.Labels
	return nil
}

func (c *Container) hostConfig(text []byte) {
	var v struct{ LogConfig struct{ Type string } }
	if err := json.Unmarshal(text, &v); err == nil {
		c.Driver = v.LogConfig.Type
	}
}
