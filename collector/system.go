package collector

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/collector/findings"
)

// system tells what kernel and distribution this is.
func (h *host) system(ctx context.Context, sh *sheet) error {
	h.small(ctx, sh, "os-release", "/etc/os-release", asText)
	if h.o.Root == "/" {
		var u unix.Utsname
		if err := unix.Uname(&u); err == nil {
			sh.text("uname.txt", fmt.Appendf(nil, "%s %s %s %s %s\n", cstr(u.Sysname[:]), cstr(u.Nodename[:]), cstr(u.Release[:]), cstr(u.Version[:]), cstr(u.Machine[:])))
		}
	}
	h.small(ctx, sh, "lsmod.txt", "/proc/modules", asText)
	h.small(ctx, sh, "cmdline.txt", "/proc/cmdline", asText)
	if _, err := lookPath("dmidecode"); err == nil {
		h.run(ctx, sh, "dmidecode.txt", "dmidecode")
	}
	if _, err := lookPath("getenforce"); err == nil {
		h.run(ctx, sh, "selinux.txt", "getenforce")
	}
	return nil
}

func cstr(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// dmesg reads the kernel's ring buffer itself: with the machine out of processes it still can.
func (h *host) dmesg(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	text, err := patiently(ctx, 3*time.Second, func() ([]byte, error) {
		const readAll, sizeBuffer = 3, 10 // of syslog(2)
		n, err := unix.Klogctl(sizeBuffer, nil)
		if err != nil {
			return nil, fmt.Errorf("read the kernel's messages: %w", err)
		}
		buf := make([]byte, n)
		n, err = unix.Klogctl(readAll, buf)
		if err != nil {
			return nil, fmt.Errorf("read the kernel's messages: %w", err)
		}
		return buf[:n], nil
	})
	if err != nil {
		return err
	}
	var plain, human bytes.Buffer
	boot := bootTime()
	for l := range bytes.Lines(text) {
		if bytes.HasPrefix(l, []byte("<")) { // the priority
			if i := bytes.IndexByte(l, '>'); i > 0 && i < 5 {
				l = l[i+1:]
			}
		}
		plain.Write(l)
		stamp, rest, ok := bytes.Cut(l, []byte("] "))
		seconds, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimPrefix(string(stamp), "[")), 64)
		if !ok || err != nil || boot.IsZero() {
			human.Write(l)
			continue
		}
		fmt.Fprintf(&human, "[%s] %s", boot.Add(time.Duration(seconds*1e9)).Format(time.ANSIC), rest)
	}
	sh.text("kernel/dmesg.current", plain.Bytes())
	sh.text("kernel/dmesg.human.current", human.Bytes())
	return nil
}

func bootTime() time.Time {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(now.Nano()))
}

// mount is a line of /proc/mounts.
type mount struct{ device, point, kind, options string }

// notDisks are file systems that store nothing.
var notDisks = map[string]bool{"proc": true, "sysfs": true, "cgroup": true, "cgroup2": true, "devpts": true, "securityfs": true, "pstore": true, "bpf": true, "debugfs": true,
	"tracefs": true, "mqueue": true, "hugetlbfs": true, "configfs": true, "fusectl": true, "autofs": true, "binfmt_misc": true, "nsfs": true, "rpc_pipefs": true, "efivarfs": true, "squashfs": true}

// mounts reads what is mounted.
func (h *host) mounts(ctx context.Context) ([]byte, []mount, error) {
	text, err := readFile(ctx, h.path("/proc/self/mounts"), smallText)
	var list []mount
	for l := range bytes.Lines(text) {
		if f := strings.Fields(string(l)); len(f) >= 4 {
			unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
			list = append(list, mount{f[0], unescape.Replace(f[1]), f[2], f[3]})
		}
	}
	return text, list, err
}

