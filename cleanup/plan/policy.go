package plan

import (
	"time"

	"github.com/fairlead/fairlead/internal/glob"
)

// Policy is what the operator wants.
type Policy struct {
	Interval  time.Duration // between two passes
	High, Low float64       // parts of a disk, 0 to 1

	VolumeGrace       time.Duration // for which a volume must be seen to dangle
	StoppedContainers time.Duration // for which a container must have been stopped, under pressure
	Images            bool          // unused images may go, under pressure
	Protect           []glob.Pattern
	NamedVolumes      []glob.Pattern

	Pressure Pressure
}

// Pressure is what is different while a disk is above the high mark.
type Pressure struct {
	VolumeGrace time.Duration // takes the place of the other for anonymous volumes, if it is shorter
	ImageGrace  time.Duration // for which an image must be seen unused
	KeepFailed  int           // tasks of a family that fails again and again that are kept, the newest
	Most        int           // things that one step removes in one pass
	Steps       []Step        // the steps that are taken; their order is fixed
}

// ECSVolumeGrace is the least grace of a volume that looks like one of an ECS task. The agent makes the volumes of a task before it
// pulls its images, for which it takes up to 2 h, and 4 min for what follows.
const ECSVolumeGrace = 2*time.Hour + 10*time.Minute

// Settle is how long an engine must have run before anything is removed: its references to volumes come back as it loads its containers.
const Settle = 2 * time.Minute

// FailedAge is how long a container of a family that fails must have been stopped before it is removed: the ECS agent is to have seen why.
const FailedAge = time.Minute

func matches(patterns []glob.Pattern, names ...string) bool {
	for _, p := range patterns {
		for _, name := range names {
			if name != "" && p.Match(name) {
				return true
			}
		}
	}
	return false
}
