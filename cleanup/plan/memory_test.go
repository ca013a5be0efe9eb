package plan

import (
	"testing"
	"time"
)

// What must not go, or not soon, is forgotten only by a look that may be trusted: after a month in which the host was off, the first look comes while
// the engine starts.
func TestRememberedAfterAMonth(t *testing.T) {
	then := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	m := Memory{Left: map[string]time.Time{"left": then, "gone": then}, Shared: map[string]time.Time{"shared": then, "gone": then}}
	w := &World{Now: Clock{Wall: then.Add(40 * 24 * time.Hour), Boot: "b", Up: time.Minute}, Engine: Engine{Up: time.Minute}}
	m = m.See(w)
	if len(m.Left) != 2 || len(m.Shared) != 2 {
		t.Errorf("forgotten by a look that is not to be trusted: %+v", m)
	}
	w.Engine.Up, w.Volumes = time.Hour, []Volume{{Name: "left"}, {Name: "shared"}}
	m = m.See(w)
	if _, ok := m.Left["left"]; !ok || len(m.Left) != 1 {
		t.Errorf("left: %v", m.Left)
	}
	if _, ok := m.Shared["shared"]; !ok || len(m.Shared) != 1 {
		t.Errorf("shared: %v", m.Shared)
	}
}
