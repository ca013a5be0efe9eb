package health

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HostState is the machine at one moment, for people.
type HostState struct {
	At             time.Time   `json:"at"`
	Name           string      `json:"name"`
	Kernel         string      `json:"kernel"`
	Booted         time.Time   `json:"booted"`
	CPUs           int         `json:"cpus"`
	Busy           float64     `json:"cpu_busy"`   // 0 to 1, since the sample before
	Stolen         float64     `json:"cpu_stolen"` // 0 to 1: the hypervisor gave it to others
	Load           [3]float64  `json:"load"`
	MemoryBytes    int64       `json:"memory_bytes"`
	AvailableBytes int64       `json:"memory_available_bytes"`
	SwapUsedBytes  int64       `json:"swap_used_bytes"`
	OOMKills       int64       `json:"oom_kills"` // since the boot
	ReceivedBytes  int64       `json:"network_received_bytes"`
	SentBytes      int64       `json:"network_sent_bytes"`
	Disks          []DiskState `json:"disks"`
	ClockSynced    bool        `json:"clock_synced"`
	ClockOffset    float64     `json:"clock_offset_seconds"`
	Reboot         string      `json:"reboot,omitempty"` // why it should be booted again

	ticks ticks
}

// DiskState is a file system.
type DiskState struct {
	Mount      string `json:"mount"`
	Device     string `json:"device"`
	Kind       string `json:"type"`
	ReadOnly   bool   `json:"read_only,omitempty"`
	Error      string `json:"error,omitempty"`
	SizeBytes  int64  `json:"size_bytes"`
	UsedBytes  int64  `json:"used_bytes"`
	AvailBytes int64  `json:"available_bytes"` // for others than root, as all that follows from it
	Files      int64  `json:"files"`
	FilesFree  int64  `json:"files_free"`
	// SecondsUntilFull is absent while it does not fill, or is not known yet.
	SecondsUntilFull *float64 `json:"seconds_until_full,omitempty"`
}

// Used is the part that is in use, as df has it: what is kept for root is neither in use nor free.
func (d DiskState) Used() float64 {
	if d.UsedBytes+d.AvailBytes <= 0 {
		return 0
	}
	return float64(d.UsedBytes) / float64(d.UsedBytes+d.AvailBytes)
}

// Remote disks are somebody else's: their filling is no fault of this host, and nothing that it could mend.
func (d DiskState) Remote() bool { return remoteTypes.MatchString(d.Kind) }

var remoteTypes = regexp.MustCompile(`^(nfs.*|cifs|smb.*|ceph|lustre|9p|fuse.*)$`)

// state looks at the machine. What cannot be read stays empty, and is in the error.
func (h *Host) state(ctx context.Context) (HostState, error) {
	s := HostState{At: h.kernel.now()}
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var u unix.Utsname
	keep(h.kernel.uname(&u))
	s.Name, s.Kernel = unix.ByteSliceToString(u.Nodename[:]), unix.ByteSliceToString(u.Release[:])
	var err error
	s.ticks, s.CPUs, err = h.processors()
	keep(err)
	s.Booted, err = h.booted()
	keep(err)
	s.Load, err = h.averages()
	keep(err)
	var swap, swapFree float64
	keep(h.meminfo(func(name string, v float64) {
		switch name {
		case "MemTotal":
			s.MemoryBytes = int64(v)
		case "MemAvailable":
			s.AvailableBytes = int64(v)
		case "SwapTotal":
			swap = v
		case "SwapFree":
			swapFree = v
		}
	}))
	s.SwapUsedBytes = int64(swap - swapFree)
	keep(h.keyed("proc/vmstat", func(key string, v float64) {
		if key == "oom_kill" {
			s.OOMKills = int64(v)
		}
	}))
	text, err := h.read("proc/net/dev")
	keep(err)
	eachDevice(text, func(device string, columns [][]byte) {
		if device != "lo" && !strings.HasPrefix(device, "veth") && !strings.HasPrefix(device, "docker") && !strings.HasPrefix(device, "br-") {
			s.ReceivedBytes += int64(number(columns[0]))
			s.SentBytes += int64(number(columns[8]))
		}
	})
	clock, err := h.clockState()
	keep(err)
	s.ClockSynced, s.ClockOffset = clock.synced, clock.offset.Seconds()
	s.Reboot, err = h.rebootFor(s.Kernel)
	keep(err)
	list, err := h.mounts()
	keep(err)
	found, faults := h.spaces(ctx, list)
	devices := map[string]bool{}
	for i, m := range list {
		// What lives in memory is memory's business, and a device that is mounted twice is one disk.
		if m.kind == "tmpfs" || m.kind == "ramfs" || devices[m.device] && strings.HasPrefix(m.device, "/dev/") {
			continue
		}
		devices[m.device] = true
		d := DiskState{Mount: m.point, Device: m.device, Kind: m.kind, ReadOnly: m.readOnly, SizeBytes: int64(found[i].size),
			UsedBytes: int64(found[i].size - found[i].free), AvailBytes: int64(found[i].avail), Files: int64(found[i].files), FilesFree: int64(found[i].filesFree)}
		if faults[i] != nil {
			d.Error = fmt.Sprintf("%s: %v", m.point, faults[i])
		}
		s.Disks = append(s.Disks, d)
	}
	return s, errors.Join(errs...)
}
