package plan

import (
	"fmt"
	"testing"
	"time"
)

// A service whose containers cannot be started (no such program, a port that is taken) leaves them as created, which is also what one looks
// like that the agent is about to start. That the agent says of their tasks that they are over tells.
func TestFailingToStart(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	w := &World{Now: Clock{Wall: now, Boot: "b", Up: time.Hour}, Engine: Engine{Root: "/var/lib/docker", Up: time.Hour}, ECS: ECS{Present: true, Answers: true},
		Disks: []Disk{{Mount: "/", Roles: []string{RoleDocker}, Bytes: 100, FreeBytes: 5, UntilFull: Never}}}
	for i := range 6 {
		arn := fmt.Sprint("arn:", i)
		w.Containers = append(w.Containers, Container{ID: fmt.Sprint(i), State: "created", Created: now.Add(time.Duration(i-10) * time.Minute), Volumes: []string{hexName(i)},
			Labels: map[string]string{labelTask: arn, labelFamily: "broken", labelRevision: "1"}})
		w.ECS.Tasks = append(w.ECS.Tasks, Task{ARN: arn, Family: "broken", Revision: "1", Known: "STOPPED"})
	}
	p := &Policy{Interval: time.Minute, High: 0.8, Low: 0.7, Pressure: Pressure{KeepFailed: 3, Most: 10, Steps: []Step{StepContainers}}}
	removed := func() (ids string) {
		m := Memory{}.See(w)
		for _, item := range p.Make(w, &m).Removals() {
			if !item.WithVolumes || item.Family != "broken" {
				t.Errorf("%+v", item)
			}
			ids += item.ID
		}
		return ids
	}
	if ids := removed(); ids != "012" {
		t.Errorf("removed %q, want all but the newest three", ids)
	}
	w.ECS.Tasks[1].Known = "PENDING"
	if ids := removed(); ids != "02" {
		t.Errorf("removed %q, though task 1 is starting", ids)
	}
	w.ECS.Tasks = nil
	if ids := removed(); ids != "" {
		t.Errorf("removed %q, though the agent knows nothing of their tasks", ids)
	}
}
