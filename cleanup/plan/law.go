package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Labels that say whose something is.
const (
	labelAnonymous = "com.docker.volume.anonymous" // of the engine, since 23
	labelProtect   = "fairlead.protect"            // of the operator, on a container
	labelTask      = "com.amazonaws.ecs.task-arn"
	labelFamily    = "com.amazonaws.ecs.task-definition-family"
	labelRevision  = "com.amazonaws.ecs.task-definition-version"
)

// Anonymous says whether a name is one that the engine makes up for a volume without one.
func Anonymous(name string) bool {
	if len(name) != 64 {
		return false
	}
	for i := range len(name) {
		if !isHex(name[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// taskVolume says whether a name is one that the ECS agent gives: ecs-FAMILY-REVISION-VOLUME-RANDOM. The random part is a varint in ten
// bytes, so its last byte is 00 or 01. Nothing else tells: the volume has no label.
func taskVolume(name string) bool {
	rest, ok := strings.CutPrefix(name, "ecs-")
	at := len(rest) - 21
	if !ok || at < 0 || rest[at] != '-' || rest[len(rest)-2] != '0' || rest[len(rest)-1] > '1' {
		return false
	}
	for i := at + 1; i < len(rest); i++ {
		if !isHex(rest[i]) {
			return false
		}
	}
	// Between the family and the name of the volume stands a number.
	parts := strings.Split(rest[:at], "-")
	for i := 1; i < len(parts)-1; i++ {
		if parts[i] != "" && strings.Trim(parts[i], "0123456789") == "" {
			return true
		}
	}
	return false
}

// taskPrefix begins the names of the volumes of a task definition. A name does not tell where the family ends, so that of one may begin
// like that of another: both are then held back.
func taskPrefix(family, revision string) string { return "ecs-" + family + "-" + revision + "-" }

// createdAt is when the volume was made or last changed; not known for some drivers, and where its folder is missing.
func (v *Volume) createdAt() (t time.Time, known bool) {
	t, err := time.Parse(time.RFC3339, v.CreatedAt)
	return t, err == nil && t.Year() > 1
}

// class is what a volume is to the law.
type class int

const (
	classNever class = iota
	classAnonymous
	classTask
	classNamed
)

// classify tells what a volume is, and for one that is never removed the reason. It looks at the volume alone, not at who uses it.
func (p *Policy) classify(w *World, m *Memory, v *Volume) (class, string) {
	switch {
	case matches(p.Protect, v.Name):
		return classNever, "protected by cleanup.protect"
	case v.Driver != "local":
		return classNever, fmt.Sprintf("its driver is %s", v.Driver)
	case len(v.Options) > 0:
		return classNever, "it has driver options"
	case v.Scope != "" && v.Scope != "local":
		return classNever, fmt.Sprintf("its scope is %s", v.Scope)
	case w.Engine.Root != "" && v.Mountpoint != w.Engine.Root+"/volumes/"+v.Name+"/_data":
		return classNever, "it is not where the engine keeps its volumes"
	}
	for label := range v.Labels {
		if label != labelAnonymous {
			return classNever, fmt.Sprintf("it has the label %s", label)
		}
	}
	switch {
	case Anonymous(v.Name):
		return classAnonymous, ""
	case taskVolume(v.Name):
		return classTask, ""
	}
	if _, ok := m.Shared[v.Name]; ok {
		return classNever, "ECS tasks share it"
	}
	if !matches(p.NamedVolumes, v.Name) {
		return classNever, "it has a name, and cleanup.named_volumes does not match it"
	}
	return classNamed, ""
}

// JudgeVolume is the law for volumes. A volume is removed only if nobody refers to it, it is of a kind that may go, and it was seen so
// for the grace, at two looks at least. tight says that the grace of pressure counts. m must have seen w. The look right before the
// removal asks the same.
func (p *Policy) JudgeVolume(w *World, m *Memory, v *Volume, tight bool) (Action, string) {
	return p.judgeVolume(w, m, v, tight, usesOf(w, m))
}

func (p *Policy) judgeVolume(w *World, m *Memory, v *Volume, tight bool, u uses) (Action, string) {
	c, why := p.classify(w, m, v)
	if c == classNever {
		return Keep, why
	}
	if u.volumes[v.Name] {
		return Keep, "a container refers to it"
	}
	grace := p.VolumeGrace
	switch c {
	case classAnonymous:
		// What a stopped container held that we removed may be the data it was kept for: that goes by the full grace only.
		if _, left := m.Left[v.Name]; tight && !left {
			grace = min(grace, p.Pressure.VolumeGrace)
		}
	case classTask:
		grace = max(grace, ECSVolumeGrace)
		if u.silent {
			return Wait, "the ECS agent does not answer: a task may be starting"
		}
		for i := range u.starting {
			if strings.HasPrefix(v.Name, u.starting[i].prefix) {
				return Wait, u.starting[i].why
			}
		}
	}
	if why := w.Doubt(); why != "" {
		return Wait, why
	}
	s := m.Volumes[v.Name]
	if s.Looks < 2 || s.Age < grace || s.CreatedAt != v.CreatedAt {
		return Wait, fmt.Sprintf("seen unused for %s of %s", round(s.Age), round(grace))
	}
	if t, known := v.createdAt(); known && w.Now.Wall.Sub(t) < grace {
		return Wait, fmt.Sprintf("made or changed %s ago, which is to be %s", round(w.Now.Wall.Sub(t)), round(grace))
	}
	return Remove, fmt.Sprintf("%s volume, seen unused for %s (grace %s)", c, round(s.Age), round(grace))
}

func (c class) String() string {
	return [...]string{"kept", "anonymous", "ECS task's", "named"}[c]
}

// starting is a task that is neither seen running nor over. Stopped ones may be wanted no more and still be on their way.
func (t *Task) starting() bool { return t.Known != "RUNNING" && t.Known != "STOPPED" }

// alive is a task that may have containers started, or have some that others of it need.
func (t *Task) alive() bool { return t.Known != "STOPPED" }

// Uses names the volumes that it refers to. Who mounts the folder of one by its path uses it too, and the engine does not know; the name in the path
// alone has to do, since the engine's folder may be reached by several.
func (c *Container) Uses() []string {
	list := slices.Clip(c.Volumes)
	for _, path := range c.Binds {
		folder := ""
		for name := range strings.SplitSeq(path, "/") {
			if folder == "volumes" {
				list = append(list, name)
			}
			folder = name
		}
	}
	return list
}

func (c *Container) isECS() bool { return c.Labels[labelTask] != "" || c.Labels[labelFamily] != "" }

// stopped are the states in which a container does nothing. One that was created and never started may be about to be.
func (c *Container) stopped() bool { return c.State == "exited" || c.State == "dead" }

// done are containers that do nothing and never will: those that have stopped, and those that were created for a task that is over. The engine
// leaves one that it could not start as it leaves one that nobody has started yet, so only the ECS agent can tell.
func (u *uses) done(c *Container) bool {
	return c.stopped() || c.State == "created" && u.ended[c.Labels[labelTask]]
}

// JudgeContainer is the law for containers, which are removed only under pressure. What it cannot know from the listing (restart policy,
// since when it is stopped, whether its log is delivered) is looked at before the removal: see Final.
func (p *Policy) JudgeContainer(w *World, m *Memory, c *Container) (Action, string) {
	return p.judgeContainer(w, c, usesOf(w, m))
}

func (p *Policy) judgeContainer(w *World, c *Container, u uses) (Action, string) {
	if !u.done(c) {
		return Keep, "it is " + c.State
	}
	if value, ok := c.Labels[labelProtect]; (ok && value != "false") || matches(p.Protect, c.Name, c.Image, c.ImageID) {
		return Keep, "protected"
	}
	for label := range c.Labels {
		for _, owner := range []string{"com.docker.compose.", "com.docker.stack.", "com.docker.swarm."} {
			if strings.HasPrefix(label, owner) {
				return Keep, "it belongs to " + strings.TrimSuffix(strings.TrimPrefix(owner, "com.docker."), ".")
			}
		}
	}
	if c.isAgent() {
		return Keep, "it is the ECS agent's"
	}
	for _, name := range c.Volumes {
		if matches(p.Protect, name) {
			return Keep, "its volume " + name + " is protected"
		}
	}
	if why := w.Doubt(); why != "" {
		return Wait, why
	}
	if !c.isECS() {
		return Remove, "stopped"
	}
	// A task may live on though all its containers that are there have ended: those that depend on them are yet to be made.
	switch {
	case u.silent:
		return Wait, "the ECS agent does not answer: its task may go on"
	case c.Labels[labelTask] == "":
		return Keep, "it does not say which task it is of"
	}
	if u.living[c.Labels[labelTask]] {
		return Keep, "its task is not over"
	}
	return Remove, "its task is over"
}

// Final is what is looked at right before a container is removed.
type Final struct {
	RestartPolicy string
	Finished      time.Time
	Delivered     bool // all of its log was acknowledged, or its log is not ours to deliver
	Why           string
}

// JudgeFinal is the rest of the law for containers. failed: of a family that fails again and again, whose containers may go sooner.
func (p *Policy) JudgeFinal(now time.Time, f *Final, failed bool) (Action, string) {
	age := p.StoppedContainers
	if failed {
		age = min(age, FailedAge)
	}
	switch {
	case f.RestartPolicy != "" && f.RestartPolicy != "no":
		return Keep, "its restart policy is " + f.RestartPolicy
	case f.Finished.Year() <= 1:
		return Keep, "it never ran"
	case now.Sub(f.Finished) < age:
		return Wait, fmt.Sprintf("stopped for %s of %s", round(now.Sub(f.Finished)), round(age))
	case !f.Delivered:
		return Wait, "its log is not delivered: " + f.Why
	}
	return Remove, "stopped " + round(now.Sub(f.Finished)) + " ago"
}

func (c *Container) isAgent() bool { return isAgent(c.Image) || c.Name == "ecs-agent" }

// isAgent knows the images that ECS itself needs.
func isAgent(reference string) bool {
	name := reference[strings.LastIndexByte(reference, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	name, _, _ = strings.Cut(name, "@")
	switch name {
	case "amazon-ecs-agent", "amazon-ecs-pause", "amazon-ecs-service-connect-agent", "ecs-service-connect-agent", "aws-appmesh-envoy":
		return true
	}
	return false
}

// JudgeImage is the law for images, which are removed only under pressure: no container in any state is made of it, it was seen unused for
// the grace, and it can be had again (from a registry) or nobody can ask for it any more (it has no tag). m must have seen w.
func (p *Policy) JudgeImage(w *World, m *Memory, i *Image) (Action, string) {
	return p.judgeImage(w, m, i, usesOf(w, m))
}

func (p *Policy) judgeImage(w *World, m *Memory, i *Image, u uses) (Action, string) {
	if u.images[i.ID] {
		return Keep, "a container is made of it"
	}
	if matches(p.Protect, append([]string{i.ID}, i.Tags...)...) {
		return Keep, "protected by cleanup.protect"
	}
	for _, name := range append(append([]string(nil), i.Tags...), i.Digests...) {
		if isAgent(name) {
			return Keep, "ECS itself needs it"
		}
	}
	if value, ok := i.Labels[labelProtect]; ok && value != "false" {
		return Keep, "protected by its label"
	}
	if len(i.Tags) > 0 {
		if !p.Images {
			return Keep, "cleanup.images is false"
		}
		if len(i.Digests) == 0 {
			return Keep, "it came from no registry: it could not be had again"
		}
	}
	if why := w.Doubt(); why != "" {
		return Wait, why
	}
	if u.silent {
		return Wait, "the ECS agent does not answer: a task may be starting"
	}
	for n := range u.starting {
		// One that fails for ever is always starting; its image is held by its containers that are kept.
		if t := &u.starting[n]; t.task && !slices.ContainsFunc(u.failing, func(f family) bool { return f.Name == t.family }) {
			return Wait, t.why
		}
	}
	s := m.Images[i.ID]
	if s.Looks < 2 || s.Age < p.Pressure.ImageGrace {
		return Wait, fmt.Sprintf("seen unused for %s of %s", round(s.Age), round(p.Pressure.ImageGrace))
	}
	if len(i.Tags) == 0 {
		return Remove, "without a tag, and unused for " + round(s.Age)
	}
	return Remove, "unused for " + round(s.Age) + ", a registry has it"
}

func round(d time.Duration) string {
	switch {
	case d >= 10*time.Minute:
		d = d.Round(time.Minute)
	case d >= 10*time.Second:
		d = d.Round(time.Second)
	default:
		d = d.Round(10 * time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Plain says whether a volume is one that a container of a failing family may take with it: an anonymous one of the local driver that
// nothing else is known of. Who refers to it is for the caller to look at.
func (p *Policy) Plain(w *World, v *Volume) bool {
	c, _ := p.classify(w, &Memory{}, v)
	return c == classAnonymous
}
