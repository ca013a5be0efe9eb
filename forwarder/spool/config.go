package spool

import (
	"fmt"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// Config is the `spool` section of the configuration.
type Config struct {
	Dir       string        `yaml:"dir"`
	MaxBytes  size.Bytes    `yaml:"max_bytes"`
	MinFree   size.Bytes    `yaml:"min_free"`
	WhenFull  string        `yaml:"when_full"`
	SyncAfter time.Duration `yaml:"sync_after"`
}

// What `when_full` may say.
const (
	WhenFullWait       = "wait"
	WhenFullDropOldest = "drop_oldest"
)

const (
	minMaxBytes  = 8 * size.MiB
	minSyncAfter = 100 * time.Millisecond
)

// DefaultConfig waits when 1 GiB is spooled or less than 512 MiB of the disk are free. An empty Dir is the owner's to fill.
func DefaultConfig() Config {
	return Config{MaxBytes: size.GiB, MinFree: 512 * size.MiB, WhenFull: WhenFullWait, SyncAfter: 5 * time.Second}
}

// Validate names the first key whose value Open could not work with. An empty Dir passes: it stands for the owner's default.
func (c Config) Validate() error {
	if c.MaxBytes < minMaxBytes {
		return fmt.Errorf("spool.max_bytes: %v is too small, need at least %v", c.MaxBytes, minMaxBytes)
	}
	if c.MinFree < 0 {
		return fmt.Errorf("spool.min_free: %v is negative, use 0 to fill the disk to the end", c.MinFree)
	}
	if c.WhenFull != WhenFullWait && c.WhenFull != WhenFullDropOldest {
		return fmt.Errorf("spool.when_full: %q is unknown, use %s or %s", c.WhenFull, WhenFullWait, WhenFullDropOldest)
	}
	if c.SyncAfter < minSyncAfter {
		return fmt.Errorf("spool.sync_after: %v is too short, need at least %v", c.SyncAfter, minSyncAfter)
	}
	return nil
}
