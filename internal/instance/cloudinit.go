package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// CloudInit reads what cloud-init keeps of the instance below a root folder, "/" but in tests.
type CloudInit struct{ Root string }

func (c CloudInit) path(name string) string { return filepath.Join(c.Root, name) }

// UserData answers cloud-init's copy of the user data and its path. A copy that an AMI brought along from the instance it
// was made of is refused.
func (c CloudInit) UserData() (text []byte, path string, err error) {
	path = c.path("/var/lib/cloud/instance/user-data.txt")
	text, err = os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, path, nil
	case err != nil:
		return nil, path, err
	}
	link, err := os.Readlink(c.path("/var/lib/cloud/instance"))
	if err != nil {
		return nil, path, fmt.Errorf("tell whose user data %s is: %w", path, err)
	}
	of, id := filepath.Base(link), c.ID()
	switch {
	case id == "":
		return nil, path, fmt.Errorf("%s is of %s, and nothing says which instance this is: it may be what the AMI was made of", path, of)
	case of != id:
		return nil, path, fmt.Errorf("%s is of %s, this is %s: the AMI brought it along", path, of, id)
	}
	return text, path, nil
}

// ID is this instance's id as far as it can be told without asking EC2; empty if it cannot.
func (c CloudInit) ID() string {
	if tag, err := os.ReadFile(c.path("/sys/devices/virtual/dmi/id/board_asset_tag")); err == nil {
		if id := strings.TrimSpace(string(tag)); strings.HasPrefix(id, "i-") {
			return id
		}
	}
	// /run is new at each boot, so what stands there is of this one.
	if text, err := os.ReadFile(c.path("/run/cloud-init/instance-data.json")); err == nil {
		var data struct {
			V1 struct {
				ID    string `json:"instance_id"`
				Older string `json:"instance-id"`
			} `json:"v1"`
		}
		if json.Unmarshal(text, &data) == nil && data.V1.ID+data.V1.Older != "" {
			if data.V1.ID != "" {
				return data.V1.ID
			}
			return data.V1.Older
		}
	}
	// Older versions note the id here; it counts if they did so since this boot.
	note := c.path("/var/lib/cloud/data/instance-id")
	info, err := os.Stat(note)
	if err != nil || info.ModTime().Before(c.booted()) {
		return ""
	}
	id, err := os.ReadFile(note)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// booted is when this boot began.
func (c CloudInit) booted() time.Time {
	return time.Now().Add(-c.Uptime())
}

// Uptime is how long this boot lasts.
func (c CloudInit) Uptime() time.Duration {
	text, err := os.ReadFile(c.path("/proc/uptime"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	d, err := time.ParseDuration(first + "s")
	if err != nil {
		return 0
	}
	return d
}

// ScriptsRan tells whether cloud-init has run the scripts of this instance's user data: it does so once.
func (c CloudInit) ScriptsRan() bool {
	for _, name := range []string{"config_scripts_user", "config_scripts-user"} {
		if _, err := os.Stat(c.path("/var/lib/cloud/instance/sem/" + name)); err == nil {
			link, err := os.Readlink(c.path("/var/lib/cloud/instance"))
			id := c.ID()
			return err == nil && (id == "" || filepath.Base(link) == id)
		}
	}
	return false
}
