package cleanup

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// Account says who owns the bytes of one file system. Its owners sum up to what df says is used.
type Account struct {
	Mount     string  `json:"mount"`
	UsedBytes int64   `json:"used_bytes"`
	FreeBytes int64   `json:"free_bytes"`
	Used      float64 `json:"used"` // 0 to 1, of bytes or inodes
	Owners    []Owner `json:"owners"`
	Whole     bool    `json:"whole"` // every file was looked at
	Files     int     `json:"files"`
}

// Owner is one of those that the bytes of a disk belong to.
type Owner struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Who   string `json:"who,omitempty"` // containers or processes behind it
	Bytes int64  `json:"bytes"`
}

// Kinds of owners.
const (
	ownVolume  = "volume"
	ownLog     = "container's log"
	ownLayer   = "container's own layer"
	ownImages  = "image layers"
	ownDocker  = "engine"
	ownSpool   = "spool"
	ownJournal = "journal"
	ownFolder  = "folder"
	ownDeleted = "deleted, still open"
	ownRest    = "file system" // what no file shows: its own tables, and what was not looked at
)

// Explain looks at every file of the disks that matter and says whose it is. It takes seconds to minutes of disk reads, at idle priority: it is
// for a person who asks. Where ctx ends before, the rest is counted as not looked at.
func Explain(ctx context.Context, h Host) ([]Account, error) {
	x := explainer{names: map[string]string{}, users: map[string][]string{}, layers: map[string]string{}, host: h, root: "/var/lib/docker"}
	d, err := openDocker(h.Docker)
	if err == nil {
		err = x.ask(ctx, d)
		_ = d.close() // it was only asked
	}
	runtime.LockOSThread() // the priority is the thread's
	defer runtime.UnlockOSThread()
	idle()
	g := newGauge(h)
	g.engine(x.root, nil)
	var list []Account
	for _, disk := range g.look() {
		list = append(list, x.account(ctx, disk))
	}
	return list, err
}

// idle has this thread's disk reads come after everybody else's. Where the kernel knows no priorities, they are ordinary reads.
func idle() {
	const who, class = 1, 3 << 13 // IOPRIO_WHO_PROCESS, IOPRIO_CLASS_IDLE
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, who, 0, class)
}

// explainer knows the engine's names of things.
type explainer struct {
	host   Host
	root   string
	names  map[string]string   // of containers, by id
	users  map[string][]string // of volumes
	layers map[string]string   // folder of a writable layer to container id
	mount  string              // of the file system that is looked at
}

func (x *explainer) ask(ctx context.Context, d engine) error {
	root, _, err := d.info(ctx)
	if err != nil {
		return err
	}
	x.root = root
	all, err := d.containers(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		c := &all[i]
		x.names[c.ID] = c.Name + " (" + c.State + ")"
		for _, v := range c.Volumes {
			x.users[v] = append(x.users[v], x.names[c.ID])
		}
	}
	// The engine notes for each container which folder its writable layer is.
	mounts, err := filepath.Glob(filepath.Join(root, "image", "*", "layerdb", "mounts", "*", "mount-id"))
	if err != nil {
		return fmt.Errorf("tell writable layers apart: %w", err)
	}
	for _, path := range mounts {
		if id, err := os.ReadFile(path); err == nil {
			x.layers[strings.TrimSpace(string(id))] = filepath.Base(filepath.Dir(path))
		}
	}
	return nil
}

// key is an owner while it is counted.
type key struct{ kind, name string }

