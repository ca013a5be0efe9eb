package plan

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/glob"
)

// host is a made-up host that goes on by chance. It knows what the plan cannot: for how long each volume was really seen unused. The law is
// written down here a second time, from the other side, and every plan is held against it.
type host struct {
	*rand.Rand
	t      *testing.T
	policy Policy

	wall time.Time
	boot int
	up   time.Duration

	volumes    []*hostVolume
	containers []Container
	images     []*hostImage
	tasks      []Task
	ecs        ECS // without tasks

	engineUp time.Duration
	warnings bool
	silent   bool
	disks    []Disk
	seed     uint64
	failed   map[string]bool // families that failed again and again
	removed  int
}

// hostVolume is a volume with its history.
type hostVolume struct {
	Volume
	created time.Time
	streak  []look // looks at which it was listed, without a break
	shared  bool   // a look has shown a task of ECS use it under its plain name
}

type hostImage struct {
	Image
	streak []look
}

type look struct {
	boot int
	up   time.Duration
}

// seenFor is for how long the looks prove that nothing changed: from the first to the last, without the time between two boots.
func seenFor(streak []look) (d time.Duration) {
	for i := 1; i < len(streak); i++ {
		if streak[i].boot == streak[i-1].boot {
			d += streak[i].up - streak[i-1].up
		}
	}
	return d
}

func pattern(text string) glob.Pattern {
	p, err := glob.Compile(text)
	if err != nil {
		panic(err)
	}
	return p
}

func newHost(t *testing.T, seed uint64) *host {
	h := &host{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, seed: seed, failed: map[string]bool{}, wall: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC), engineUp: time.Hour}
	h.policy = Policy{
		Interval: 10 * time.Minute, High: 0.8, Low: 0.7,
		VolumeGrace: []time.Duration{time.Minute, time.Hour, 3 * time.Hour}[h.IntN(3)], StoppedContainers: 15 * time.Minute, Images: h.IntN(3) > 0,
		Pressure: Pressure{VolumeGrace: 20 * time.Minute, ImageGrace: time.Hour, KeepFailed: 3, Most: 1 + h.IntN(20), Steps: Steps},
	}
	if h.IntN(2) == 0 {
		h.policy.NamedVolumes = []glob.Pattern{pattern("tmp-*"), pattern("cache?")}
	}
	if h.IntN(2) == 0 {
		h.policy.Protect = []glob.Pattern{pattern("*keep*"), pattern(hexName(3))}
	}
	h.ecs.Present = h.IntN(3) > 0
	h.ecs.Answers = true
	h.disks = []Disk{{Mount: "/", Roles: []string{RoleRoot, RoleDocker, RoleLogs}, Bytes: 1000, FreeBytes: 500, UntilFull: Never}}
	for range 1 + h.IntN(6) {
		h.addVolume()
	}
	for range h.IntN(4) {
		h.addImage()
	}
	return h
}

func hexName(n int) string { return fmt.Sprintf("%064x", n) }

var families4test = []string{"web", "web-2-prod", "job"}

func (h *host) addVolume() *hostVolume {
	v := &hostVolume{created: h.wall}
	v.Driver, v.Scope = "local", "local"
	switch n := h.IntN(1000); h.IntN(8) {
	case 0, 1, 2:
		v.Name = hexName(n % 40)
	case 3, 4:
		v.Name = fmt.Sprintf("ecs-%s-%d-data-%018x0%d", families4test[h.IntN(3)], 1+h.IntN(3), n, h.IntN(2))
	case 5:
		v.Name = fmt.Sprintf("tmp-%d", n%10)
	case 6:
		v.Name = []string{"pgdata", "cache1", "keep-me", "tmp-keep"}[n%4]
	case 7:
		v.Name = strings.ToUpper(hexName(n))[:63] + "G" // looks like one and is none
	}
	if h.has(v.Name) != nil {
		return nil
	}
	switch h.IntN(12) {
	case 0:
		v.Driver = "rexray"
	case 1:
		v.Options = map[string]string{"type": "nfs"}
	case 2:
		v.Labels = map[string]string{"com.docker.compose.project": "x"}
	case 3:
		v.Labels = map[string]string{labelAnonymous: ""}
	case 4:
		v.Labels = map[string]string{}
	case 5:
		v.Scope = "global"
	}
	v.Mountpoint = "/var/lib/docker/volumes/" + v.Name + "/_data"
	h.volumes = append(h.volumes, v)
	return v
}

