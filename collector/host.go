package collector

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/collector/findings"
	"github.com/fairlead/fairlead/internal/instance"
)

type facts = findings.Facts

// host is what is asked. Its methods are sources.
type host struct {
	o     Options
	began time.Time

	engine   *http.Client
	engineUp func(ctx context.Context) error // asked once, whoever asks
	listed   func(ctx context.Context) ([]container, error)
}

func newHost(o Options) *host {
	if o.Docker == "" {
		o.Docker = filepath.Join(o.Root, "/var/run/docker.sock")
	}
	if o.Introspection == "" {
		o.Introspection = "http://localhost:51678"
	}
	h := &host{o: o, began: time.Now()}
	h.engine = engineClient(o.Docker)
	h.engineUp = once(h.ping)
	h.listed = onceOf(h.list)
	return h
}

// once has work done by who asks first; the others wait for its answer, each as long as it can. Who asks first asks for all.
func once(work func(context.Context) error) func(context.Context) error {
	f := onceOf(func(ctx context.Context) (struct{}, error) { return struct{}{}, work(ctx) })
	return func(ctx context.Context) error {
		_, err := f(ctx)
		return err
	}
}

func onceOf[T any](work func(context.Context) (T, error)) func(context.Context) (T, error) {
	var begin sync.Once
	done := make(chan struct{})
	var value T
	var err error
	return func(ctx context.Context) (T, error) {
		begin.Do(func() {
			go func() { // within the time that work gives itself
				value, err = work(context.WithoutCancel(ctx))
				close(done)
			}()
		})
		select {
		case <-done:
			return value, err
		case <-ctx.Done():
			var none T
			return none, errTimedOut
		}
	}
}

func (h *host) path(name string) string { return filepath.Join(h.o.Root, name) }

// NoInstance stands for the instance's id where it cannot be told soon.
const NoInstance = "system"

// InstanceID is the name of the folder in the archive, from the files below root or the metadata service.
func InstanceID(ctx context.Context, root string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	id, _ := patiently(ctx, 2*time.Second, func() (string, error) { return instance.CloudInit{Root: root}.ID(), nil })
	if id == "" && root == "/" {
		id, _ = instance.NewIMDS().Metadata(ctx, "instance-id")
	}
	id = strings.TrimSpace(id)
	for _, c := range id {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return NoInstance
		}
	}
	if id == "" || len(id) > 64 {
		return NoInstance
	}
	return id
}

func (h *host) instance(_ context.Context, sh *sheet) error {
	if h.o.Instance == NoInstance {
		return fmt.Errorf("%w: neither cloud-init nor the metadata service tells the instance's id", errAbsent)
	}
	sh.text("instance-id.txt", []byte(h.o.Instance+"\n"))
	return nil
}

// run adds what a command prints, and notes what went wrong with it.
func (h *host) run(ctx context.Context, sh *sheet, path, name string, args ...string) {
	if h.o.Root != "/" {
		return // it would tell of another host than the files
	}
	text, err := command(ctx, commandText, false, name, args...)
	sh.text(path, text)
	sh.problem(err)
}

// small adds a file that is read at once.
func (h *host) small(ctx context.Context, sh *sheet, path, from string, s shape) {
	text, err := readFile(ctx, h.path(from), smallText)
	sh.shaped(path, s, text)
	sh.problem(err)
}

// treeWithin is how long a folder is looked through: what was found by then counts.
const treeWithin = 3 * time.Second

// tree lists the regular files below a folder, newest first. Links are not followed. A folder's own files come before those of the folders in
// it, so that no number of others' hides them; errPart says that there are more than were looked at.
func (h *host) tree(ctx context.Context, dir string, most int) ([]file, error) {
	root := h.path(dir)
	until := time.Now().Add(treeWithin)
	type answer struct {
		list []file
		part bool
	}
	a, err := patiently(ctx, treeWithin+time.Second, func() (a answer, err error) {
		looked := 0
		for dirs := []string{""}; len(dirs) > 0; dirs = dirs[1:] {
			d, err := os.Open(filepath.Join(root, dirs[0]))
			if err != nil {
				if dirs[0] == "" {
					return a, err
				}
				continue // what cannot be listed is missing; the rest is not
			}
			for {
				entries, err := d.ReadDir(256)
				for _, e := range entries {
					name := filepath.Join(dirs[0], e.Name())
					if e.IsDir() && len(dirs) < most {
						dirs = append(dirs, name)
					}
					if e.Type().IsRegular() {
						if info, err := e.Info(); err == nil {
							a.list = append(a.list, file{name, info.Size(), info.ModTime()})
						}
					}
				}
				if len(a.list) > 2*most {
					a.list = newest(a.list, most)
				}
				if looked += len(entries); looked > maxLooked || time.Now().After(until) || ctx.Err() != nil {
					a.part = true
				}
				if err != nil || a.part {
					break
				}
			}
			d.Close()
			if a.part {
				break
			}
		}
		a.list = newest(a.list, most)
		return a, nil
	})
	if a.part && err == nil {
		err = fmt.Errorf("%w: %s holds more files than can be looked at", errPart, dir)
	}
	return a.list, err
}

