package health

import (
	"fmt"
	"time"
)

// Reason is one thing to complain of: a code for programs and a sentence for people.
type Reason struct {
	Code string
	Text string
}

// The codes of this package's reasons.
const (
	DiskFilling       = "disk_filling"
	DockerHung        = "docker_hung"
	DockerDown        = "docker_down"
	AgentDisconnected = "agent_disconnected"
	ClockOff          = "clock_off"
	LogsLate          = "logs_late"
	SpoolFilling      = "spool_filling"
)

// What counts as trouble.
const (
	fullWithin   = 4 * time.Hour
	leastFree    = 0.05            // of space, and of inodes
	agentMay     = 2 * time.Minute // be silent: a restart of it takes that long
	clockMay     = 0.5             // seconds
	lagMay       = 5 * time.Minute
	leastLag     = 64 << 20 // bytes
	oldestMay    = 5 * time.Minute
	spoolMay     = 0.8
	leastForFull = 0.5 // of the space: a disk that is mostly empty and filled quickly is somebody's copy
)

// judgeHost answers what is wrong with what was seen. synced says that the clock was in step once, lagged since when logs wait.
func judgeHost(h HostState, d DockerState, e ECSState, f *Flow, synced bool, lagged, now time.Time) []Reason {
	var reasons []Reason
	add := func(code, format string, args ...any) {
		reasons = append(reasons, Reason{code, fmt.Sprintf(format, args...)})
	}
	for _, disk := range h.Disks {
		switch {
		case disk.Error != "" || disk.ReadOnly || disk.SizeBytes == 0 || disk.Remote():
		case float64(disk.AvailBytes) < leastFree*float64(disk.SizeBytes):
			add(DiskFilling, "%s has %s left of %s", disk.Mount, Amount(disk.AvailBytes), Amount(disk.SizeBytes))
		case disk.Files > 0 && float64(disk.FilesFree) < leastFree*float64(disk.Files):
			add(DiskFilling, "%s has %d inodes left of %d", disk.Mount, disk.FilesFree, disk.Files)
		case disk.SecondsUntilFull != nil && *disk.SecondsUntilFull < fullWithin.Seconds() && disk.Used() > leastForFull:
			add(DiskFilling, "%s is full in %s if it goes on so", disk.Mount, Duration(*disk.SecondsUntilFull))
		}
	}
	switch {
	case d.Up || d.Missing || d.Probed.IsZero():
	case d.Hung:
		add(DockerHung, "the Docker engine hangs for %s: %s", ago(d.Since, now), d.Error)
	default:
		add(DockerDown, "the Docker engine is down for %s: %s", ago(d.Since, now), d.Error)
	}
	switch {
	case e.Missing || e.Since.IsZero():
	case !e.Up && now.Sub(e.Since) > agentMay:
		process := "its container runs"
		if !e.Process {
			process = "its container does not run"
		}
		add(AgentDisconnected, "the ECS agent does not answer for %s, %s: %s", ago(e.Since, now), process, e.Error)
	case e.Up && !e.Connected():
		add(AgentDisconnected, "ECS says that the agent is not connected: no task is placed here")
	}
	switch {
	case h.At.IsZero():
	case h.ClockSynced && (h.ClockOffset > clockMay || h.ClockOffset < -clockMay):
		add(ClockOff, "the clock is off by %.3g s", h.ClockOffset)
	case !h.ClockSynced && synced:
		add(ClockOff, "the clock is not kept in step any more (is chronyd running?)")
	}
	if f != nil {
		switch {
		case f.OldestSeconds > oldestMay.Seconds():
			add(LogsLate, "the oldest event in the spool waits for %s", Duration(f.OldestSeconds))
		case f.LagBytes > leastLag && !lagged.IsZero() && now.Sub(lagged) > lagMay:
			add(LogsLate, "logs wait to be read for %s, %s now", ago(lagged, now), Amount(f.LagBytes))
		}
		if f.CapacityBytes > 0 && float64(f.PendingBytes) > spoolMay*float64(f.CapacityBytes) {
			add(SpoolFilling, "the spool holds %s of %s", Amount(f.PendingBytes), Amount(f.CapacityBytes))
		}
	}
	return reasons
}

// Amount writes a number of bytes for people.
func Amount(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n < 1<<40:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f TiB", float64(n)/(1<<40))
}

// Duration writes seconds for people: the two largest units.
func Duration(seconds float64) string {
	d := time.Duration(min(seconds, 1e9) * float64(time.Second)).Round(time.Second)
	switch {
	case d < 2*time.Minute:
		return d.String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func ago(since, now time.Time) string { return Duration(max(0, now.Sub(since).Seconds())) }