// fileSystems is mount and df, but a file system that does not answer takes nobody along.
func (h *host) fileSystems(ctx context.Context, sh *sheet) error {
	text, list, err := h.mounts(ctx)
	if err != nil {
		return err
	}
	var shown []mount
	overlays := 0
	for _, m := range list {
		if notDisks[m.kind] {
			continue
		}
		if m.kind == "overlay" || m.point != "/" && strings.Contains(m.point, "/shm") && m.kind == "tmpfs" {
			overlays++ // of containers: they are on a disk that is listed
			if overlays > 3 {
				continue
			}
		}
		if len(shown) < 300 {
			shown = append(shown, m)
		}
	}
	disks := make([]findings.Disk, len(shown))
	var asked sync.WaitGroup
	limit := make(chan struct{}, 32)
	for i, m := range shown {
		asked.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			disks[i] = statDisk(ctx, m, h.path(m.point))
		})
	}
	asked.Wait()
	var df bytes.Buffer
	fmt.Fprintf(&df, "%-40s %-10s %9s %9s %9s %5s %6s %s\n", "Filesystem", "Type", "Size", "Used", "Avail", "Use%", "IUse%", "Mounted on")
	for _, d := range disks {
		if d.Hung {
			fmt.Fprintf(&df, "%-40s %-10s %s %s\n", d.Device, d.Type, "DOES NOT ANSWER", d.Mount)
			continue
		}
		fmt.Fprintf(&df, "%-40s %-10s %9s %9s %9s %4.0f%% %5.0f%% %s\n", d.Device, d.Type, human(d.Total), human(d.Total-d.Free), human(d.Available), 100*d.Used(), 100*d.InodesUsed(), d.Mount)
	}
	sh.text("mounts.txt", append(append(text, '\n'), df.Bytes()...))
	sh.fact(func(f *facts) { f.Disks = disks })
	for _, d := range disks {
		if d.Hung {
			sh.problem(fmt.Errorf("%s: %w", d.Mount, errTimedOut))
		}
	}
	return nil
}

func statDisk(ctx context.Context, m mount, path string) findings.Disk {
	d := findings.Disk{Mount: m.point, Device: m.device, Type: m.kind, ReadOnly: strings.HasPrefix(m.options, "ro,") || m.options == "ro"}
	s, err := patiently(ctx, 2*time.Second, func() (s unix.Statfs_t, err error) { return s, unix.Statfs(path, &s) })
	if err != nil {
		d.Hung = isTimeout(err)
		return d
	}
	d.Total, d.Free, d.Available = s.Blocks*uint64(s.Bsize), s.Bfree*uint64(s.Bsize), s.Bavail*uint64(s.Bsize)
	d.Inodes, d.InodesFree = s.Files, s.Ffree
	return d
}

func human(n uint64) string {
	if n < 1024 {
		return fmt.Sprint(n)
	}
	v, unit := float64(n)/1024, 0
	for v >= 1024 && unit < 5 {
		v /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f%c", v, "KMGTPE"[unit])
}

// memory reads what the kernel says of memory, load, pressure.
func (h *host) memory(ctx context.Context, sh *sheet) error {
	for _, f := range []struct{ to, from string }{{"proc/meminfo", "/proc/meminfo"}, {"proc/loadavg", "/proc/loadavg"}, {"proc/uptime", "/proc/uptime"}, {"proc/vmstat", "/proc/vmstat"},
		{"proc/diskstats", "/proc/diskstats"}, {"proc/swaps", "/proc/swaps"}, {"proc/pressure-cpu", "/proc/pressure/cpu"}, {"proc/pressure-io", "/proc/pressure/io"}, {"proc/pressure-memory", "/proc/pressure/memory"},
		{"proc/file-nr", "/proc/sys/fs/file-nr"}, {"proc/sockstat", "/proc/net/sockstat"}} {
		text, err := readFile(ctx, h.path(f.from), smallText)
		sh.text(f.to, text)
		switch f.to {
		case "proc/meminfo":
			sh.problem(err)
			sh.fact(func(f *facts) { f.Memory = parseMemory(text) })
		case "proc/loadavg":
			sh.fact(func(f *facts) { _, _ = fmt.Sscan(string(text), &f.Load) })
		}
	}
	for _, c := range []struct{ name, from string }{{"count", "nf_conntrack_count"}, {"max", "nf_conntrack_max"}} {
		if text, err := readFile(ctx, h.path("/proc/sys/net/netfilter/"+c.from), 100); err == nil {
			sh.text("proc/"+c.from, text)
		}
	}
	return nil
}

func parseMemory(text []byte) findings.Memory {
	var m findings.Memory
	for l := range bytes.Lines(text) {
		f := strings.Fields(string(l))
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch n *= 1024; f[0] {
		case "MemTotal:":
			m.Total = n
		case "MemFree:":
			m.Free = n
		case "MemAvailable:":
			m.Available = n
		case "Cached:":
			m.Cached = n
		case "Slab:":
			m.Slab = n
		case "SwapTotal:":
			m.SwapTotal = n
		case "SwapFree:":
			m.SwapFree = n
		}
	}
	return m
}

// clock asks the kernel whether something keeps its time, and chrony how well.
func (h *host) clock(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		sh.problem(fmt.Errorf("ask the kernel's clock: %w", err))
	} else {
		const unsynced = 0x40 // STA_UNSYNC
		synced := state != 5 && t.Status&unsynced == 0
		sh.text("time/kernel.txt", fmt.Appendf(nil, "now %s\nsynchronised %v\nestimated error %d us\nmaximum error %d us\noffset %d\nstatus %#x\n",
			time.Now().Format(time.RFC3339Nano), synced, t.Esterror, t.Maxerror, t.Offset, t.Status))
		sh.fact(func(f *facts) { f.Clock.Checked, f.Clock.Synced = true, synced })
	}
	for _, c := range [][]string{{"time/chrony-tracking.txt", "chronyc", "-n", "tracking"}, {"time/chrony-sources.txt", "chronyc", "-n", "sources"}, {"time/timedatectl.txt", "timedatectl", "status"}} {
		if _, err := lookPath(c[1]); err == nil && (c[1] != "timedatectl" || h.hasSystemd()) {
			h.run(ctx, sh, c[0], c[1], c[2:]...)
		}
	}
	return nil
}

