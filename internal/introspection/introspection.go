// Package introspection asks the ECS agent of this host what it knows: http://127.0.0.1:51678, without authentication, for this host alone.
package introspection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Address is where the agent answers.
const Address = "http://127.0.0.1:51678"

// The states of a task, as the agent tells them; everything before RUNNING is PENDING.
const (
	Pending = "PENDING"
	Running = "RUNNING"
	Stopped = "STOPPED"
)

// Metadata is what the agent says of itself. It answers only once it is registered.
type Metadata struct {
	Cluster              string
	ContainerInstanceArn string
	Version              string // "Amazon ECS Agent - v1.105.1 (8dfceca6)"
}

// Task is one that the agent knows, also a stopped one until it is cleaned up.
type Task struct {
	Arn           string
	DesiredStatus string // empty where it contradicts the known one
	KnownStatus   string
	Family        string
	Version       string // the revision of the task definition
	Containers    []Container
}

// Container is one of a task. How it fares is for Docker to say.
type Container struct {
	DockerID   string `json:"DockerId"`
	DockerName string
	Name       string
	Image      string
}

// Client asks the agent. The zero value asks the one of this host.
type Client struct{ Base string }

// direct asks this host, never a proxy.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}

// ErrUnregistered says that the agent answers and belongs to no cluster yet.
var ErrUnregistered = errors.New("the agent is not registered yet")

// maxAnswer bounds what is read: a task with a dozen containers takes 10 KiB.
const maxAnswer = 16 << 20

func (c Client) get(ctx context.Context, path string, into any) error {
	base := c.Base
	if base == "" {
		base = Address
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return err
	}
	answer, err := direct.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}

// Metadata answers cluster, instance and version.
func (c Client) Metadata(ctx context.Context) (Metadata, error) {
	var m Metadata
	if err := c.get(ctx, "/v1/metadata", &m); err != nil {
		return m, err
	}
	if m.ContainerInstanceArn == "" {
		return m, ErrUnregistered
	}
	return m, nil
}

// Tasks answers all tasks that the agent knows.
func (c Client) Tasks(ctx context.Context) ([]Task, error) {
	// An unknown path is answered with 200 and a list of commands, so an answer without the list is none.
	var answer struct{ Tasks *[]Task }
	if err := c.get(ctx, "/v1/tasks", &answer); err != nil {
		return nil, err
	}
	if answer.Tasks == nil {
		return nil, errors.New("read the agent's answer: it has no list of tasks")
	}
	return *answer.Tasks, nil
}
