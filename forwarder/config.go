package forwarder

import (
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/fold"
	"github.com/fairlead/fairlead/forwarder/listen"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/size"
)

// Config is everything the forwarder is told. agent composes it from the sections of fairlead.yaml.
type Config struct {
	Forward fluent.Config
	Spool   spool.Config
	Sources Sources
	Fold    fold.Config
	Record  Record
}

// Endpoint is an entry of `forward.to`, for those who build a Config in code.
type Endpoint = fluent.Endpoint

// Sources is the `sources` section of the configuration.
type Sources struct {
	Containers       Containers    `yaml:"containers"`
	Host             Host          `yaml:"host"`
	Files            []Files       `yaml:"files"`
	Journal          Journal       `yaml:"journal"`
	Listen           listen.Config `yaml:"listen"`
	RotateWait       time.Duration `yaml:"rotate_wait"`
	MaxDetachedBytes size.Bytes    `yaml:"max_detached_bytes"`
}

// Containers says how the logs of Docker's containers are found and tagged.
type Containers struct {
	Enabled bool     `yaml:"enabled"`
	Root    string   `yaml:"root"`    // Docker's containers directory
	Tag     string   `yaml:"tag"`     // a text/template over the fields of tagData
	Exclude []string `yaml:"exclude"` // patterns over name and image, or LABEL=PATTERN: containers that are not read
	Labels  []string `yaml:"labels"`  // whose values become fields
}

// Host says whether the logs of the host are read: those of hostLogs.
type Host struct {
	Enabled bool   `yaml:"enabled"`
	Root    string `yaml:"root"` // where the host's files lie; other than / in a container that has them mounted elsewhere
}

// Journal says which units' entries of systemd's journal are read.
type Journal struct {
	Units     []string `yaml:"units"`     // empty: none
	Directory string   `yaml:"directory"` // of the journal; empty: that of this host
}

// Files is one entry of `sources.files`: plain files, or Docker json-files elsewhere, by a glob.
type Files struct {
	Path   string `yaml:"path"`
	Tag    string `yaml:"tag"`
	Format string `yaml:"format"` // plain or json-file
	Fold   *bool  `yaml:"fold"`   // absent: as `fold.enabled`
	// MaxBytes bounds the disk space that the files take with what was rotated, and the spool if it lies on the same disk; 0: nobody's
	// business.
	MaxBytes    size.Bytes `yaml:"max_bytes"`
	DeleteAcked bool       `yaml:"delete_acked"` // delete rotated files once all of them was acknowledged
}

// Record is the `record` section of the configuration.
type Record struct {
	ID        bool `yaml:"id"`         // add `_id`, the same for the same bytes at every delivery
	ParseJSON bool `yaml:"parse_json"` // the keys of a text that is one JSON object become fields beside `log`
	Instance  bool `yaml:"instance"`   // add `ec2_instance_id`, once SetInstance has said it
}

// DefaultConfig reads all containers of the local Docker engine and the logs of the host. Spool.Dir is for the caller to set.
func DefaultConfig() Config {
	return Config{
		Forward: fluent.DefaultConfig(),
		Spool:   spool.DefaultConfig(),
		Fold:    fold.DefaultConfig(),
		Record:  Record{Instance: true},
		Sources: Sources{
			Containers:       Containers{Enabled: true, Root: "/var/lib/docker/containers", Tag: "docker.{{.ContainerName}}"},
			Host:             Host{Enabled: true, Root: "/"},
			Journal:          Journal{Units: []string{"docker", "containerd", "ecs"}},
			Listen:           listen.DefaultConfig(),
			RotateWait:       5 * time.Second,
			MaxDetachedBytes: size.GiB,
		},
	}
}