// maxLooked bounds the entries that tree looks at: each costs the disk something.
const maxLooked = 20_000

func newest(list []file, most int) []file {
	slices.SortStableFunc(list, func(a, b file) int { return b.at.Compare(a.at) })
	return list[:min(len(list), most)]
}

// file is one below a folder.
type file struct {
	name  string
	bytes int64
	at    time.Time
}

// logs adds the files below a folder: the newest first, old ones only as far as they are wanted.
func (h *host) logs(ctx context.Context, sh *sheet, dir, to string, skip func(name string) bool) error {
	list, err := h.tree(ctx, dir, 200)
	if len(list) == 0 {
		return err
	}
	sh.problem(err)
	left := h.o.MaxBytes / partOfFolder
	for _, f := range list {
		if skip != nil && skip(f.name) || isBundle(f.name) || isRotated(f.name) && h.tooOld(f.at) { // of the others even the last words of long ago are wanted
			continue
		}
		if h.o.Brief && isRotated(f.name) {
			continue
		}
		if left <= 0 {
			sh.problem(fmt.Errorf("%w: the newest logs of %s; for more raise bundle.max_bytes", errPart, dir))
			break
		}
		limit := min(h.logLimit(), left)
		sh.below(to+"/"+unpackedName(f.name), h.path(dir), f.name, limit)
		left -= min(f.bytes, limit)
	}
	return nil
}

// isBundle tells of a packed tar, as bundles are, and of the one that is being written.
func isBundle(name string) bool {
	_, err := Format(name)
	return err == nil || strings.HasPrefix(filepath.Base(name), ".fairlead-bundle-")
}

// isRotated tells an old log by its name.
func isRotated(name string) bool {
	base := filepath.Base(name)
	i := strings.Index(base, ".log.")
	return i >= 0 || strings.HasSuffix(base, ".gz") || strings.HasSuffix(base, ".1")
}

// unpackedName is the name of what a packed file holds.
func unpackedName(name string) string {
	for _, s := range []string{".gz", ".zst", ".bz2", ".zip"} {
		name = strings.TrimSuffix(name, s)
	}
	return name
}

func (h *host) agentLogs(ctx context.Context, sh *sheet) error {
	return h.logs(ctx, sh, "/var/log/ecs", "ecs_agent_logs", nil)
}

func (h *host) dockerLogs(ctx context.Context, sh *sheet) error {
	for _, from := range []string{"/var/log/docker", "/var/log/upstart/docker", "/var/log/upstart/docker.log"} {
		if info, err := statFile(ctx, h.path(from)); err == nil && info.Mode().IsRegular() {
			sh.file("docker_log/docker", h.path(from), h.logLimit())
		}
	}
	return errIfEmpty(sh)
}

func (h *host) cloudInitLogs(ctx context.Context, sh *sheet) error {
	for _, name := range []string{"cloud-init.log", "cloud-init-output.log"} {
		if _, err := statFile(ctx, h.path("/var/log/"+name)); err == nil {
			sh.file("var_log/"+name, h.path("/var/log/"+name), h.logLimit())
		}
	}
	return errIfEmpty(sh)
}

func (h *host) systemLogs(ctx context.Context, sh *sheet) error {
	for _, name := range []string{"messages", "syslog", "secure", "cron", "dmesg"} {
		if info, err := statFile(ctx, h.path("/var/log/"+name)); err == nil && info.Mode().IsRegular() {
			to := "var_log/" + name
			if name == "dmesg" {
				to = "kernel/dmesg.boot"
			}
			sh.file(to, h.path("/var/log/"+name), h.logLimit())
		}
	}
	return errIfEmpty(sh)
}

func (h *host) otherLogs(ctx context.Context, sh *sheet) error {
	if h.o.Brief {
		return nil
	}
	return h.logs(ctx, sh, "/var/log/amazon", "var_log/amazon", nil)
}

func errIfEmpty(sh *sheet) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.members) == 0 {
		return errAbsent
	}
	return nil
}

func statFile(ctx context.Context, path string) (fs.FileInfo, error) {
	return patiently(ctx, readWithin, func() (fs.FileInfo, error) { return os.Stat(path) })
}