// cgroups strings together the memory events of containers and tasks.
func (h *host) cgroups(ctx context.Context, sh *sheet) error {
	text, err := patiently(ctx, 5*time.Second, func() ([]byte, error) {
		var b bytes.Buffer
		n := 0
		err := filepath.WalkDir(h.path("/sys/fs/cgroup"), func(path string, d fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			name := filepath.Base(path)
			if err != nil {
				return unseen(err)
			}
			if d.IsDir() || !strings.HasPrefix(name, "memory") || !strings.Contains(name, "events") || !strings.Contains(path, "docker-") && !strings.Contains(path, "ecstask") {
				return nil
			}
			if n++; n > 2000 {
				return filepath.SkipAll
			}
			if text, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&b, "%s\n%s\n", path, text)
			}
			return nil
		})
		return b.Bytes(), err
	})
	sh.text("cgroupv2.events", text)
	return err
}

// openFiles counts the descriptors of each process and says where they lead. A link is read, never followed.
func (h *host) openFiles(ctx context.Context, sh *sheet) error {
	type found struct{ counts, details []byte }
	f, err := patiently(ctx, 6*time.Second, func() (found, error) {
		var counts []string
		var details bytes.Buffer
		dirs, _ := filepath.Glob(h.path("/proc/[0-9]*"))
		for _, d := range dirs {
			if ctx.Err() != nil {
				return found{}, errTimedOut
			}
			fds, err := os.ReadDir(d + "/fd")
			if err != nil {
				continue
			}
			name, _ := os.ReadFile(d + "/comm")
			counts = append(counts, fmt.Sprintf("%7d %s %s", len(fds), filepath.Base(d), strings.TrimSpace(string(name))))
			if details.Len() > smallText || len(fds) == 0 {
				continue
			}
			fmt.Fprintf(&details, "%s %s", filepath.Base(d), name)
			for i, fd := range fds {
				if i == 256 {
					fmt.Fprintf(&details, "  and %d more\n", len(fds)-i)
					break
				}
				if to, err := os.Readlink(d + "/fd/" + fd.Name()); err == nil {
					fmt.Fprintf(&details, "  %s -> %s\n", fd.Name(), to)
				}
			}
		}
		slices.SortFunc(counts, func(a, b string) int { return strings.Compare(b, a) })
		return found{[]byte(strings.Join(counts, "\n") + "\n"), details.Bytes()}, nil
	})
	sh.text("open-file-counts.txt", f.counts)
	sh.text("open-file-details.txt", f.details)
	return err
}

