package forwarder

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead/fairlead/forwarder/metadata"
	"github.com/fairlead/fairlead/internal/glob"
)

// Excluded is a container whose log is not read, and why.
type Excluded struct {
	ContainerID string `json:"container_id"`
	Name        string `json:"name"`
	Image       string `json:"image"`
	Reason      string `json:"reason"`
}

// choice says which containers are read: all but those of `sources.containers.exclude` and ECS's pause containers.
type choice []exclusion

// exclusion is one entry of the list: a pattern over name and image, or over the value of a label.
type exclusion struct {
	text    string
	label   string // empty: over name and image
	pattern glob.Pattern
}

func newChoice(exclude []string) (choice, error) {
	var c choice
	for i, text := range exclude {
		e := exclusion{text: text}
		label, pattern, isLabel := strings.Cut(text, "=")
		if isLabel {
			e.label = label
		} else {
			pattern = text
		}
		var err error
		e.pattern, err = glob.Compile(pattern)
		switch {
		case err != nil:
		case isLabel && label == "":
			err = fmt.Errorf("no label stands before the =: use LABEL=PATTERN")
		case text == "":
			err = fmt.Errorf("it fits no container: use a pattern over name or image, or LABEL=PATTERN")
		case strings.HasPrefix(text, "/"):
			err = fmt.Errorf("names begin without a slash here: use %s", text[1:])
		}
		if err != nil {
			return nil, fmt.Errorf("sources.containers.exclude[%d]: %q: %w", i, text, err)
		}
		c = append(c, e)
	}
	return c, nil
}

// excludes answers why a container is not to be read; empty if it is. dir is its folder.
func (c choice) excludes(m metadata.Container, dir string) string {
	name := strings.TrimPrefix(m.Name, "/")
	for _, e := range c {
		fits := e.pattern.Match(name) || e.pattern.Match(m.Image)
		if e.label != "" {
			value, has := m.Labels[e.label]
			fits = has && e.pattern.Match(value)
		}
		if fits {
			return "sources.containers.exclude: " + e.text
		}
	}
	if m.Pause() {
		return "pause container of an ECS task"
	}
	if m.Driver != "" && m.Driver != "json-file" {
		// What it says counts less than what there is: a file that is there is read.
		if _, err := os.Lstat(logPath(dir)); os.IsNotExist(err) {
			return "log driver " + m.Driver
		}
	}
	return ""
}

// logPath is where Docker's json-file driver keeps the log of the container whose folder is dir.
func logPath(dir string) string { return filepath.Join(dir, filepath.Base(dir)+"-json.log") }

// identity is a container as its configuration on disk describes it.
type identity struct {
	metadata.Container
	excluded string // why it is not read; empty: it is
}

// identify reads who the container in dir is.
func (d *discovery) identify(dir string) (*identity, error) {
	c, err := metadata.ReadContainer(dir)
	if err != nil {
		return nil, err
	}
	return &identity{c, d.choice.excludes(c, dir)}, nil
}

// exclude notes that a container is not read. d.mu is held.
func (d *discovery) exclude(dir string, c *identity) {
	d.excluded[dir] = Excluded{c.ID, strings.TrimPrefix(c.Name, "/"), c.Image, c.excluded}
}

// name reads who the container of a source is, as long as that is not known in full: hostconfig.json is written a moment after
// config.v2.json, and either may be gone a moment after it was there.
func (d *discovery) name(s *source) {
	if c := s.found.Load(); s.dir == "" || c != nil && c.Driver != "" {
		return
	}
	if c, err := d.identify(s.dir); err == nil {
		s.found.Store(c)
	}
}

// excludedList is what is not read, for the status. Containers that are gone are forgotten once a second, by look.
func (d *discovery) excludedList() []Excluded {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Excluded, 0, len(d.excluded))
	for _, e := range d.excluded {
		list = append(list, e)
	}
	return list
}

// forgetExcluded drops the containers that are no longer among those of the root. d.mu is held.
func (d *discovery) forgetExcluded(there []fs.DirEntry) {
	if len(d.excluded) == 0 {
		return
	}
	names := make(map[string]bool, len(there))
	for _, e := range there {
		names[e.Name()] = true
	}
	for dir := range d.excluded {
		if !names[filepath.Base(dir)] {
			delete(d.excluded, dir)
		}
	}
}
