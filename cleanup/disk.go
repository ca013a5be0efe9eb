package cleanup

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// place is a folder that matters, and what for.
type place struct{ role, path string }

// glanceWithin bounds the look at one folder.
const glanceWithin = 300 * time.Millisecond

// prober looks at folders, each within a deadline: a network file system whose server is gone never answers, and the others still fill.
// A folder that has not answered yet is not asked again until it has. The zero value is ready for use.
type prober struct {
	mu    sync.Mutex
	asked map[string]bool
}

// glance is what a folder, or the nearest one above it that is there, says of its file system.
type glance struct {
	path string // without symbolic links; "": there is nothing to look at
	dev  uint64
	fs   unix.Statfs_t
}

func (p *prober) glance(path string) glance {
	p.mu.Lock()
	if p.asked[path] {
		p.mu.Unlock()
		return glance{}
	}
	if p.asked == nil {
		p.asked = map[string]bool{}
	}
	p.asked[path] = true
	p.mu.Unlock()
	answer := make(chan glance, 1)
	go func() {
		g := glanceAt(path)
		p.mu.Lock()
		delete(p.asked, path)
		p.mu.Unlock()
		answer <- g
	}()
	late := time.NewTimer(glanceWithin)
	defer late.Stop()
	select {
	case g := <-answer:
		return g
	case <-late.C:
		return glance{}
	}
}

func glanceAt(path string) (g glance) {
	path = existing(path)
	var st unix.Stat_t
	if path == "" || unix.Stat(path, &st) != nil || unix.Statfs(path, &g.fs) != nil {
		return glance{}
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	g.path, g.dev = path, st.Dev
	return g
}

// disks looks at the file systems that hold the places, each once. What cannot be looked at is left out.
func (p *prober) disks(places []place) []plan.Disk {
	var list []plan.Disk
	byDev := map[uint64]int{}
	var mounts []string
	for _, pl := range places {
		g := p.glance(pl.path)
		if g.path == "" {
			continue
		}
		if i, ok := byDev[g.dev]; ok {
			if !slices.Contains(list[i].Roles, pl.role) {
				list[i].Roles = append(list[i].Roles, pl.role)
			}
			continue
		}
		if mounts == nil {
			mounts = mountPoints()
		}
		block := g.fs.Bsize
		byDev[g.dev] = len(list)
		list = append(list, plan.Disk{
			Mount: mountOf(g.path, mounts), Dev: g.dev, Roles: []string{pl.role}, UntilFull: plan.Never,
			// As df has it: what is reserved for root is neither in use nor free.
			Bytes: block * int64(g.fs.Blocks-g.fs.Bfree+g.fs.Bavail), FreeBytes: block * int64(g.fs.Bavail),
			Inodes: int64(g.fs.Files), FreeInodes: int64(g.fs.Ffree),
		})
	}
	return list
}

// existing is the path, or the nearest folder above it that is there: a spool that is not made yet will be on that disk.
func existing(path string) string {
	for path != "" && filepath.IsAbs(path) {
		if _, err := os.Stat(path); err == nil {
			return path
		}
		if path == "/" {
			break
		}
		path = filepath.Dir(path)
	}
	return ""
}

// mountPoints lists where file systems are mounted.
func mountPoints() []string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return []string{"/"}
	}
	defer f.Close()
	list := []string{"/"}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// Of a file system that shows in several places, the one where its root does: dockerd mounts its folder upon itself.
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && fields[3] == "/" {
			list = append(list, unescape(fields[4]))
		}
	}
	return list
}

// unescape undoes the kernel's octal escapes of blanks.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// mountOf is the longest mount point above the path, which is without symbolic links.
func mountOf(path string, mounts []string) string {
	best := "/"
	for _, m := range mounts {
		if len(m) > len(best) && (path == m || strings.HasPrefix(path, m+"/")) {
			best = m
		}
	}
	return best
}
