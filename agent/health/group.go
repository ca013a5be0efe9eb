package health

import "slices"

// group names containers that are the same thing to an operator: the container of a task definition. Revisions and replicas of
// it share one, since label values must be few.
type group struct{ family, container string }

// Labels by which the ECS agent marks what it starts.
const (
	familyLabel    = "com.amazonaws.ecs.task-definition-family"
	containerLabel = "com.amazonaws.ecs.container-name"
	taskLabel      = "com.amazonaws.ecs.task-arn"
)

// maxGroups bounds how many groups are told apart.
const maxGroups = 60

// other is what containers belong to that ECS did not start, and groups beyond maxGroups.
var other = group{"", "other"}

// agentName is how ecs-init calls the ECS agent's container.
const agentName = "ecs-agent"

// groupOf tells where a container belongs by its labels and its name.
func groupOf(labels map[string]string, name string) group {
	if family := labels[familyLabel]; family != "" {
		return group{family, labels[containerLabel]}
	}
	if name == agentName {
		return group{"", agentName}
	}
	return other
}

// totals are what the containers of a group have done since fairlead watches. They never fall, though containers come and go.
type totals struct {
	usage            // limitBytes and memoryBytes are of now, the rest adds up
	fullest  float64 // the part of its limit that the one nearest to it uses; 0: none has a limit
	restarts float64
	oomKills float64
	exits    map[string]float64 // by code
	failures float64            // ends that nobody had asked for, with a code other than 0
}

// exitCodes are those that are told apart: done, failed, killed (for want of memory too), crashed, told to end, and any other.
var exitCodes = []string{"0", "1", "137", "139", "143", otherCode}

const otherCode = "other"

func exitCode(code string) string {
	if slices.Contains(exitCodes, code) {
		return code
	}
	return otherCode
}
