package health

import (
	"bytes"
	"context"
)

// memoryFields are the lines of /proc/meminfo that are exported.
var memoryFields = func() map[string]*metric {
	fields := map[string]*metric{}
	for _, name := range []string{
		"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "SwapTotal", "SwapFree", "Active", "Inactive",
		"AnonPages", "Mapped", "Shmem", "Slab", "SReclaimable", "SUnreclaim", "KernelStack", "PageTables", "Dirty", "Writeback",
		"CommitLimit", "Committed_AS",
	} {
		fields[name] = gauge("node_memory_"+name+"_bytes", "Memory information field "+name+"_bytes.")
	}
	return fields
}()

// vmstatFields are the lines of /proc/vmstat that are exported, those of node_exporter without what fairlead's readers do not ask for.
var vmstatFields = func() map[string]*metric {
	fields := map[string]*metric{}
	for _, name := range []string{"oom_kill", "pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout"} {
		fields[name] = untyped("node_vmstat_"+name, "/proc/vmstat information field "+name+".")
	}
	return fields
}()

// meminfo hands each line of /proc/meminfo to each, in bytes.
func (h *Host) meminfo(each func(name string, bytes float64)) error {
	return h.lines("proc/meminfo", func(w [][]byte) {
		if len(w) < 2 {
			return
		}
		v := number(w[1])
		if len(w) > 2 && string(w[2]) == "kB" {
			v *= 1024
		}
		each(string(bytes.TrimSuffix(w[0], []byte(":"))), v)
	})
}

func (h *Host) memory(_ context.Context, s *sink) error {
	return h.meminfo(func(name string, v float64) {
		if m := memoryFields[name]; m != nil {
			s.add(m, v)
		}
	})
}

func (h *Host) vmstat(_ context.Context, s *sink) error {
	return h.lines("proc/vmstat", func(w [][]byte) {
		if m := vmstatFields[string(w[0])]; m != nil && len(w) > 1 {
			s.add(m, number(w[1]))
		}
	})
}
