package plan

import (
	"maps"
	"slices"
	"time"
)

// Memory is what is known from earlier looks. It is written to disk, so its fields have names there.
type Memory struct {
	Volumes map[string]Sighting `json:"volumes"`
	Images  map[string]Sighting `json:"images"` // by id: since when no container has used them
	// Shared are volumes that ECS tasks have used under a plain name: of scope shared, which the agent makes and nobody removes.
	Shared map[string]time.Time `json:"shared"`
	Failed map[string]Failing   `json:"failed,omitempty"` // families that fail again and again
	// Left are volumes of stopped containers that we removed, or were about to.
	Left map[string]time.Time `json:"left,omitempty"`
}

// Sighting says since when something was seen unused at every look.
type Sighting struct {
	First     time.Time     `json:"first"`
	Age       time.Duration `json:"age_ns"`               // from the first look to the last, as far as the host ran
	Looks     int           `json:"looks"`                // how often
	CreatedAt string        `json:"created_at,omitempty"` // another one is another volume, or one that was used meanwhile
	Boot      string        `json:"boot"`                 // of the last look
	Up        time.Duration `json:"up_ns"`
}

// Failing is a family of tasks that fails again and again.
type Failing struct {
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	Exit  int       `json:"exit"`
}

// again adds a look. A slow engine may answer with what was true at any time of the look, so the time between two looks counts from the end
// of one to the beginning of the next.
func (s Sighting) again(w *World) Sighting {
	s.Age += w.Began.Since(Clock{Boot: s.Boot, Up: s.Up})
	s.Looks++
	s.Boot, s.Up = w.Now.Boot, w.Now.Up
	return s
}

// sharedFor is how long the name of a shared volume is remembered that is neither used nor listed any more.
const sharedFor = 30 * 24 * time.Hour

// leftFor is how long it is remembered that a volume was left by a container that we removed, unless it is listed as unused: then it is
// remembered until it goes.
const leftFor = 30 * 24 * time.Hour

// See answers the memory after a look at the world; m stays as it is. Where the listing is not to be trusted nothing is taken for
// unused, and whatever is used is forgotten all the same.
func (m Memory) See(w *World) Memory {
	next := Memory{Volumes: map[string]Sighting{}, Images: map[string]Sighting{}, Shared: maps.Clone(m.Shared), Failed: maps.Clone(m.Failed), Left: maps.Clone(m.Left)}
	if next.Shared == nil {
		next.Shared = map[string]time.Time{}
	}
	if next.Left == nil {
		next.Left = map[string]time.Time{}
	}
	uses := usesOf(w, &m)
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range c.Volumes {
			_, known := m.Shared[name]
			if known || c.isECS() && !Anonymous(name) && !taskVolume(name) {
				next.Shared[name] = w.Now.Wall
			}
		}
	}
	if w.Doubt() != "" {
		for name, s := range m.Volumes {
			if !uses.volumes[name] {
				next.Volumes[name] = s
			}
		}
		for id, s := range m.Images {
			if !uses.images[id] {
				next.Images[id] = s
			}
		}
		return next
	}
	for i := range w.Volumes {
		v := &w.Volumes[i]
		if _, ok := next.Shared[v.Name]; ok {
			next.Shared[v.Name] = w.Now.Wall
		}
		if _, ok := next.Left[v.Name]; ok {
			next.Left[v.Name] = w.Now.Wall
		}
		if uses.volumes[v.Name] {
			continue
		}
		s, ok := m.Volumes[v.Name]
		if !ok || s.CreatedAt != v.CreatedAt {
			s = Sighting{First: w.Now.Wall, CreatedAt: v.CreatedAt, Boot: w.Now.Boot, Up: w.Now.Up}
		}
		next.Volumes[v.Name] = s.again(w)
	}
	for i := range w.Images {
		id := w.Images[i].ID
		if uses.images[id] {
			continue
		}
		s, ok := m.Images[id]
		if !ok {
			s = Sighting{First: w.Now.Wall, Boot: w.Now.Boot, Up: w.Now.Up}
		}
		next.Images[id] = s.again(w)
	}
	for name, last := range next.Shared {
		if w.Now.Wall.Sub(last) > sharedFor {
			delete(next.Shared, name)
		}
	}
	for name, last := range next.Left {
		if w.Now.Wall.Sub(last) > leftFor {
			delete(next.Left, name)
		}
	}
	next.Failed = map[string]Failing{}
	for _, f := range uses.failing {
		was, ok := m.Failed[f.Name]
		if !ok {
			was.Since = f.First
		}
		next.Failed[f.Name] = Failing{Since: was.Since, Last: f.Last, Exit: f.Exit}
	}
	return next
}

