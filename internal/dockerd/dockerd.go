// Package dockerd finds the Docker engine of this host: its API, and since when it runs.
package dockerd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// DefaultHost is where the engine listens unless DOCKER_HOST says otherwise.
const DefaultHost = "unix:///var/run/docker.sock"

// New makes a client of the engine at host; "" is DOCKER_HOST, else the default. It settles the version of the API with the engine at the
// first call. It sets no time limits: each call has one by its context.
func New(host string) (*client.Client, error) {
	options := []client.Opt{client.FromEnv}
	if host != "" {
		options = append(options, client.WithHost(host))
	}
	c, err := client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("find the Docker engine: %w (is DOCKER_HOST right?)", err)
	}
	return c, nil
}

// Up is for how long the engine behind host (as the client has it) runs. It is not known where the engine's process cannot be seen: on another
// host, or from inside a container. The process that listens on the socket tells; where that is systemd, the youngest dockerd of this host.
func Up(host string) (up time.Duration, known bool) {
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return 0, false
	}
	if pid := listener(path); isDockerd(pid) {
		return age(pid)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !isDockerd(pid) {
			continue
		}
		if d, ok := age(pid); ok && (!known || d < up) {
			up, known = d, true
		}
	}
	return up, known
}

// listener is the process that listens on the socket, 0 if that cannot be told.
func listener(path string) int {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return 0
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	}); err != nil {
		return 0
	}
	return pid
}

func isDockerd(pid int) bool {
	if pid <= 0 {
		return false
	}
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	return err == nil && strings.TrimSpace(string(name)) == "dockerd"
}

// age is for how long a process runs.
func age(pid int) (time.Duration, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// The name stands in parentheses and may hold anything; the start is the 20th field behind it, in hundredths of a second since the boot.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0, false
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, false
	}
	return max(0, time.Duration(now.Nano())-time.Duration(ticks)*10*time.Millisecond), true
}