// account walks one file system.
func (x *explainer) account(ctx context.Context, d plan.Disk) Account {
	x.mount = d.Mount
	sums := map[key]int64{}
	w := walk{sums: sums, owner: x.owner, linked: map[uint64]bool{}}
	a := Account{Mount: d.Mount, Used: d.Used(), Whole: true}
	var top unix.Stat_t
	if unix.Lstat(d.Mount, &top) == nil {
		w.dev = top.Dev
		a.Whole = w.walk(ctx, d.Mount)
		for _, f := range deletedOpen(top.Dev) {
			sums[key{ownDeleted, f.process}] += f.bytes
		}
	}
	a.Files = w.files
	var fs unix.Statfs_t
	if unix.Statfs(d.Mount, &fs) == nil {
		a.UsedBytes, a.FreeBytes = fs.Bsize*int64(fs.Blocks-fs.Bfree), fs.Bsize*int64(fs.Bavail)
	}
	rest := a.UsedBytes
	for k, n := range sums {
		rest -= n
		a.Owners = append(a.Owners, Owner{Kind: k.kind, Name: k.name, Who: x.who(k), Bytes: n})
	}
	name := "its own tables"
	if !a.Whole {
		name = "not looked at, and its own tables"
	}
	a.Owners = append(a.Owners, Owner{Kind: ownRest, Name: name, Bytes: rest})
	slices.SortFunc(a.Owners, func(a, b Owner) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return a
}

// who says which containers are behind an owner.
func (x *explainer) who(k key) string {
	switch k.kind {
	case ownVolume:
		if users := x.users[k.name]; len(users) > 0 {
			return strings.Join(users, ", ")
		}
		return "no container"
	case ownLog, ownLayer:
		return x.names[k.name]
	}
	return ""
}

// owner says whose a path is.
func (x *explainer) owner(path string) key {
	if rest, ok := cutDir(path, x.root); ok {
		first, rest, _ := strings.Cut(rest, "/")
		name, _, _ := strings.Cut(rest, "/")
		switch {
		case first == "volumes" && name != "" && name != "metadata.db" && name != "backingFsBlockDev":
			return key{ownVolume, name}
		case first == "containers" && name != "":
			return key{ownLog, name}
		case first == "overlay2" || first == "fuse-overlayfs" || first == "vfs" || first == "aufs" || first == "devicemapper":
			if first == "vfs" {
				_, name, _ = strings.Cut(rest, "/")
				name, _, _ = strings.Cut(name, "/")
			}
			if id, ok := x.layers[strings.TrimSuffix(name, "-init")]; ok {
				return key{ownLayer, id}
			}
			return key{ownImages, filepath.Join(x.root, first)}
		}
		return key{ownDocker, filepath.Join(x.root, first)}
	}
	if x.host.SpoolDir != "" {
		if _, ok := cutDir(path, x.host.SpoolDir); ok {
			return key{ownSpool, x.host.SpoolDir}
		}
	}
	if x.host.Journal != "" {
		if _, ok := cutDir(path, x.host.Journal); ok {
			return key{ownJournal, x.host.Journal}
		}
	}
	// Two levels below the mount point tell enough: /var/log, /usr/lib.
	parts := strings.Split(strings.Trim(strings.TrimPrefix(path, x.mount), "/"), "/")
	return key{ownFolder, filepath.Join(x.mount, filepath.Join(parts[:min(2, max(1, len(parts)-1))]...))}
}

func cutDir(path, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, dir)
	if !ok || rest == "" || rest[0] != '/' {
		return "", ok && rest == ""
	}
	return rest[1:], true
}

// walk adds up what files take on disk, by owner. Of hard links the first counts; other file systems are not entered.
type walk struct {
	dev    uint64
	owner  func(path string) key
	sums   map[key]int64
	linked map[uint64]bool
	files  int
}

// walk answers whether it got through.
func (w *walk) walk(ctx context.Context, dir string) bool {
	if ctx.Err() != nil {
		return false
	}
	entries, err := os.ReadDir(dir)
	whole := err == nil || os.IsNotExist(err)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil || st.Dev != w.dev {
			continue
		}
		w.files++
		if st.Nlink > 1 && !e.IsDir() {
			if w.linked[st.Ino] {
				continue
			}
			w.linked[st.Ino] = true
		}
		w.sums[w.owner(path)] += st.Blocks * 512
		if e.IsDir() && !w.walk(ctx, path) {
			whole = false
		}
	}
	return whole
}

// openFile is a file that has no name any more, and a process that holds it open.
type openFile struct {
	process string
	bytes   int64
}

// deletedOpen finds the files of a file system that are deleted and still open: their blocks are free only when they are closed.
func deletedOpen(dev uint64) []openFile {
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil
	}
	var list []openFile
	seen := map[uint64]bool{}
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(fd, &st) != nil || st.Dev != dev || st.Nlink > 0 || seen[st.Ino] || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		seen[st.Ino] = true
		pid := strings.Split(fd, "/")[2]
		name := "process " + pid
		if comm, err := os.ReadFile("/proc/" + pid + "/comm"); err == nil {
			name = strings.TrimSpace(string(comm)) + " (pid " + pid + ")"
		}
		list = append(list, openFile{name, st.Blocks * 512})
	}
	return list
}

// Sentences says in words what an account means; the largest first, as many as are asked for, and the rest in one line, so that the
// figures sum up.
func (a *Account) Sentences(most int, amount func(int64) string) []string {
	lines := []string{fmt.Sprintf("%s is %.0f%% full: %s are used, %s free.", a.Mount, 100*a.Used, amount(a.UsedBytes), amount(a.FreeBytes))}
	var rest int64
	more := 0
	for i, o := range a.Owners {
		if i >= most && o.Kind != ownRest {
			rest += o.Bytes
			more++
			continue
		}
		line := fmt.Sprintf("%10s  %s %s", amount(o.Bytes), o.Kind, o.Name)
		if o.Kind == ownLog || o.Kind == ownLayer || plan.Anonymous(o.Name) {
			line = fmt.Sprintf("%10s  %s %.12s", amount(o.Bytes), o.Kind, o.Name)
		}
		if o.Who != "" {
			line += ": " + o.Who
		}
		lines = append(lines, line)
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("%10s  %s others", amount(rest), strconv.Itoa(more)))
	}
	return lines
}
