package health

import (
	"context"
	"time"
)

var groupLabels = []string{"family", "container"}

var (
	groupRestarts  = counter("fairlead_docker_restarts_total", "Starts of containers that had ended before, by ECS family and container.", groupLabels...)
	groupExits     = counter("fairlead_docker_exits_total", "Ends of containers by exit code, by ECS family and container.", "family", "container", "code")
	groupFailures  = counter("fairlead_docker_failures_total", "Ends of containers that nobody had told to stop, with an exit code other than 0.", groupLabels...)
	groupOOM       = counter("fairlead_docker_oom_kills_total", "Times the kernel killed in a container for want of memory, as the engine heard.", groupLabels...)
	groupCPU       = counter("fairlead_docker_container_cpu_seconds_total", "Processor time of containers that fairlead has seen run.", groupLabels...)
	groupThrottled = counter("fairlead_docker_container_cpu_throttled_seconds_total", "Time in which containers waited because their share of the processor was used up.", groupLabels...)
	groupMemory    = gauge("fairlead_docker_container_memory_bytes", "Memory of running containers, without the cache that the kernel would give up first.", groupLabels...)
	groupLimit     = gauge("fairlead_docker_container_memory_limit_bytes", "Memory limits of running containers, or of their ECS tasks where those are tighter; 0: none.", groupLabels...)
	groupFullest   = gauge("fairlead_docker_container_memory_used_ratio", "The part of its memory limit that the container nearest to it uses; 0: none has a limit.", groupLabels...)
	groupReceived  = counter("fairlead_docker_container_network_receive_bytes_total", "Bytes received on interfaces that are the containers' own.", groupLabels...)
	groupSent      = counter("fairlead_docker_container_network_transmit_bytes_total", "Bytes sent on interfaces that are the containers' own.", groupLabels...)
	groupRead      = counter("fairlead_docker_container_block_read_bytes_total", "Bytes read from block devices by containers.", groupLabels...)
	groupWritten   = counter("fairlead_docker_container_block_written_bytes_total", "Bytes written to block devices by containers.", groupLabels...)
)

// measure reads the cgroups of all running containers, and adds up what is new. A container that has just ended is no error: what it used
// since the last look is lost to the sums, which is less than a scrape's worth.
func (d *Docker) measure(ctx context.Context, now time.Time) {
	d.mu.Lock()
	pids := map[string]int{}
	for id, w := range d.containers {
		if w.pid > 0 {
			pids[id] = w.pid
		}
	}
	d.mu.Unlock()
	readings := map[string]usage{}
	for id, pid := range pids {
		if ctx.Err() != nil {
			break // the others next time
		}
		if u, err := d.host.container(pid); err == nil {
			readings[id] = u
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.groups {
		t.memoryBytes, t.limitBytes, t.fullest = 0, 0, 0
	}
	for id, w := range d.containers {
		u, read := readings[id]
		if !read || w.pid != pids[id] {
			if w.pid == 0 {
				w.cpu, w.usage.memoryBytes = 0, 0
			}
			continue
		}
		t, before := d.groups[w.group], w.usage
		if !w.seen {
			before = usage{} // its first reading, or that of another start of it
		}
		for _, c := range []struct{ total, now, before *float64 }{
			{&t.cpuSeconds, &u.cpuSeconds, &before.cpuSeconds}, {&t.throttledSeconds, &u.throttledSeconds, &before.throttledSeconds},
			{&t.receivedBytes, &u.receivedBytes, &before.receivedBytes}, {&t.sentBytes, &u.sentBytes, &before.sentBytes},
			{&t.readBytes, &u.readBytes, &before.readBytes}, {&t.writtenBytes, &u.writtenBytes, &before.writtenBytes},
		} {
			*c.total += max(0, *c.now-*c.before)
		}
		if past := now.Sub(w.at).Seconds(); w.seen && past > 0 {
			w.cpu = max(0, u.cpuSeconds-before.cpuSeconds) / past
		}
		w.usage, w.at, w.seen = u, now, true
		t.memoryBytes += u.memoryBytes
		t.limitBytes += u.limitBytes
		if u.limitBytes > 0 {
			t.fullest = max(t.fullest, u.memoryBytes/u.limitBytes)
		}
	}
}

// engine shows what the last probe found.
func (d *Docker) engine(_ context.Context, s *sink) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.flag(dockerUp, d.state.Up)
	s.flag(dockerPresent, !d.state.Missing)
	for call, n := range d.failures {
		s.add(dockerFailures, n, call)
	}
	byState := map[string]float64{"created": 0, "running": 0, "paused": 0, "restarting": 0, "removing": 0, "exited": 0, "dead": 0}
	for _, w := range d.containers {
		if _, known := byState[w.state]; known {
			byState[w.state]++
		}
	}
	for state, n := range byState {
		s.add(dockerContainers, n, state)
	}
	for _, state := range []string{"used", "dangling"} {
		s.add(dockerVolumes, float64(d.state.Volumes[state]), state)
	}
	for _, state := range []string{"used", "unused"} {
		s.add(dockerImages, float64(d.state.Images[state]), state)
	}
	s.add(dockerGoroutines, d.goroutines)
	s.add(dockerMemory, d.memory)
	if i := d.info; i != nil {
		s.add(dockerInfo, 1, i["version"], i["storage_driver"], i["cgroup_driver"], i["cgroup_version"])
	}
	if d.pool.found {
		s.add(thinFree, d.pool.dataFree, "data")
		s.add(thinFree, d.pool.metaFree, "metadata")
		s.add(thinSize, d.pool.dataSize, "data")
		s.add(thinSize, d.pool.metaSize, "metadata")
	}
	return nil
}

// usage shows what the containers use.
func (d *Docker) usage(ctx context.Context, s *sink) error {
	d.measure(ctx, time.Now())
	d.mu.Lock()
	defer d.mu.Unlock()
	for g, t := range d.groups {
		for _, code := range exitCodes {
			s.add(groupExits, t.exits[code], g.family, g.container, code)
		}
		for _, v := range []struct {
			metric *metric
			value  float64
		}{
			{groupRestarts, t.restarts}, {groupFailures, t.failures}, {groupOOM, t.oomKills}, {groupCPU, t.cpuSeconds}, {groupThrottled, t.throttledSeconds},
			{groupMemory, t.memoryBytes}, {groupLimit, t.limitBytes}, {groupFullest, t.fullest}, {groupReceived, t.receivedBytes},
			{groupSent, t.sentBytes}, {groupRead, t.readBytes}, {groupWritten, t.writtenBytes},
		} {
			s.add(v.metric, v.value, g.family, g.container)
		}
	}
	return ctx.Err()
}

// sources are those of the engine, for an exporter.
func (d *Docker) sources() []*source {
	return []*source{
		{name: "docker", within: time.Second, collect: d.engine},
		{name: "containers", within: time.Second, collect: d.usage},
	}
}
