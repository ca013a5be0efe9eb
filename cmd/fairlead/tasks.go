package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// fewTasks is how many processes and threads two Go programs with their commands may take. Where a thread cannot be made, Go's runtime
// ends the program, so a host that has run out of them gets along with one program that needs few.
const fewTasks = 48

// tasksLeft answers how many more processes and threads there may be: of the host, and of the control groups that we are in.
func tasksLeft() int {
	number := func(path string) (int, bool) {
		text, err := os.ReadFile(path)
		n := 0
		if err == nil {
			_, err = fmt.Sscan(string(text), &n) // "max" is none
		}
		return n, err == nil
	}
	left := math.MaxInt
	load, _ := os.ReadFile("/proc/loadavg") // 0.00 0.01 0.05 1/233 4711
	if f := strings.Fields(string(load)); len(f) > 3 {
		running, all := 0, 0
		if n, _ := fmt.Sscanf(f[3], "%d/%d", &running, &all); n == 2 {
			for _, name := range []string{"threads-max", "pid_max"} {
				if limit, ok := number("/proc/sys/kernel/" + name); ok {
					left = min(left, limit-all)
				}
			}
		}
	}
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for l := range bytes.Lines(groups) {
		f := strings.SplitN(strings.TrimSpace(string(l)), ":", 3)
		if len(f) != 3 || f[1] != "" && f[1] != "pids" {
			continue
		}
		for dir := f[2]; ; dir = filepath.Dir(dir) {
			at := filepath.Join("/sys/fs/cgroup", f[1], dir)
			limit, limited := number(at + "/pids.max")
			if now, ok := number(at + "/pids.current"); ok && limited {
				left = min(left, limit-now)
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return left
}