// Forget drops what is known of volumes that were used since the last look, as the engine's events tell.
func (m Memory) Forget(volumes []string) {
	for _, name := range volumes {
		delete(m.Volumes, name)
	}
}

// Leave notes volumes as left by a stopped container; it says whether any of them was not noted yet.
func (m *Memory) Leave(now time.Time, volumes []string) (news bool) {
	for _, name := range volumes {
		if _, ok := m.Left[name]; !ok {
			m.Left[name], news = now, true
		}
	}
	return news
}

// uses is what containers and tasks refer to, found once for all that is judged.
type uses struct {
	volumes  map[string]bool
	images   map[string]bool
	starting []start
	failing  []family
	living   map[string]bool // tasks that are not over, by what containers and the agent say
	ended    map[string]bool // tasks that are over, as the agent says
	silent   bool            // there is an ECS agent, and it does not answer
}

// start is a task or a container that may be about to ask for volumes of its task definition.
type start struct {
	prefix string // of the names of the volumes
	family string
	why    string
	task   bool
}

func usesOf(w *World, m *Memory) uses {
	u := uses{volumes: map[string]bool{}, images: map[string]bool{}, living: map[string]bool{}, ended: map[string]bool{}}
	for i := range w.ECS.Tasks {
		if t := &w.ECS.Tasks[i]; !t.alive() {
			u.ended[t.ARN] = true
		}
	}
	// What it has made shows an agent also where its state is not found.
	u.silent = !w.ECS.Answers && (w.ECS.Present || slices.ContainsFunc(w.Containers, func(c Container) bool { return c.isECS() || c.isAgent() }))
	u.failing = u.families(w, m.Failed)
	for i := range w.Containers {
		c := &w.Containers[i]
		for _, name := range c.Uses() {
			u.volumes[name] = true
		}
		u.images[c.ImageID] = true
		if !u.done(c) {
			u.living[c.Labels[labelTask]] = true
		}
		if family := c.Labels[labelFamily]; family != "" && (c.State == "created" || c.State == "restarting") && !u.done(c) {
			u.starting = append(u.starting, start{taskPrefix(family, c.Labels[labelRevision]), family, "container " + c.Name + " of its task definition is starting", false})
		}
	}
	for i := range w.ECS.Tasks {
		t := &w.ECS.Tasks[i]
		if t.alive() {
			u.living[t.ARN] = true
		}
		if t.starting() {
			u.starting = append(u.starting, start{taskPrefix(t.Family, t.Revision), t.Family, "a task of " + t.Family + ":" + t.Revision + " is starting", true})
		}
	}
	return u
}

// Doubt says why nothing may be concluded from what the engine lists; "" if it may.
func (w *World) Doubt() string {
	switch {
	case w.Engine.Down != "":
		return "the engine does not answer: " + w.Engine.Down
	case len(w.Engine.Warnings) > 0:
		return "the engine is not sure of its volumes: " + w.Engine.Warnings[0]
	case w.Engine.Up < Settle:
		return "the engine has just started, or it is not known for how long it runs"
	}
	return ""
}
