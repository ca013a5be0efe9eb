package agent

import (
	"os"
	"runtime/debug"
)

// The data path works in buffers that live as long as the daemon and hardly allocates, so the collector may run often
// and at little cost: that is what keeps the process small on hosts that belong to the containers.
const (
	gcPercent        = 50
	memoryLimitBytes = 30 << 20 // soft, all of the Go runtime's memory; the binary's own pages come on top
)

// limitMemory sets how the Go runtime uses memory, unless GOGC or GOMEMLIMIT say so. GOMAXPROCS is left to Go, which
// follows the CPU limit of the cgroup.
func limitMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimitBytes)
	}
}
