// Package findings says what is probably wrong with a host, from what was gathered of it: rules over facts, ranked, each with its
// evidence and what to do. It is pure.
package findings

import (
	"fmt"
	"strings"
	"time"
)

// Facts are what the rules look at. What was not asked or did not answer is zero.
type Facts struct {
	Now         time.Time
	Disks       []Disk
	Uses        []Use
	Memory      Memory
	Load        float64 // of the last minute
	Docker      Docker
	Containers  []Container
	Stats       []Container
	ECS         ECS
	Clock       Clock
	Endpoints   []Probe
	IMDS        Probe
	IMDSAsked   bool
	RoleInfo    string // iam/info of the metadata service
	FailedUnits []string
	Config      []string // what is wrong with ecs.config, in sentences
	Fairlead    Fairlead

	seen  map[*pattern]*sighting
	hours map[time.Time]*Hour
	// The hour that was parsed last.
	lastHour string
	lastAt   time.Time
}

// Disk is a file system.
type Disk struct {
	Mount, Device, Type    string
	Total, Free, Available uint64 // bytes
	Inodes, InodesFree     uint64
	Hung, ReadOnly         bool
}

// Used is the part of the disk that is in use, as df has it.
func (d Disk) Used() float64 {
	used := d.Total - d.Free
	if used+d.Available == 0 {
		return 0
	}
	return float64(used) / float64(used+d.Available)
}

// InodesUsed is the part of the inodes that is in use.
func (d Disk) InodesUsed() float64 {
	if d.Inodes == 0 {
		return 0
	}
	return float64(d.Inodes-d.InodesFree) / float64(d.Inodes)
}

// Use says who takes how much of a disk.
type Use struct {
	What, Path string
	Bytes      int64
	AtLeast    bool // it was not counted to its end
}

// ContainerLogs is what the use of the folder with the containers' logs is called.
const ContainerLogs = "container logs"

// Memory is in bytes.
type Memory struct{ Total, Free, Available, Cached, Slab, SwapTotal, SwapFree uint64 }

// Docker is the engine.
type Docker struct {
	Asked, Up, Hung, Absent, Debug bool
	BadConfig                      bool // daemon.json is no JSON
	Why                            string
	Version, Driver, LogDriver     string
	Warnings                       []string
}

// Container is what a rule wants to know of one.
type Container struct {
	ID, Name, Image, State, Health, Error string
	OOMKilled                             bool
	ExitCode, Restarts                    int
	LogBytes                              int64
	Memory, MemoryLimit                   uint64
}

// ECS is the agent.
type ECS struct {
	Asked, Up, Registered, Configured bool
	Why, Cluster, Version             string
}

// Clock is how well the time is kept.
type Clock struct {
	Checked, Synced, HasOffset bool
	Offset                     time.Duration // ours less theirs
	From                       string
}

// Probe is how far an endpoint could be reached.
type Probe struct {
	Name              string
	DNS, Connect, TLS time.Duration
	Error             string
	HasOffset         bool
	Offset            time.Duration
}

// Fairlead is the daemon's own account.
type Fairlead struct {
	Asked, Up, Forwarding  bool
	Why                    string
	Lost, Imbalance        int64
	PendingBytes, Capacity int64
	UnackedSeconds         float64
	Full, Failing          string
	NotReady               []string
	Sources                []Flow
}

// Flow is a log on its way.
type Flow struct {
	Tag                          string
	ReadBytes, LagBytes, Pending int64
	Lines, Events                int64
}

// Severities, worst first.
const (
	Critical = "critical"
	Warning  = "warning"
	Info     = "info"
)

// Finding is something that is probably wrong.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity string   `json:"severity"`
	What     string   `json:"what"`
	Evidence []string `json:"evidence"`
	Fix      string   `json:"fix"`
	Files    []string `json:"files,omitempty"` // members of the archive to look at
}

// Text is the list for people.
func Text(list []Finding) string {
	if len(list) == 0 {
		return "no findings: nothing that the rules know is wrong\n"
	}
	var b strings.Builder
	for i, f := range list {
		fmt.Fprintf(&b, "%d. %s: %s\n", i+1, strings.ToUpper(f.Severity), f.What)
		for _, e := range f.Evidence {
			fmt.Fprintf(&b, "     %s\n", e)
		}
		if len(f.Files) > 0 {
			fmt.Fprintf(&b, "   see %s\n", strings.Join(f.Files, ", "))
		}
		fmt.Fprintf(&b, "   fix: %s\n", f.Fix)
	}
	return b.String()
}