func (h *host) addImage() {
	n := h.IntN(1000)
	i := &hostImage{Image: Image{ID: fmt.Sprintf("sha256:%064x", n), Created: h.wall}}
	if slices.ContainsFunc(h.images, func(o *hostImage) bool { return o.ID == i.ID }) {
		return
	}
	switch h.IntN(5) {
	case 0: // dangling
	case 1:
		i.Tags = []string{"local:1"}
	case 2:
		i.Tags, i.Digests = []string{"amazon/amazon-ecs-pause:0.1.0"}, []string{"amazon/amazon-ecs-pause@sha256:1"}
	default:
		i.Tags, i.Digests = []string{fmt.Sprintf("registry/app:%d", n)}, []string{"registry/app@sha256:2"}
	}
	h.images = append(h.images, i)
}

func (h *host) has(name string) *hostVolume {
	for _, v := range h.volumes {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// refers says whether the engine knows of a container that uses the volume.
func (h *host) refers(name string) bool {
	return slices.ContainsFunc(h.containers, func(c Container) bool { return slices.Contains(c.Volumes, name) })
}

func (h *host) used(name string) bool {
	return h.refers(name) || slices.ContainsFunc(h.containers, func(c Container) bool {
		return slices.Contains(c.Binds, "/var/lib/docker/volumes/"+name+"/_data") || slices.Contains(c.Binds, "/data/volumes/volumes/"+name)
	})
}

func (h *host) pass(d time.Duration) {
	h.wall, h.up, h.engineUp = h.wall.Add(d), h.up+d, h.engineUp+d
}

// happen is one thing that happens on the host.
func (h *host) happen() {
	switch h.IntN(18) {
	case 0, 1, 2:
		h.pass(time.Duration(h.Int64N(int64(3 * time.Hour))))
	case 3:
		h.pass(time.Duration(h.Int64N(int64(time.Minute))))
	case 4:
		h.addVolume()
	case 5, 6:
		h.start()
	case 7, 8:
		if len(h.containers) > 0 {
			c := &h.containers[h.IntN(len(h.containers))]
			c.State, c.Exit = []string{"exited", "dead", "running", "created"}[h.IntN(4)], h.IntN(3)
		}
	case 9:
		if len(h.containers) > 0 {
			i := h.IntN(len(h.containers))
			h.containers = slices.Delete(h.containers, i, i+1)
		}
	case 10: // used without us seeing it: its folder changes
		if len(h.volumes) > 0 {
			v := h.volumes[h.IntN(len(h.volumes))]
			if v.created.Before(h.wall.Truncate(time.Second)) {
				v.created, v.streak = h.wall, nil
			}
		}
	case 11:
		h.wall = h.wall.Add(time.Duration(h.Int64N(int64(96*time.Hour))) - 48*time.Hour)
	case 12:
		h.boot, h.up, h.engineUp = h.boot+1, 0, time.Duration(h.Int64N(int64(5*time.Minute)))
		h.wall = h.wall.Add(time.Duration(h.Int64N(int64(9 * time.Hour))))
	case 13:
		h.engineUp = time.Duration(h.Int64N(int64(4 * time.Minute)))
	case 14:
		h.warnings, h.silent, h.ecs.Answers = h.IntN(3) == 0, h.IntN(4) == 0, h.IntN(3) > 0
	case 15:
		d := &h.disks[0]
		d.FreeBytes, d.UntilFull = h.Int64N(1000), Never
		if h.IntN(3) == 0 {
			d.UntilFull = time.Duration(h.Int64N(int64(time.Hour)))
		}
	case 17: // a service fails a few times, or cannot even be started
		created := h.IntN(2) == 0
		for range 1 + h.IntN(6) {
			c := Container{ID: fmt.Sprintf("%064x", h.Uint64()), Name: "f", Image: "registry/app:1", State: "exited", Exit: 1, Created: h.wall,
				Labels: map[string]string{labelTask: fmt.Sprintf("arn-f%d", h.IntN(1000)), labelFamily: "job", labelRevision: "1"}}
			if created {
				c.State, c.Exit = "created", 0
				h.tasks = append(h.tasks, Task{ARN: c.Labels[labelTask], Family: "job", Revision: "1", Known: "STOPPED"})
			}
			if v := h.addVolume(); v != nil {
				c.Volumes = []string{v.Name}
			}
			h.containers = append(h.containers, c)
			h.pass(30 * time.Second)
		}
	case 16: // tasks come and go
		h.tasks = nil
		for range h.IntN(3) {
			h.tasks = append(h.tasks, Task{ARN: fmt.Sprintf("arn-%d", h.IntN(8)), Family: families4test[h.IntN(3)], Revision: fmt.Sprint(1 + h.IntN(3)),
				Known: []string{"PENDING", "RUNNING", "STOPPED"}[h.IntN(3)]})
		}
	}
}

// start makes a container, with volumes that are there or new ones.
func (h *host) start() {
	c := Container{ID: fmt.Sprintf("%064x", h.Uint64()), Name: "c", Image: "registry/app:1", State: []string{"created", "running", "exited"}[h.IntN(3)], Created: h.wall}
	if len(h.images) > 0 {
		i := h.images[h.IntN(len(h.images))]
		c.ImageID = i.ID
	}
	if h.IntN(3) > 0 {
		c.Labels = map[string]string{labelTask: fmt.Sprintf("arn-%d", h.IntN(8)), labelFamily: families4test[h.IntN(3)], labelRevision: fmt.Sprint(1 + h.IntN(3))}
		c.Exit = h.IntN(3)
	}
	if h.IntN(2) == 0 {
		if v := h.addVolume(); v != nil {
			c.Volumes = append(c.Volumes, v.Name)
		}
	}
	if len(h.volumes) > 0 && h.IntN(2) == 0 {
		c.Volumes = append(c.Volumes, h.volumes[h.IntN(len(h.volumes))].Name)
	}
	if len(h.volumes) > 0 && h.IntN(8) == 0 {
		name := h.volumes[h.IntN(len(h.volumes))].Name
		c.Binds = []string{"/srv", []string{"/var/lib/docker/volumes/" + name + "/_data", "/data/volumes/volumes/" + name}[h.IntN(2)]}
	}
	h.containers = append(h.containers, c)
}

// world is what a look shows, and notes what it proves.
func (h *host) world() *World {
	now := Clock{Wall: h.wall, Boot: fmt.Sprint("boot", h.boot), Up: h.up}
	w := &World{Began: now, Now: now, ECS: h.ecs, Disks: h.disks, Containers: slices.Clone(h.containers)}
	w.Engine = Engine{Root: "/var/lib/docker", Up: h.engineUp}
	if h.warnings {
		w.Engine.Warnings = []string{"a plugin does not answer"}
	}
	if h.silent {
		w.Engine.Down = "timeout"
	}
	if h.ecs.Present && h.ecs.Answers {
		w.ECS.Tasks = slices.Clone(h.tasks)
	}
	trusted := !h.warnings && !h.silent && h.engineUp >= Settle
	for _, v := range h.volumes {
		v.CreatedAt = v.created.UTC().Format(time.RFC3339)
		used := h.used(v.Name)
		// The listing comes before the one of the containers: it may show as unused what is used in the second.
		if !h.refers(v.Name) || h.IntN(8) == 0 {
			w.Volumes = append(w.Volumes, v.Volume)
		}
		switch {
		case used:
			v.streak = nil
		case trusted:
			v.streak = append(v.streak, look{h.boot, h.up})
		}
	}
	for i := range h.containers {
		c := &h.containers[i]
		for _, name := range c.Volumes {
			if v := h.has(name); v != nil && c.isECS() {
				v.shared = v.shared || !Anonymous(name) && !strings.HasPrefix(name, "ecs-")
			}
		}
	}
	for _, i := range h.images {
		w.Images = append(w.Images, i.Image)
		switch {
		case slices.ContainsFunc(h.containers, func(c Container) bool { return c.ImageID == i.ID }):
			i.streak = nil
		case trusted:
			i.streak = append(i.streak, look{h.boot, h.up})
		}
	}
	return w
}

func (h *host) breach(item *Item, format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("host %d: %s %s (%s, step %q): %s", h.seed, item.Kind, item.ID, item.Reason, item.Step, fmt.Sprintf(format, args...))
}

// check holds a plan against the law.
func (h *host) check(w *World, plan *Plan) {
	tries := map[string]map[string]bool{} // tasks that failed, of each family
	for i := range h.containers {
		if c := &h.containers[i]; (c.Exit != 0 || h.neverStarts(c)) && c.Labels[labelFamily] != "" {
			family := c.Labels[labelFamily]
			if tries[family] == nil {
				tries[family] = map[string]bool{}
			}
			if tries[family][c.Labels[labelTask]] = true; len(tries[family]) >= 4 {
				h.failed[family] = true
			}
		}
	}
	counts := map[Step]int{}
	for _, item := range plan.Removals() {
		counts[item.Step]++
		if h.warnings || h.silent || h.engineUp < 2*time.Minute {
			if item.Kind == KindVolume || item.Kind == KindContainer || item.Kind == KindImage || item.Kind == KindBuildCache {
				h.breach(item, "the listing is not to be trusted")
			}
		}
		h.checkPressure(item)
		switch item.Kind {
		case KindVolume:
			h.checkVolume(item)
		case KindContainer:
			h.checkContainer(item)
		case KindImage:
			h.checkImage(item)
		}
	}
	for step, n := range counts {
		if n > h.policy.Pressure.Most {
			h.t.Fatalf("step %q removes %d, more than %d", step, n, h.policy.Pressure.Most)
		}
	}
}

func (h *host) checkPressure(item *Item) {
	d := &h.disks[0]
	high := float64(d.Bytes-d.FreeBytes)/float64(d.Bytes) >= h.policy.High
	early := d.UntilFull < 2*h.policy.Interval
	switch {
	case item.Step == "" && item.Kind == KindVolume && !strings.Contains(item.ID, "-"): // an anonymous one
	case high:
	case early && (item.Kind == KindLog || item.Kind == KindBuildCache || item.Kind == KindImage && len(item.Image.Tags) > 0):
	default:
		h.breach(item, "below the high mark (early: %v)", early)
	}
}

func (h *host) checkVolume(item *Item) {
	v := h.has(item.ID)
	named := func(patterns []glob.Pattern) bool {
		return slices.ContainsFunc(patterns, func(p glob.Pattern) bool { return p.Match(v.Name) })
	}
	if v == nil {
		h.breach(item, "there is no such volume")
	}
	for label := range v.Labels {
		if label != "com.docker.volume.anonymous" {
			h.breach(item, "foreign label %s", label)
		}
	}
	switch {
	case h.used(v.Name):
		h.breach(item, "a container refers to it")
	case v.Driver != "local" || len(v.Options) > 0 || v.Scope != "local":
		h.breach(item, "driver %s, options %v, scope %s", v.Driver, v.Options, v.Scope)
	case named(h.policy.Protect):
		h.breach(item, "protected")
	}
	isHex := len(v.Name) == 64 && strings.Trim(v.Name, "0123456789abcdef") == ""
	isECS := strings.HasPrefix(v.Name, "ecs-")
	grace := h.policy.VolumeGrace
	switch {
	case isHex:
		if item.Step == StepVolumes {
			grace = min(grace, h.policy.Pressure.VolumeGrace)
		}
	case isECS:
		grace = max(grace, 2*time.Hour+10*time.Minute)
		h.checkTaskVolume(item, v)
	case !named(h.policy.NamedVolumes):
		h.breach(item, "named, and not asked for")
	case v.shared:
		h.breach(item, "ECS tasks share it")
	}
	if len(v.streak) < 2 || seenFor(v.streak) < grace {
		h.breach(item, "seen unused for %s at %d looks, grace %s", seenFor(v.streak), len(v.streak), grace)
	}
	if age := h.wall.Sub(v.created.Truncate(time.Second)); age < grace {
		h.breach(item, "created %s ago", age)
	}
}

func (h *host) checkTaskVolume(item *Item, v *hostVolume) {
	if h.ecs.Present && !h.ecs.Answers {
		h.breach(item, "the agent is silent")
	}
	of := func(family, revision string) bool {
		return strings.HasPrefix(v.Name, fmt.Sprintf("ecs-%s-%s-", family, revision))
	}
	if h.ecs.Present {
		for _, t := range h.tasks {
			if t.Known == "PENDING" && of(t.Family, t.Revision) {
				h.breach(item, "task %v is starting", t)
			}
		}
	}
	for i := range h.containers {
		if c := &h.containers[i]; c.State == "created" && !h.neverStarts(c) && c.Labels[labelFamily] != "" && of(c.Labels[labelFamily], c.Labels[labelRevision]) {
			h.breach(item, "container %v is starting", c)
		}
	}
}

func (h *host) checkContainer(item *Item) {
	i := slices.IndexFunc(h.containers, func(c Container) bool { return c.ID == item.ID })
	if i < 0 {
		h.breach(item, "there is no such container")
	}
	c := &h.containers[i]
	arn := c.Labels[labelTask]
	switch {
	case c.State != "exited" && c.State != "dead" && !h.neverStarts(c):
		h.breach(item, "it is %s", c.State)
	case arn == "" && item.WithVolumes:
		h.breach(item, "its volumes are to have their own grace")
	case arn != "" && h.ecs.Present && !h.ecs.Answers:
		h.breach(item, "the agent is silent")
	}
	if arn == "" {
		return
	}
	failed, newer := 0, map[string]bool{}
	for n := range h.containers {
		o := &h.containers[n]
		if o.Labels[labelTask] == arn && o.State != "exited" && o.State != "dead" && !h.neverStarts(o) {
			h.breach(item, "container %s of its task is %s", o.ID, o.State)
		}
		if o.Labels[labelFamily] == c.Labels[labelFamily] {
			if o.Exit != 0 || h.neverStarts(o) {
				failed++
			}
			if o.Labels[labelTask] != arn && !o.Created.Before(c.Created) {
				newer[o.Labels[labelTask]] = true
			}
		}
	}
	if h.ecs.Present {
		for _, t := range h.tasks {
			if t.ARN == arn && t.Known != "STOPPED" {
				h.breach(item, "its task is %s", t.Known)
			}
		}
	}
	// What failed again and again stays a failing family while anything is left of it.
	if item.WithVolumes {
		if failed == 0 || !h.failed[item.Family] {
			h.breach(item, "taken for a family that fails, with %d failures left", failed)
		}
		if len(newer) < h.policy.Pressure.KeepFailed {
			h.breach(item, "only %d newer tasks of its family are kept", len(newer))
		}
	}
}

// neverStarts are containers that were created for a task of which the agent says that it is over.
func (h *host) neverStarts(c *Container) bool {
	return c.State == "created" && h.ecs.Present && h.ecs.Answers &&
		slices.ContainsFunc(h.tasks, func(t Task) bool { return t.ARN == c.Labels[labelTask] && t.Known == "STOPPED" })
}

func (h *host) checkImage(item *Item) {
	i := h.images[slices.IndexFunc(h.images, func(i *hostImage) bool { return i.ID == item.ID })]
	if slices.ContainsFunc(h.containers, func(c Container) bool { return c.ImageID == i.ID }) {
		h.breach(item, "a container is made of it")
	}
	if len(i.Tags) > 0 && (!h.policy.Images || len(i.Digests) == 0 || strings.Contains(i.Tags[0], "amazon-ecs")) {
		h.breach(item, "tags %v digests %v", i.Tags, i.Digests)
	}
	if len(i.streak) < 2 || seenFor(i.streak) < h.policy.Pressure.ImageGrace {
		h.breach(item, "seen unused for %s", seenFor(i.streak))
	}
}

// play has a host go on for a while, with looks in between, each of which may remove what its plan says.
func (h *host) play() {
	var m Memory
	for range 6 + h.IntN(24) {
		for range h.IntN(4) {
			h.happen()
		}
		w := h.world()
		m = m.See(w)
		plan := h.policy.Make(w, &m)
		h.check(w, plan)
		if h.IntN(2) == 0 {
			for _, item := range plan.Removals() {
				h.remove(item)
			}
		}
	}
}

func (h *host) remove(item *Item) {
	h.removed++
	switch item.Kind {
	case KindVolume:
		h.volumes = slices.DeleteFunc(h.volumes, func(v *hostVolume) bool { return v.Name == item.ID })
	case KindContainer:
		h.containers = slices.DeleteFunc(h.containers, func(c Container) bool { return c.ID == item.ID })
	case KindImage:
		h.images = slices.DeleteFunc(h.images, func(i *hostImage) bool { return i.ID == item.ID })
	}
}

// TestLaw holds the plans of random hosts against the law. FAIRLEAD_SOAK makes it a million hosts, FAIRLEAD_TEST_SEED the one of that number.
func TestLaw(t *testing.T) {
	first, n, removed := 0, 2000, 0
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		n = 1_000_000
	}
	if text := os.Getenv("FAIRLEAD_TEST_SEED"); text != "" {
		var err error
		if first, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		n = 1
	}
	for seed := first; seed < first+n; seed++ {
		h := newHost(t, uint64(seed))
		h.play()
		removed += h.removed
	}
	t.Logf("%d hosts, %d things removed", n, removed)
	if n > 1 && removed < n/4 {
		t.Errorf("only %d things were removed on %d hosts: the test proves little", removed, n)
	}
}
