// Package health tells how the host is: its processors, memory, disks, network and clock, its Docker engine, and its ECS agent. It tells
// Prometheus (with node_exporter's names where node_exporter has the figure), /readyz by reasons, and people by a page.
//
// It looks, and changes nothing. A scrape reads what costs microseconds, from /proc, /sys and the cgroups, each source within a deadline
// of its own. What may hang is asked beside the scrapes: Docker and the ECS agent every docker_probe, and a scrape
// shows what the last asking found. What logs and clean-up do is not known here; the daemon hands it in.
package health
