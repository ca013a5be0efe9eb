package health

import (
	"bytes"
	"context"
	"time"
)

var (
	cpuSeconds      = counter("node_cpu_seconds_total", "Seconds the processors spent in each mode.", "cpu", "mode")
	contextSwitches = counter("node_context_switches_total", "Total number of context switches.")
	interrupts      = counter("node_intr_total", "Total number of interrupts serviced.")
	forks           = counter("node_forks_total", "Total number of forks.")
	bootTime        = gauge("node_boot_time_seconds", "Node boot time, in unixtime.")
	running         = gauge("node_procs_running", "Number of processes in runnable state.")
	blocked         = gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete.")
)

// cpuModes are the columns of /proc/stat. Guest time is in user and nice already.
var cpuModes = []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}

// Columns that the rest of the package asks for.
const (
	modeIdle   = 3
	modeIowait = 4
	modeSteal  = 7
)

// userHZ is the unit of /proc/stat: a hundredth of a second on every architecture that EC2 has.
const userHZ = 100

// ticks are the seconds a processor, or all of them, spent in each of cpuModes since the boot.
type ticks [8]float64

func (t ticks) total() (sum float64) {
	for _, v := range t {
		sum += v
	}
	return sum
}

// busy is the part of the time between two readings in which there was work, and stolen that in which the hypervisor gave it to others.
func (t ticks) busy(before ticks) (busy, stolen float64) {
	total := t.total() - before.total()
	if total <= 0 {
		return 0, 0
	}
	idle := t[modeIdle] + t[modeIowait] - before[modeIdle] - before[modeIowait]
	return min(1, max(0, 1-idle/total)), min(1, max(0, (t[modeSteal]-before[modeSteal])/total))
}

func readTicks(words [][]byte) (t ticks) {
	for i := range t {
		if i+1 < len(words) {
			t[i] = number(words[i+1]) / userHZ
		}
	}
	return t
}

// processors answers the sum over all processors, and how many there are.
func (h *Host) processors() (all ticks, count int, err error) {
	err = h.lines("proc/stat", func(w [][]byte) {
		switch name, is := bytes.CutPrefix(w[0], []byte("cpu")); {
		case is && len(name) == 0:
			all = readTicks(w)
		case is:
			count++
		}
	})
	return all, count, err
}

func (h *Host) cpu(_ context.Context, s *sink) error {
	return h.lines("proc/stat", func(w [][]byte) {
		name, is := bytes.CutPrefix(w[0], []byte("cpu"))
		if is && len(name) > 0 {
			cpu, t := string(name), readTicks(w)
			// These two go back at times, by what the kernel says itself; a counter that does would count as reset.
			h.mu.Lock()
			top := h.idle[cpu]
			top = [2]float64{max(top[0], t[modeIdle]), max(top[1], t[modeIowait])}
			h.idle[cpu], t[modeIdle], t[modeIowait] = top, top[0], top[1]
			h.mu.Unlock()
			for i, mode := range cpuModes {
				s.add(cpuSeconds, t[i], cpu, mode)
			}
			return
		}
		if len(w) < 2 {
			return
		}
		switch string(w[0]) {
		case "ctxt":
			s.add(contextSwitches, number(w[1]))
		case "intr":
			s.add(interrupts, number(w[1]))
		case "processes":
			s.add(forks, number(w[1]))
		case "btime":
			s.add(bootTime, number(w[1]))
		case "procs_running":
			s.add(running, number(w[1]))
		case "procs_blocked":
			s.add(blocked, number(w[1]))
		}
	})
}

// booted is when the machine was.
func (h *Host) booted() (t time.Time, err error) {
	err = h.lines("proc/stat", func(w [][]byte) {
		if string(w[0]) == "btime" && len(w) > 1 {
			t = time.Unix(int64(number(w[1])), 0)
		}
	})
	return t, err
}
