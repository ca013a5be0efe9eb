package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

var (
	load1  = gauge("node_load1", "1m load average.")
	load5  = gauge("node_load5", "5m load average.")
	load15 = gauge("node_load15", "15m load average.")

	cpuWaiting    = counter("node_pressure_cpu_waiting_seconds_total", "Total time in seconds that processes have waited for CPU time")
	ioWaiting     = counter("node_pressure_io_waiting_seconds_total", "Total time in seconds that processes have waited due to IO congestion")
	ioStalled     = counter("node_pressure_io_stalled_seconds_total", "Total time in seconds no process could make progress due to IO congestion")
	memoryWaiting = counter("node_pressure_memory_waiting_seconds_total", "Total time in seconds that processes have waited for memory")
	memoryStalled = counter("node_pressure_memory_stalled_seconds_total", "Total time in seconds no process could make progress due to memory congestion")
)

// averages are the load over 1, 5 and 15 minutes.
func (h *Host) averages() (l [3]float64, err error) {
	found := false
	err = h.lines("proc/loadavg", func(w [][]byte) {
		if len(w) >= 3 {
			l, found = [3]float64{number(w[0]), number(w[1]), number(w[2])}, true
		}
	})
	if err == nil && !found {
		err = errors.New("/proc/loadavg has no three numbers")
	}
	return l, err
}

func (h *Host) load(_ context.Context, s *sink) error {
	l, err := h.averages()
	if err != nil {
		return err
	}
	s.add(load1, l[0])
	s.add(load5, l[1])
	s.add(load15, l[2])
	return nil
}

// pressure is what /proc/pressure tells. Kernels before 4.20, and those booted with psi=0, tell nothing.
func (h *Host) pressure(_ context.Context, s *sink) error {
	for _, r := range []struct {
		name       string
		some, full *metric
	}{{"cpu", cpuWaiting, nil}, {"io", ioWaiting, ioStalled}, {"memory", memoryWaiting, memoryStalled}} {
		some, full, err := h.stalled(r.name)
		if err != nil {
			return err
		}
		if some >= 0 {
			s.add(r.some, some)
		}
		if full >= 0 && r.full != nil {
			s.add(r.full, full)
		}
	}
	return nil
}

// stalled answers the seconds since the boot in which some, and all, processes waited for a resource; -1 where that is not told.
func (h *Host) stalled(resource string) (some, full float64, err error) {
	some, full = -1, -1
	err = h.lines("proc/pressure/"+resource, func(w [][]byte) {
		total, ok := bytes.CutPrefix(w[len(w)-1], []byte("total="))
		if !ok {
			return
		}
		switch seconds := number(total) / 1e6; string(w[0]) {
		case "some":
			some = seconds
		case "full":
			full = seconds
		}
	})
	if err = unsupported(err); err != nil {
		err = fmt.Errorf("pressure of %s: %w", resource, err)
	}
	return some, full, err
}
