package plan

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// large is a host with 10,000 volumes and 2,000 containers.
func large() (*World, Policy) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	w := &World{Now: Clock{Wall: now, Boot: "b", Up: 9 * time.Hour}, Engine: Engine{Root: "/var/lib/docker", Up: time.Hour},
		Disks: []Disk{{Mount: "/", Roles: []string{RoleRoot, RoleDocker, RoleLogs}, Bytes: 100, FreeBytes: 5, UntilFull: Never}}}
	for i := range 10000 {
		name := fmt.Sprintf("%064x", i)
		if i%3 == 0 {
			name = fmt.Sprintf("ecs-web-%d-data-%018x00", i%7, i)
		}
		w.Volumes = append(w.Volumes, Volume{Name: name, Driver: "local", Scope: "local", Mountpoint: "/var/lib/docker/volumes/" + name + "/_data",
			CreatedAt: now.Add(-8 * time.Hour).Format(time.RFC3339)})
	}
	for i := range 2000 {
		w.Containers = append(w.Containers, Container{ID: fmt.Sprintf("%064x", i), State: []string{"running", "exited"}[i%2], Exit: 1, Created: now.Add(-time.Duration(i) * time.Second),
			Labels:  map[string]string{labelTask: fmt.Sprint("arn", i), labelFamily: fmt.Sprint("f", i%40), labelRevision: "1"},
			Volumes: []string{fmt.Sprintf("%064x", 20000+i)}})
	}
	p := Policy{Interval: 10 * time.Minute, High: 0.8, Low: 0.7, VolumeGrace: 3 * time.Hour, StoppedContainers: 15 * time.Minute, Images: true,
		Pressure: Pressure{VolumeGrace: 20 * time.Minute, ImageGrace: time.Hour, KeepFailed: 3, Most: 1000, Steps: Steps}}
	return w, p
}

// BenchmarkPlan is a look and a plan; the goal is 200 ms and 64 MiB.
func BenchmarkPlan(b *testing.B) {
	w, p := large()
	m := Memory{}.See(w)
	w.Now.Up += 4 * time.Hour
	w.Began = w.Now
	w.Now.Wall = w.Now.Wall.Add(4 * time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		seen := m.See(w)
		plan := p.Make(w, &seen)
		if len(plan.Removals()) == 0 {
			b.Fatal("nothing to remove")
		}
		runtime.KeepAlive(plan)
	}
}
