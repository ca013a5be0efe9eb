package metadata

import "strings"

// The labels that the ECS agent puts on the containers of tasks.
const (
	labelCluster = "com.amazonaws.ecs.cluster"
	labelTask    = "com.amazonaws.ecs.task-arn"
	labelFamily  = "com.amazonaws.ecs.task-definition-family"
	labelVersion = "com.amazonaws.ecs.task-definition-version"
	labelName    = "com.amazonaws.ecs.container-name"
)

// ECS is what the ECS agent says of a container; all empty for one that it did not start.
type ECS struct {
	Cluster       string
	TaskARN       string
	TaskFamily    string
	TaskRevision  string
	ContainerName string // in the task definition
}

// ECS reads the labels.
func (c Container) ECS() ECS {
	return ECS{c.Labels[labelCluster], c.Labels[labelTask], c.Labels[labelFamily], c.Labels[labelVersion], c.Labels[labelName]}
}

// TaskID is the last part of the task's ARN.
func (e ECS) TaskID() string { return e.TaskARN[strings.LastIndexByte(e.TaskARN, '/')+1:] }

// TaskDefinition is family:revision, as FireLens writes it.
func (e ECS) TaskDefinition() string {
	if e.TaskFamily == "" || e.TaskRevision == "" {
		return e.TaskFamily
	}
	return e.TaskFamily + ":" + e.TaskRevision
}

// Pause says whether the container is one of those that only hold the network of a task: they write nothing of interest.
func (c Container) Pause() bool {
	return c.Labels[labelName] == "~internal~ecs~pause" || strings.HasPrefix(c.Image, "amazon/amazon-ecs-pause")
}
