package backfill

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Remote is a container, as far as its log driver is concerned.
type Remote struct {
	ID, Name string
	Driver   string
	Options  map[string]string // of the driver
	Terminal bool
	Started  time.Time // the last time
	Labels   map[string]string
	Env      []string
}

// ReadRemote reads the folder that Docker keeps of a container.
func ReadRemote(dir string) (*Remote, error) {
	var config struct {
		Name   string
		State  struct{ StartedAt time.Time }
		Config struct {
			Tty    bool
			Labels map[string]string
			Env    []string
		}
	}
	var host struct {
		LogConfig struct {
			Type   string
			Config map[string]string
		}
	}
	for name, into := range map[string]any{"config.v2.json": &config, "hostconfig.json": &host} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
	return &Remote{
		ID: filepath.Base(dir), Name: config.Name, Driver: host.LogConfig.Type, Options: host.LogConfig.Config, Terminal: config.Config.Tty,
		Started: config.State.StartedAt, Labels: config.Config.Labels, Env: config.Config.Env,
	}, nil
}

// Extra are the fields that the driver adds to each event because its options `labels`, `env` and their regular expressions ask for them.
func (r *Remote) Extra() map[string]string {
	extra := map[string]string{}
	env := map[string]string{}
	for _, e := range r.Env {
		if key, value, ok := strings.Cut(e, "="); ok {
			env[key] = value
		}
	}
	add := func(option string, from map[string]string) {
		for _, key := range strings.Split(r.Options[option], ",") {
			if value, has := from[key]; has {
				extra[key] = value
			}
		}
		if expr, err := regexp.Compile(r.Options[option+"-regex"]); err == nil && r.Options[option+"-regex"] != "" {
			for key, value := range from {
				if expr.MatchString(key) {
					extra[key] = value
				}
			}
		}
	}
	add("labels", r.Labels)
	add("env", env)
	return extra
}

// Reliable says whether the driver loses nothing by itself: it waits for an ack of each line before it takes the next.
func (r *Remote) Reliable() bool {
	return r.Options["fluentd-request-ack"] == "true" && r.Options["fluentd-async"] != "true" && r.Options["fluentd-async-connect"] != "true" && r.Options["mode"] != "non-blocking"
}

// WholeSeconds says whether the driver sends times without a fraction.
func (r *Remote) WholeSeconds() bool { return r.Options["fluentd-sub-second-precision"] != "true" }
