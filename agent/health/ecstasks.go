package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/internal/introspection"
)

// Why a task stopped that should not have. A task that was told to stop, or whose work was done, has no such reason.
const (
	reasonOOM        = "oom"         // the kernel killed in it for want of memory
	reasonKilled     = "killed"      // by SIGKILL: it did not end within its stop timeout, or somebody killed it
	reasonCrashed    = "crashed"     // by a signal of its own making
	reasonExit       = "exit"        // its code says that it failed
	reasonNotStarted = "not_started" // it has no container: a pull, a volume or the network failed
)

var stopReasons = []string{reasonOOM, reasonKilled, reasonCrashed, reasonExit, reasonNotStarted}

// StoppedTask is a task of this host that stopped abnormally.
type StoppedTask struct {
	At         time.Time `json:"at"`
	Arn        string    `json:"arn"`
	Family     string    `json:"family"`
	Revision   string    `json:"revision"`
	Container  string    `json:"container,omitempty"` // whose end stopped the task
	Code       string    `json:"exit_code,omitempty"`
	Reason     string    `json:"reason"`
	StopCode   string    `json:"stop_code,omitempty"`   // the API's, where the role may ask
	StopReason string    `json:"stop_reason,omitempty"` // in the API's words

	told bool // to stop, which it did not in time
}

func (s StoppedTask) String() string {
	name := s.Family + ":" + s.Revision
	text := fmt.Sprintf("task %s stopped: ", name)
	switch s.Reason {
	case reasonOOM:
		text += fmt.Sprintf("container %s was out of memory (exit code %s); give it more, or find what holds it", s.Container, s.Code)
	case reasonKilled:
		text += fmt.Sprintf("container %s was killed (exit code %s): it did not end within its stop timeout, or somebody killed it", s.Container, s.Code)
	case reasonCrashed:
		text += fmt.Sprintf("container %s crashed (exit code %s)", s.Container, s.Code)
	case reasonExit:
		text += fmt.Sprintf("container %s ended with exit code %s", s.Container, s.Code)
	case reasonNotStarted:
		text += "no container of it was started; the ECS agent's log says why (a pull, a volume, the network)"
	}
	if s.StopReason != "" {
		text += ". ECS says: " + s.StopReason
	}
	return text
}

// ended is how a container of a task ended.
type ended struct {
	name string
	end
}

// judgeStop tells why a task stopped, from how its containers ended; false if nothing is wrong with it. The container that ended
// first is the cause; the others were told to stop after it.
func judgeStop(t introspection.Task, ends []ended, now time.Time) (StoppedTask, bool) {
	s := StoppedTask{At: now.UTC(), Arn: t.Arn, Family: t.Family, Revision: t.Version}
	if len(t.Containers) == 0 {
		s.Reason = reasonNotStarted
		return s, true
	}
	if len(ends) == 0 {
		return s, false // nobody heard how, and Docker has forgotten
	}
	first := slices.MinFunc(ends, func(a, b ended) int {
		// A kill for want of memory stops a task whoever else ends in the same moment.
		if a.oom != b.oom {
			return cmp.Compare(flagOf(b.oom), flagOf(a.oom))
		}
		return a.at.Compare(b.at)
	})
	s.Container, s.Code, s.told = first.name, first.code, first.told
	switch {
	case first.oom:
		s.Reason = reasonOOM
	case first.code == "0" || first.code == "143" || first.code == "":
		return s, false
	case first.told && first.code != "137": // its own way to end when it is told to
		return s, false
	case first.code == "137":
		s.Reason = reasonKilled
	case slices.Contains([]string{"132", "133", "134", "135", "136", "139", "159"}, first.code): // SIGILL TRAP ABRT BUS FPE SEGV SYS
		s.Reason = reasonCrashed
	default:
		s.Reason = reasonExit
	}
	return s, true
}

func flagOf(on bool) int {
	if on {
		return 1
	}
	return 0
}

// record is the event for Fluentd, fields named as those of other events of ECS.
func (s StoppedTask) record(cluster string) map[string]any {
	r := map[string]any{
		"log": s.String(), "source": "ecs-tasks", "level": "error",
		"ecs_task_arn": s.Arn, "ecs_task_definition": s.Family + ":" + s.Revision, "reason": s.Reason,
	}
	for name, value := range map[string]string{
		"ecs_cluster": cluster, "ecs_container_name": s.Container, "exit_code": s.Code, "stop_code": s.StopCode, "stop_reason": s.StopReason,
	} {
		if value != "" {
			r[name] = value
		}
	}
	return r
}

// serviceOf answers the service of the group that the API names a task's.
func serviceOf(group string) (string, bool) { return strings.CutPrefix(group, "service:") }