// processes lists them as ps does, or from /proc where no command can be run.
func (h *host) processes(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	own, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	text, err := command(own, commandText, false, "ps", "fauxwww")
	sh.text("ps.txt", text)
	if len(text) == 0 {
		more, merr := patiently(ctx, 2*time.Second, func() ([]byte, error) { return processList(), nil })
		sh.text("ps.txt", more)
		err = worse(err, merr)
	}
	if !isAbsent(err) {
		sh.problem(err)
	}
	h.run(ctx, sh, "top.txt", "top", "-b", "-n", "1")
	return nil
}

// processList is what /proc says without asking for the memory of any process, which is what hangs ps.
func processList() []byte {
	var b bytes.Buffer
	b.WriteString("(from /proc: ps could not be run)\nPID PPID STATE RSS-KB NAME\n")
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		if open < 0 || end < open {
			continue
		}
		rest := strings.Fields(string(stat[end+1:]))
		if len(rest) < 22 {
			continue
		}
		var pages int64
		_, _ = fmt.Sscan(rest[21], &pages)
		fmt.Fprintf(&b, "%s %s %s %d %s\n", filepath.Base(d), rest[1], rest[0], pages*int64(os.Getpagesize())/1024, stat[open+1:end])
	}
	return b.Bytes()
}

// hasSystemd tells whether it is what started this host.
func (h *host) hasSystemd() bool {
	_, err := os.Stat(h.path("/run/systemd/system"))
	return err == nil
}

func (h *host) services(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	if !h.hasSystemd() {
		text, err := command(ctx, commandText, false, "service", "--status-all")
		sh.text("services.txt", text)
		return err
	}
	text, err := command(ctx, commandText, false, "systemctl", "list-units", "--no-pager", "--all")
	sh.text("services.txt", text)
	sh.problem(err)
	failed, _ := command(ctx, smallText, false, "systemctl", "list-units", "--no-pager", "--failed", "--no-legend", "--plain")
	sh.fact(func(f *facts) {
		for l := range bytes.Lines(failed) {
			if name, _, ok := strings.Cut(string(l), " "); ok {
				f.FailedUnits = append(f.FailedUnits, name)
			}
		}
	})
	return nil
}

func (h *host) units(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" || !h.hasSystemd() {
		return errAbsent
	}
	for _, u := range []struct{ unit, to string }{{"docker", "docker/docker.service"}, {"containerd", "docker/containerd.service"}, {"ecs", "ecs-agent/ecs.service"}, {"fairlead", "fairlead/fairlead.service"}} {
		text, err := command(ctx, smallText, false, "systemctl", "cat", "--no-pager", u.unit+".service")
		sh.shaped(u.to, asUnit, text)
		if len(text) == 0 && err != nil {
			err = fmt.Errorf("%s.service: %w", u.unit, errAbsent)
		}
		sh.problem(err)
	}
	for _, slice := range []string{"system.slice", "ecstasks.slice"} {
		text, err := command(ctx, commandText, false, "systemctl", "status", "--no-pager", "--full", slice)
		sh.text(slice, text)
		if len(text) == 0 {
			sh.problem(err)
		}
	}
	return nil
}

func (h *host) packages(ctx context.Context, sh *sheet) error {
	if h.o.Root != "/" {
		return errAbsent
	}
	text, err := command(ctx, commandText, false, "rpm", "-qa")
	if isAbsent(err) || len(text) == 0 {
		text, err = command(ctx, commandText, false, "dpkg", "--list")
	}
	sh.text("pkglist.txt", text)
	return err
}

func (h *host) iptables(ctx context.Context, sh *sheet) error {
	for _, t := range []string{"filter", "nat"} {
		h.run(ctx, sh, "iptables-"+t+".txt", "iptables", "-w", "2", "-nvL", "-t", t)
	}
	return nil
}

func (h *host) storage(ctx context.Context, sh *sheet) error {
	for _, name := range []string{"lvdisplay", "vgdisplay", "pvdisplay"} {
		h.run(ctx, sh, name+".txt", name)
	}
	return errIfEmpty(sh)
}

func (h *host) gpu(ctx context.Context, sh *sheet) error {
	if _, err := lookPath("nvidia-smi"); err != nil {
		return errAbsent
	}
	h.run(ctx, sh, "gpu/gpu-list.txt", "nvidia-smi", "-L")
	h.run(ctx, sh, "gpu/gpu-info.txt", "nvidia-smi", "-q")
	h.run(ctx, sh, "gpu/gpu-installed-kmod.txt", "modinfo", "nvidia")
	if list, err := filepath.Glob(h.path("/var/lib/dkms-archive/nvidia-open*")); err == nil && len(list) > 0 {
		sh.text("gpu/gpu-open-module.txt", []byte(strings.Join(list, "\n")+"\n"))
	}
	return nil
}
