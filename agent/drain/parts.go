package drain

import (
	"context"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/fairlead/fairlead/internal/fault"
	"github.com/fairlead/fairlead/internal/introspection"
	"github.com/fairlead/fairlead/internal/objects"
)

// Parts are what a Drain works with.
type Parts struct {
	// Metadata answers an item below /latest/meta-data/ of the metadata service, nothing if it is not there.
	Metadata func(ctx context.Context, path string) (string, error)
	Agent    Agent
	// Cloud is called when AWS is first needed, and again until it succeeds.
	Cloud func(context.Context) (Cloud, error)
	Logs  Logs
}

// Agent is the ECS agent of this host: introspection.Client.
type Agent interface {
	Metadata(context.Context) (introspection.Metadata, error)
	Tasks(context.Context) ([]introspection.Task, error)
}

// Cloud is AWS, as the role of this instance may call it.
type Cloud struct {
	ecs     *ecs.Client
	scaling *autoscaling.Client
	objects *objects.Store
}

// NewCloud makes the clients. It calls nothing. A call is made once: who wants the answer tries again.
func NewCloud(cfg aws.Config) Cloud {
	return Cloud{
		ecs:     ecs.NewFromConfig(cfg, func(o *ecs.Options) { o.Retryer = aws.NopRetryer{} }),
		scaling: autoscaling.NewFromConfig(cfg, func(o *autoscaling.Options) { o.Retryer = aws.NopRetryer{} }),
		objects: objects.New(cfg),
	}
}

// Logs are the logs of this host on their way to Fluentd. They outlive a reload of the configuration. They are functions and no interface:
// who has them has the whole daemon, and the linker keeps every method of all that an interface leads to, 3 MB of the ECS client among it.
type Logs struct {
	// Leave says that the host is about to end, or not any more.
	Leave func(on bool)
	// Settle returns nil when all that was in the logs at the time of the call is acknowledged.
	Settle func(context.Context) error
	// Rest is what is on this host and not acknowledged.
	Rest func() Rest
	// Spill calls put for each part of what is read and not acknowledged.
	Spill func(ctx context.Context, put func(Part) error) error
	// Say sends an event of our own.
	Say func(ctx context.Context, at time.Time, record map[string]any) error
}

// Rest is what is on this host and not acknowledged.
type Rest struct {
	Events   int64 `json:"events"`    // read
	LagBytes int64 `json:"lag_bytes"` // in files, not read
	Folding  int64 `json:"folding_bytes"`
	Aside    int64 `json:"set_aside_files"` // what the receiver refuses
}

// Part is a piece of what is spilled: whole records, which `fairlead replay` takes.
type Part struct {
	First, Last uint64 // numbers of its first and its last record
	Events      int64
	Bytes       int64
	Open        func() io.Reader
}

// denied says that the role may not make the call.
func denied(err error) bool { return fault.IsDenied(err) || objects.IsDenied(err) }
