package ecsconfig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/internal/introspection"
)

// Introspection is where the ECS agent tells of itself.
const Introspection = introspection.Address

// Metadata is what the agent says of itself. It answers only once it is registered.
type Metadata = introspection.Metadata

// Ask asks the agent at base.
func Ask(ctx context.Context, base string) (Metadata, error) {
	return introspection.Client{Base: base}.Metadata(ctx)
}

// Await waits until a restarted agent answers: one whose process is not that of before. It does not wait for one that has ended for good.
func (s Service) Await(ctx context.Context, base string, before State) (Metadata, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := errors.New("it has not started again")
	for {
		switch now, err := s.State(ctx); {
		case err != nil:
			last = err
		case now.Failed:
			return Metadata{}, fmt.Errorf("the agent has ended and is not started again (see journalctl -u %s and /var/log/ecs/ecs-agent.log)", s.Unit)
		case now.PID != before.PID && now.PID != "0" && now.PID != "":
			m, err := Ask(ctx, base)
			if err == nil {
				return m, nil
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return Metadata{}, fmt.Errorf("the agent does not answer: %w (see /var/log/ecs/ecs-agent.log)", last)
		case <-tick.C:
		}
	}
}
