package cleanup

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// What callers tell and are told, in the words of package plan, which they do not know.
type (
	ECS    = plan.ECS
	Task   = plan.Task
	Log    = plan.Log
	Action = plan.Action
)

// What becomes of a thing.
const (
	Remove = plan.Remove
	Keep   = plan.Keep
	Wait   = plan.Wait
)

// Host is what surrounds a clean-up: where things are, and whom to ask about what it does not know itself. Each function may be nil where
// there is nobody to ask.
type Host struct {
	Docker   string // host of the engine as in DOCKER_HOST; "": that, or the usual socket
	StateDir string // of the daemon; a folder in it is ours
	Machine  string // tells this host from others: what was seen on another, and came in an image of it, was not seen here
	SpoolDir string
	Journal  string // where journald keeps its files

	// ECS tells the tasks of this host. nil: this is no container instance.
	ECS func(ctx context.Context) ECS
	// Delivered says whether all that a container wrote to its log was acknowledged, and if not why. path is the log's, as the engine says.
	// nil: nobody reads logs here.
	Delivered func(ctx context.Context, containerID, path string) (bool, string)
	// Logs lists rotated log files all of which was acknowledged.
	Logs func(ctx context.Context) []Log
	// JournalRead says whether the journal is read up to date, and if not why. nil: nobody reads it.
	JournalRead func(ctx context.Context) (bool, string)
	// TrimSpool has the spool give up what it still holds of acknowledged data; it answers how many bytes.
	TrimSpool func(ctx context.Context) (int64, error)
	// Say brings an event to Fluentd.
	Say func(ctx context.Context, tag string, t time.Time, record map[string]any) error
}
