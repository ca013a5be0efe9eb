package plan

import (
	"fmt"
	"slices"
)

// Step is one step of the ladder that is gone up while a disk is above its mark.
type Step string

// The steps, in their order: first what is lost least.
const (
	StepLogs       Step = "logs"            // rotated log files that were read and acknowledged
	StepVolumes    Step = "volumes"         // anonymous ones, by the grace of pressure; those of ECS tasks, and named ones that are asked for
	StepContainers Step = "containers"      // of families that fail again and again, then other stopped ones
	StepDangling   Step = "dangling_images" // without a tag
	StepImages     Step = "images"          // unused, the longest unused first
	StepBuildCache Step = "build_cache"
	StepJournal    Step = "journal"
	StepSpool      Step = "spool"
)

// Steps is the whole ladder.
var Steps = []Step{StepLogs, StepVolumes, StepContainers, StepDangling, StepImages, StepBuildCache, StepJournal, StepSpool}

// undone tells what can be had again: from Fluentd, from a registry, by building. Only that is removed while a disk is merely going to be full.
func (s Step) undone() bool { return s == StepLogs || s == StepImages || s == StepBuildCache }

// frees tells whether the step frees anything on a disk.
func (s Step) frees(d *Disk) bool {
	switch s {
	case StepLogs:
		return slices.Contains(d.Roles, RoleLogs) || slices.Contains(d.Roles, RoleDocker)
	case StepVolumes:
		return slices.Contains(d.Roles, RoleDocker)
	case StepJournal:
		return slices.Contains(d.Roles, RoleJournal)
	case StepSpool:
		return slices.Contains(d.Roles, RoleSpool)
	}
	return slices.Contains(d.Roles, RoleDocker) || slices.Contains(d.Roles, RoleThin)
}

// Level is how bad it is.
type Level int

// The levels.
const (
	Calm  Level = iota
	Early       // it will be full in less than two intervals
	High        // it is above the high mark
)

func (l Level) String() string { return [...]string{"calm", "early", "high"}[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	for _, level := range []Level{Calm, Early, High} {
		if level.String() == string(text) {
			*l = level
			return nil
		}
	}
	return fmt.Errorf("%q is no level", text)
}

// Level judges a disk.
func (p *Policy) Level(d *Disk) Level {
	switch {
	case d.Used() >= p.High:
		return High
	case d.UntilFull < 2*p.Interval:
		return Early
	}
	return Calm
}

// levels answers the worst level among the disks on which the step frees anything.
func (p *Policy) level(w *World, s Step) (worst Level) {
	if !slices.Contains(p.Pressure.Steps, s) {
		return Calm
	}
	for i := range w.Disks {
		if d := &w.Disks[i]; s.frees(d) {
			worst = max(worst, p.Level(d))
		}
	}
	return worst
}

// taken tells whether the step is taken at all.
func (p *Policy) taken(w *World, s Step) bool {
	level := p.level(w, s)
	return level == High || level == Early && s.undone()
}

// Relieved tells whether no disk that the step could help is above its mark or going to be full, and those that were are at the low mark: then
// the ladder is left.
func (p *Policy) Relieved(w *World, s Step, were []Pressed) bool {
	for i := range w.Disks {
		d := &w.Disks[i]
		was := slices.ContainsFunc(were, func(o Pressed) bool { return o.Mount == d.Mount })
		if s.frees(d) && (was && d.Used() > p.Low || p.Level(d) != Calm) {
			return false
		}
	}
	return true
}
