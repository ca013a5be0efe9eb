package plan

import (
	"math"
	"time"
)

// World is a host at one moment, as it was observed. Volumes are listed before containers: a container that came between the two
// listings shows in the second, and its volumes are left alone.
type World struct {
	Began  Clock // before the first listing
	Now    Clock // after the last
	Engine Engine

	Volumes    []Volume    // that no container refers to, as the engine says
	Containers []Container // all, in every state
	Images     []Image     // all but intermediate ones
	ECS        ECS

	Disks []Disk
	Logs  []Log
}

// Clock is one moment by two clocks. Ages are counted by the second: a step of the wall clock makes nothing old.
type Clock struct {
	Wall time.Time
	Boot string        // names the boot that Up counts from; "" counts nothing
	Up   time.Duration // since the boot, sleep included
}

// Since is the time from then to c; 0 where the two clocks cannot be compared because the host was started anew between them.
func (c Clock) Since(then Clock) time.Duration {
	if c.Boot == "" || c.Boot != then.Boot {
		return 0
	}
	return max(0, c.Up-then.Up)
}

// Engine is what is known of the Docker engine itself.
type Engine struct {
	Down     string        // why it does not answer, or not completely; "": it does
	Root     string        // where it keeps everything: /var/lib/docker
	Up       time.Duration // for how long it is known to run
	Warnings []string      // of the listing of volumes
}

// Volume is a Docker volume, from GET /volumes.
type Volume struct {
	Name       string
	Driver     string
	Scope      string
	Mountpoint string
	CreatedAt  string // as the engine wrote it; of the local driver the ctime of its folder, so it can only look too young
	Labels     map[string]string
	Options    map[string]string
}

// Container is a Docker container, from GET /containers/json.
type Container struct {
	ID      string
	Name    string // without the slash
	Image   string // as it was asked for
	ImageID string
	State   string // created, running, paused, restarting, removing, exited, dead
	Exit    int    // of exited ones
	Created time.Time
	Labels  map[string]string
	Volumes []string // names of its volumes
	Binds   []string // paths on the host that are mounted in it
}

// Image is a Docker image, from GET /images/json.
type Image struct {
	ID      string
	Tags    []string // without <none>:<none>
	Digests []string // by which a registry knows it, without <none>@<none>
	Created time.Time
	Bytes   int64 // layers that it shares with others included
	Labels  map[string]string
}

// ECS is what the ECS agent says of its tasks.
type ECS struct {
	Present bool // this is a container instance; otherwise the rest says nothing
	Answers bool
	Tasks   []Task
}

// Task is an ECS task, from the agent's introspection.
type Task struct {
	ARN, Family, Revision string
	Known                 string // PENDING, RUNNING, STOPPED
}

// Roles of a file system.
const (
	RoleRoot    = "root"
	RoleDocker  = "docker"
	RoleThin    = "thin_pool" // devicemapper's: no file system, df does not see it
	RoleSpool   = "spool"
	RoleJournal = "journal"
	RoleLogs    = "logs"
)

// Disk is a file system that matters, or the thin pool.
type Disk struct {
	Mount      string
	Dev        uint64 // of its files; 0: it has none
	Roles      []string
	Bytes      int64 // that can be used: what is in use and what is free for root's containers
	FreeBytes  int64
	Inodes     int64 // 0: the file system does not count them
	FreeInodes int64
	UntilFull  time.Duration // by the forecast; Never while it does not fill or nothing is known
}

// Never is the forecast of a disk that does not fill.
const Never = time.Duration(math.MaxInt64)

// Used is the part in use, of bytes or of inodes, whichever is more: 0 to 1.
func (d *Disk) Used() float64 {
	return max(part(d.Bytes-d.FreeBytes, d.Bytes), part(d.Inodes-d.FreeInodes, d.Inodes))
}

func part(used, all int64) float64 {
	if all <= 0 {
		return 0
	}
	return float64(used) / float64(all)
}

// Log is a rotated log file, all of which was read and acknowledged.
type Log struct {
	Path     string
	Dev, Ino uint64
	Bytes    int64
	Written  time.Time
}
