package cleanup

import (
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// Report is what a pass found and did.
type Report struct {
	Time   time.Time `json:"time"`
	DryRun bool      `json:"dry_run"`
	Took   float64   `json:"took_seconds"`
	*plan.Plan
	ReclaimedBytes int64        `json:"reclaimed_bytes"` // of a dry run: what would be
	Removed        int          `json:"removed"`
	Disks          []DiskStatus `json:"disks"`
	Errors         []string     `json:"errors"`
}

// DiskStatus is a file system that matters.
type DiskStatus struct {
	Mount      string   `json:"mount"`
	Roles      []string `json:"roles"`
	Bytes      int64    `json:"bytes"`
	FreeBytes  int64    `json:"free_bytes"`
	Inodes     int64    `json:"inodes"`
	FreeInodes int64    `json:"free_inodes"`
	Used       float64  `json:"used"` // 0 to 1, of bytes or inodes
	// UntilFullSeconds is left out while the disk does not fill.
	UntilFullSeconds *float64 `json:"seconds_until_full,omitempty"`
}

func diskStatus(list []plan.Disk) []DiskStatus {
	out := []DiskStatus{}
	for i := range list {
		d := &list[i]
		s := DiskStatus{Mount: d.Mount, Roles: d.Roles, Bytes: d.Bytes, FreeBytes: d.FreeBytes, Inodes: d.Inodes, FreeInodes: d.FreeInodes, Used: d.Used()}
		if d.UntilFull != plan.Never {
			seconds := d.UntilFull.Seconds()
			s.UntilFullSeconds = &seconds
		}
		out = append(out, s)
	}
	return out
}

// Status is what the daemon's clean-up does.
type Status struct {
	DryRun         bool           `json:"dry_run"`
	Runs           int64          `json:"runs"`
	Last           time.Time      `json:"last"`           // the end of the last pass; zero: none yet
	Held           string         `json:"held,omitempty"` // why the last pass removed nothing from Docker
	Error          string         `json:"error,omitempty"`
	Waiting        int            `json:"waiting"` // things that may go later
	RemovedTotal   int64          `json:"removed"`
	ReclaimedBytes int64          `json:"reclaimed_bytes"`
	Failing        []plan.Culprit `json:"failing"`
	Pressure       []plan.Pressed `json:"pressure"`
	Disks          []DiskStatus   `json:"disks"`
}

func stateOf(dir string) state { return state{dir: filepath.Join(dir, "cleanup")} }
