package ecsconfig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Introspection is where the ECS agent tells of itself.
const Introspection = "http://127.0.0.1:51678"

// Metadata is what the agent says of itself. It answers only once it is registered.
type Metadata struct {
	Cluster              string
	ContainerInstanceArn string
	Version              string
}

// direct asks this host, never a proxy.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}

// Ask asks the agent at base.
func Ask(ctx context.Context, base string) (Metadata, error) {
	var m Metadata
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/metadata", nil)
	if err != nil {
		return m, err
	}
	answer, err := direct.Do(r)
	if err != nil {
		return m, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return m, errors.New(answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&m); err != nil {
		return m, fmt.Errorf("read the agent's answer: %w", err)
	}
	if m.ContainerInstanceArn == "" {
		return m, errors.New("the agent is not registered yet")
	}
	return m, nil
}

// Await waits until a restarted agent answers: one whose process is not that of before.
func (s Service) Await(ctx context.Context, base string, before State) (Metadata, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := errors.New("it has not started again")
	for {
		if now, err := s.State(ctx); err == nil && now.PID != before.PID && now.PID != "0" && now.PID != "" {
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