// network is what ip, brctl and netstat say; addresses and routes also without them.
func (h *host) network(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	if _, err := lookPath("ip"); err == nil {
		h.run(ctx, sh, "ipaddrshow.txt", "ip", "addr", "show")
		h.run(ctx, sh, "routes.txt", "ip", "route", "show", "table", "all")
		h.run(ctx, sh, "iprules.txt", "ip", "rule", "show")
		h.run(ctx, sh, "neighbours.txt", "ip", "neigh", "show")
	} else {
		sh.text("ipaddrshow.txt", addresses())
		h.small(ctx, sh, "routes.txt", "/proc/net/route", asText)
	}
	if _, err := lookPath("brctl"); err == nil {
		h.run(ctx, sh, "brctlshow.txt", "brctl", "show")
	}
	switch {
	case hasCommand("netstat"):
		h.run(ctx, sh, "netstat.txt", "netstat", "-plant")
	case hasCommand("ss"):
		h.run(ctx, sh, "netstat.txt", "ss", "-plant")
	default:
		h.small(ctx, sh, "netstat.txt", "/proc/net/tcp", asText)
	}
	return nil
}

func hasCommand(name string) bool {
	_, err := lookPath(name)
	return err == nil
}

func addresses() []byte {
	var b bytes.Buffer
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range list {
		fmt.Fprintf(&b, "%d: %s: <%s> mtu %d %s\n", i.Index, i.Name, i.Flags, i.MTU, i.HardwareAddr)
		as, _ := i.Addrs()
		for _, a := range as {
			fmt.Fprintf(&b, "    %s\n", a)
		}
	}
	return b.Bytes()
}

// diskUse says what the space is taken by, as far as it can be counted soon.
func (h *host) diskUse(ctx context.Context, sh *sheet) error {
	data := h.dataRoot(ctx)
	var list []findings.Use
	for _, d := range []struct{ what, path string }{
		{findings.ContainerLogs, data + "/containers"}, {"the host's logs", "/var/log"}, {"the journal", "/var/log/journal"}, {"ECS agent", "/var/lib/ecs"}, {"fairlead", "/var/lib/fairlead"},
		{"temporary files", "/tmp"}, {"temporary files", "/var/tmp"}, {"package cache", "/var/cache"}, {"home", "/home"}, {"root's home", "/root"},
		{"volumes", data + "/volumes"}, {"images and writable layers", data + "/overlay2"},
	} {
		n, whole, err := h.du(ctx, d.path, 1500*time.Millisecond)
		if err == nil {
			list = append(list, findings.Use{What: d.what, Path: d.path, Bytes: n, AtLeast: !whole})
		} else if !isAbsent(err) {
			sh.problem(fmt.Errorf("%s: %w", d.path, err))
		}
	}
	slices.SortFunc(list, func(a, b findings.Use) int { return int(min(1, max(-1, b.Bytes-a.Bytes))) })
	var b bytes.Buffer
	for _, u := range list {
		more := ""
		if u.AtLeast {
			more = "+"
		}
		fmt.Fprintf(&b, "%10s%-1s %s (%s)\n", human(uint64(u.Bytes)), more, u.Path, u.What)
	}
	sh.text("disk-use.txt", b.Bytes())
	sh.fact(func(f *facts) { f.Uses = list })
	return nil
}

// maxCounted bounds the files that are counted below one folder: each costs the disk something.
const maxCounted = 8_000

// unseen goes on with the rest of a folder: what is missing went away, or is not ours to see.
func unseen(error) error { return nil }

// du is the space that a folder takes on its own file system. whole: it was counted to its end.
func (h *host) du(ctx context.Context, dir string, within time.Duration) (bytes int64, whole bool, err error) {
	type answer struct {
		n     int64
		whole bool
	}
	stop := time.Now().Add(within)
	a, err := patiently(ctx, within+readWithin, func() (answer, error) {
		var root unix.Stat_t
		if err := unix.Stat(h.path(dir), &root); err != nil {
			return answer{}, err
		}
		a, n := answer{whole: true}, 0
		err := filepath.WalkDir(h.path(dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return unseen(err)
			}
			if n++; n > maxCounted || n%64 == 0 && (time.Now().After(stop) || ctx.Err() != nil) {
				a.whole = false
				return filepath.SkipAll
			}
			var s unix.Stat_t
			if err := unix.Lstat(path, &s); err != nil {
				return unseen(err)
			}
			if s.Dev != root.Dev {
				if d.IsDir() {
					return filepath.SkipDir
				}
				return nil
			}
			a.n += s.Blocks * 512
			return nil
		})
		return a, err
	})
	return a.n, a.whole, err
}
