package health

import (
	"bytes"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
)

// usage is what a container has used since its start, and holds now.
type usage struct {
	cpuSeconds, throttledSeconds float64
	memoryBytes                  float64 // without the cache that the kernel would give up first
	limitBytes                   float64 // the tightest of its own and those above it, as of an ECS task; 0: none
	readBytes, writtenBytes      float64 // block devices
	receivedBytes, sentBytes     float64 // its own interfaces; 0 where it uses the host's
}

// noLimit is above every machine's memory: version 1 writes "no limit" as 2^63 less a page.
const noLimit = 1 << 60

// container reads what the processes in the cgroup of a container's first process have used. Where the cgroup is says /proc/PID/cgroup, so
// it does not matter who made it and how it is named: cgroupfs, systemd, the ECS agent's below /ecs.
func (h *Host) container(pid int) (usage, error) {
	var u usage
	process := "proc/" + strconv.Itoa(pid)
	text, err := h.read(process + "/cgroup")
	if err != nil {
		return u, err
	}
	v1, v2 := map[string]string{}, ""
	for line := range bytes.Lines(text) {
		// hierarchy:controllers:path, "0::path" is the one of version 2, which a hybrid host has besides
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "" {
			v2 = parts[2]
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			v1[controller] = parts[2]
		}
	}
	if _, hybrid := v1["memory"]; hybrid {
		err = h.cgroup1(v1, &u)
	} else {
		err = h.cgroup2(v2, &u)
	}
	return u, errors.Join(err, h.traffic(process, &u))
}

// keyed reads a file of "name number" lines.
func (h *Host) keyed(name string, each func(key string, value float64)) error {
	return h.lines(name, func(w [][]byte) {
		if len(w) == 2 {
			each(string(w[0]), number(w[1]))
		}
	})
}

// optional reads a file that a kernel may lack, as where a controller is switched off.
func optional(errs *[]error, err error) {
	if unsupported(err) != nil {
		*errs = append(*errs, err)
	}
}

func (h *Host) cgroup1(paths map[string]string, u *usage) error {
	at := func(controller, file string) string {
		return path.Join("sys/fs/cgroup", controller, paths[controller], file)
	}
	var errs []error
	if v, err := h.value(at("cpuacct", "cpuacct.usage")); err != nil {
		errs = append(errs, err)
	} else {
		u.cpuSeconds = v / 1e9
	}
	optional(&errs, h.keyed(at("cpu", "cpu.stat"), func(key string, v float64) {
		if key == "throttled_time" {
			u.throttledSeconds = v / 1e9
		}
	}))
	v, err := h.value(at("memory", "memory.usage_in_bytes"))
	if err != nil {
		errs = append(errs, err)
	}
	u.memoryBytes = v
	optional(&errs, h.keyed(at("memory", "memory.stat"), func(key string, v float64) {
		switch key {
		case "total_inactive_file":
			u.memoryBytes = max(0, u.memoryBytes-v)
		case "hierarchical_memory_limit":
			if v < noLimit {
				u.limitBytes = v
			}
		}
	}))
	optional(&errs, h.lines(at("blkio", "blkio.throttle.io_service_bytes"), func(w [][]byte) {
		if len(w) == 3 {
			switch string(w[1]) {
			case "Read":
				u.readBytes += number(w[2])
			case "Write":
				u.writtenBytes += number(w[2])
			}
		}
	}))
	return errors.Join(errs...)
}

func (h *Host) cgroup2(group string, u *usage) error {
	at := func(file string) string { return path.Join("sys/fs/cgroup", group, file) }
	var errs []error
	if err := h.keyed(at("cpu.stat"), func(key string, v float64) {
		switch key {
		case "usage_usec":
			u.cpuSeconds = v / 1e6
		case "throttled_usec":
			u.throttledSeconds = v / 1e6
		}
	}); err != nil {
		errs = append(errs, err)
	}
	v, err := h.value(at("memory.current"))
	optional(&errs, err)
	u.memoryBytes = v
	optional(&errs, h.keyed(at("memory.stat"), func(key string, v float64) {
		if key == "inactive_file" {
			u.memoryBytes = max(0, u.memoryBytes-v)
		}
	}))
	optional(&errs, h.lines(at("io.stat"), func(w [][]byte) {
		for _, word := range w[1:] {
			if v, ok := bytes.CutPrefix(word, []byte("rbytes=")); ok {
				u.readBytes += number(v)
			} else if v, ok := bytes.CutPrefix(word, []byte("wbytes=")); ok {
				u.writtenBytes += number(v)
			}
		}
	}))
	for g := path.Clean("/" + group); g != "/"; g = path.Dir(g) {
		text, err := h.read(path.Join("sys/fs/cgroup", g, "memory.max"))
		optional(&errs, err)
		limit := number(bytes.TrimSpace(text)) // "max" is no number
		if limit > 0 && (u.limitBytes == 0 || limit < u.limitBytes) {
			u.limitBytes = limit
		}
	}
	return errors.Join(errs...)
}

// traffic reads what went through the interfaces of a process, unless they are the host's own.
func (h *Host) traffic(process string, u *usage) error {
	own, err := os.Readlink(h.path(process + "/ns/net"))
	if err != nil {
		return err
	}
	if hosts, err := os.Readlink(h.path("proc/1/ns/net")); err == nil && hosts == own {
		return nil
	}
	text, err := h.read(process + "/net/dev")
	if err != nil {
		return err // it has ended, or (EINVAL) ends just now
	}
	eachDevice(text, func(device string, columns [][]byte) {
		if device != "lo" {
			u.receivedBytes += number(columns[0])
			u.sentBytes += number(columns[8])
		}
	})
	return nil
}
