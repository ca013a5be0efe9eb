package drain

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/fairlead/fairlead/internal/objects"
)

// Config is the `drain` section.
type Config struct {
	Enabled        bool          `yaml:"enabled"`         // notices are acted on; by hand it works in any case
	Wait           time.Duration `yaml:"wait"`            // for tasks and logs, at the most
	Rebalance      bool          `yaml:"rebalance"`       // a rebalance recommendation is a notice too
	StopStandalone bool          `yaml:"stop_standalone"` // tasks of no service, which ECS leaves running, are stopped
	Hook           string        `yaml:"hook"`            // the lifecycle hook that is kept waiting and then completed; empty: none
	Spill          string        `yaml:"spill"`           // s3://BUCKET/PREFIX for what cannot be delivered in time; empty: nowhere
}

// DefaultConfig acts on Spot and Auto Scaling notices.
func DefaultConfig() Config { return Config{Enabled: true, Wait: 10 * time.Minute} }

// managedHook is ECS's own: it completes it when it has drained the instance its way.
const managedHook = "ecs-managed-draining-termination-hook"

const (
	minWait = time.Second
	maxWait = 48 * time.Hour // no hook waits longer
)

var hookName = regexp.MustCompile(`^[A-Za-z0-9/_-]{1,255}$`)

// Validate names the keys that are wrong, their values and what would be accepted.
func (c Config) Validate() error {
	var errs []error
	if err := CheckWait(c.Wait); err != nil {
		errs = append(errs, fmt.Errorf("drain.wait: %w", err))
	}
	switch {
	case c.Hook == managedHook:
		errs = append(errs, fmt.Errorf("drain.hook: %s is ECS's own, which ECS completes: make a hook of another name and name that", c.Hook))
	case c.Hook != "" && !hookName.MatchString(c.Hook):
		errs = append(errs, fmt.Errorf("drain.hook: %q is no name of a lifecycle hook: letters, digits, - _ /", c.Hook))
	}
	if c.Spill != "" {
		if _, err := objects.Parse(c.Spill); err != nil {
			errs = append(errs, fmt.Errorf("drain.spill: %q is no place in S3: write s3://BUCKET/PREFIX", c.Spill))
		}
	}
	return errors.Join(errs...)
}

// CheckWait says what is wrong with a time to wait.
func CheckWait(d time.Duration) error {
	if d < minWait || d > maxWait {
		return fmt.Errorf("%s is out of range: use %s to %s", d, minWait, "48h")
	}
	return nil
}
