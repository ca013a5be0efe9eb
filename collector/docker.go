package collector

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/fairlead/fairlead/collector/findings"
)

// The engine is asked over its socket for what it says word for word: types would drop what a newer one adds.

func engineClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
}

const pingWithin = 3 * time.Second

// ping tells whether the engine answers. Nothing else is asked of one that does not.
func (h *host) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingWithin)
	defer cancel()
	if _, err := os.Stat(h.o.Docker); err != nil {
		return fmt.Errorf("%w: no engine on %s", errAbsent, h.o.Docker)
	}
	_, err := fetch(ctx, h.engine, "http://docker/_ping", 1<<10)
	if err != nil {
		return fmt.Errorf("the engine on %s: %w", h.o.Docker, err)
	}
	return nil
}

// ask answers what the engine says.
func (h *host) ask(ctx context.Context, path string, within time.Duration) ([]byte, error) {
	if err := h.engineUp(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return fetch(ctx, h.engine, "http://docker"+path, 8*smallText)
}

// container is one, as the engine lists it or its folder on disk does.
type container struct {
	ID      string
	Names   []string
	Image   string
	Command string
	Created int64
	State   string
	Status  string
	Labels  map[string]string
	Ports   []struct {
		IP                      string
		PrivatePort, PublicPort int
		Type                    string
	}

	folder string // on disk, where it was found there
	fact   findings.Container
}

func (c container) name() string {
	if len(c.Names) == 0 {
		return ""
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

func (c container) short() string { return c.ID[:min(12, len(c.ID))] }

// list asks the engine for its containers, and the disk where the engine is silent. The error says what the engine did.
func (h *host) list(ctx context.Context) ([]container, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var list []container
	text, err := h.ask(ctx, "/containers/json?all=1", 5*time.Second)
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err == nil {
		return list, nil
	}
	list, _ = h.fromDisk(ctx)
	return list, err
}

// dataRoot is the engine's folder.
func (h *host) dataRoot(ctx context.Context) string {
	text, err := readFile(ctx, h.path("/etc/docker/daemon.json"), smallText)
	var c struct {
		DataRoot string `json:"data-root"`
		Graph    string `json:"graph"`
	}
	if err == nil && json.Unmarshal(text, &c) == nil && filepath.IsAbs(cmp.Or(c.DataRoot, c.Graph)) {
		return cmp.Or(c.DataRoot, c.Graph)
	}
	return "/var/lib/docker"
}

// onDisk is what is used of a container's config.v2.json.
type onDisk struct {
	ID           string
	Name         string
	Created      time.Time
	Driver       string
	RestartCount int
	Path         string
	Args         []string
	Config       struct {
		Image  string
		Env    []string
		Labels map[string]string
	}
	State struct {
		Running, Paused, OOMKilled, Dead bool
		ExitCode                         int
		Error                            string
		StartedAt, FinishedAt            time.Time
		Health                           *struct{ Status string }
	}
}

// maxContainers bounds what is looked at one by one.
const maxContainers = 500

// fromDisk reads the containers' folders.
func (h *host) fromDisk(ctx context.Context) ([]container, error) {
	dir := filepath.Join(h.dataRoot(ctx), "containers")
	entries, err := patiently(ctx, readWithin, func() ([]os.DirEntry, error) { return os.ReadDir(h.path(dir)) })
	if err != nil {
		return nil, err
	}
	var list []container
	for _, e := range entries {
		if len(e.Name()) != 64 || len(list) >= maxContainers || ctx.Err() != nil {
			continue
		}
		folder := filepath.Join(dir, e.Name())
		text, err := readFile(ctx, h.path(folder+"/config.v2.json"), 4*smallText)
		var d onDisk
		if err != nil || json.Unmarshal(text, &d) != nil {
			d.ID = e.Name() // being made or removed: its log may be there
		}
		c := container{ID: e.Name(), Names: []string{d.Name}, Image: d.Config.Image, Created: d.Created.Unix(), Labels: d.Config.Labels, folder: folder,
			Command: strings.Join(append([]string{d.Path}, d.Args...), " ")}
		c.State = "exited"
		switch {
		case d.State.Paused:
			c.State = "paused"
		case d.State.Running:
			c.State = "running"
		case d.State.Dead:
			c.State = "dead"
		case d.State.StartedAt.IsZero():
			c.State = "created"
		}
		c.Status = fmt.Sprintf("%s (%d) since %s", c.State, d.State.ExitCode, later(d.State.StartedAt, d.State.FinishedAt).UTC().Format(time.RFC3339))
		c.fact = findings.Container{ID: c.short(), Name: c.name(), Image: c.Image, State: c.State, OOMKilled: d.State.OOMKilled, ExitCode: d.State.ExitCode, Restarts: d.RestartCount, Error: d.State.Error}
		if d.State.Health != nil {
			c.fact.Health = d.State.Health.Status
		}
		if info, err := statFile(ctx, h.path(folder+"/"+e.Name()+"-json.log")); err == nil {
			c.fact.LogBytes = info.Size()
		}
		list = append(list, c)
	}
	return list, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// dockerVersion is the first that is asked of the engine, and says if nothing more can be.
func (h *host) dockerVersion(ctx context.Context, sh *sheet) error {
	err := h.engineUp(ctx)
	why := ""
	if err != nil {
		why = err.Error()
	}
	hung := isTimeout(err)
	sh.fact(func(f *facts) {
		f.Docker.Asked, f.Docker.Up, f.Docker.Hung, f.Docker.Why = true, err == nil, hung, why
		f.Docker.Absent = isAbsent(err)
	})
	if err != nil {
		sh.text("docker/docker-not-running.txt", fmt.Appendf(nil, "%v\n", err))
		if hung {
			h.engineProcess(ctx, sh)
		}
		return err
	}
	text, err := h.ask(ctx, "/version", 3*time.Second)
	sh.shaped("docker/docker-version.txt", asJSON, text)
	var v struct{ Version string }
	if json.Unmarshal(text, &v) == nil {
		sh.fact(func(f *facts) { f.Docker.Version = v.Version })
	}
	return err
}

// engineProcess says in what state dockerd and containerd are that do not answer: the kernel's own account of what they wait for.
func (h *host) engineProcess(ctx context.Context, sh *sheet) {
	text, err := patiently(ctx, 2*time.Second, func() ([]byte, error) {
		var b bytes.Buffer
		dirs, _ := filepath.Glob(h.path("/proc/[0-9]*"))
		for _, d := range dirs {
			name, err := os.ReadFile(d + "/comm")
			if n := strings.TrimSpace(string(name)); err != nil || n != "dockerd" && n != "containerd" {
				continue
			}
			status, _ := os.ReadFile(d + "/status")
			fmt.Fprintf(&b, "== %s %s\n%s", filepath.Base(d), name, status)
			tasks, _ := filepath.Glob(d + "/task/*")
			for _, t := range tasks {
				wchan, _ := os.ReadFile(t + "/wchan")
				stack, _ := os.ReadFile(t + "/stack")
				fmt.Fprintf(&b, "-- %s %s\n%s", filepath.Base(t), wchan, stack)
			}
		}
		return b.Bytes(), nil
	})
	sh.text("docker/engine-process.txt", text)
	sh.problem(err)
}

func (h *host) dockerInfo(ctx context.Context, sh *sheet) error {
	text, err := h.ask(ctx, "/info", 6*time.Second)
	sh.shaped("docker/docker-info.txt", asJSON, text)
	var i struct {
		Driver, LoggingDriver, DockerRootDir string
		LiveRestoreEnabled, Debug            bool
		Warnings                             []string
	}
	if json.Unmarshal(text, &i) == nil && i.Driver != "" {
		sh.fact(func(f *facts) {
			f.Docker.Driver, f.Docker.LogDriver, f.Docker.Debug, f.Docker.Warnings = i.Driver, i.LoggingDriver, i.Debug, i.Warnings
		})
	}
	return err
}

func (h *host) dockerPS(ctx context.Context, sh *sheet) error {
	list, err := h.listed(ctx)
	var b bytes.Buffer
	if err != nil {
		if len(list) == 0 {
			return err
		}
		b.WriteString("(from disk: the engine did not answer)\n")
	}
	t := tabwriter.NewWriter(&b, 0, 4, 3, ' ', 0)
	fmt.Fprintln(t, "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES")
	for _, c := range list {
		var ports []string
		for _, p := range c.Ports {
			text := fmt.Sprintf("%d/%s", p.PrivatePort, p.Type)
			if p.PublicPort != 0 {
				text = fmt.Sprintf("%s:%d->%s", p.IP, p.PublicPort, text)
			}
			ports = append(ports, text)
		}
		fmt.Fprintf(t, "%s\t%s\t%q\t%s\t%s\t%s\t%s\n", c.ID, c.Image, c.Command, time.Unix(c.Created, 0).UTC().Format(time.RFC3339), c.Status, strings.Join(ports, ", "), c.name())
	}
	t.Flush()
	sh.text("docker/docker-ps.txt", b.Bytes())
	return err
}

func (h *host) dockerImages(ctx context.Context, sh *sheet) error {
	text, err := h.ask(ctx, "/images/json", 6*time.Second)
	if err != nil {
		// The engine's own list of names, on disk.
		kept, derr := readFile(ctx, h.path(h.dataRoot(ctx)+"/image/overlay2/repositories.json"), 4*smallText)
		if derr == nil {
			sh.shaped("docker/docker-images.txt", asJSON, kept)
		}
		return err
	}
	var list []struct {
		ID       string `json:"Id"`
		RepoTags []string
		Created  int64
		Size     int64
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 4, 3, ' ', 0)
	fmt.Fprintln(t, "IMAGE ID\tSIZE\tCREATED\tREPOSITORY:TAG")
	for _, i := range list {
		id := strings.TrimPrefix(i.ID, "sha256:")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", id[:min(12, len(id))], human(uint64(max(0, i.Size))), time.Unix(i.Created, 0).UTC().Format(time.RFC3339), strings.Join(append(i.RepoTags, []string{"<none>"}[min(1, len(i.RepoTags)):]...), " "))
	}
	t.Flush()
	sh.text("docker/docker-images.txt", b.Bytes())
	return nil
}

// wanted tells whether a container is the one that was asked for, or whether none was.
func (h *host) wanted(c container) bool {
	w := h.o.Container
	return w == "" || strings.HasPrefix(c.ID, w) || c.name() == w
}

// dockerInspect asks for every container, some at a time; a first silence ends it, and the rest is read from disk.
func (h *host) dockerInspect(ctx context.Context, sh *sheet) error {
	list, err := h.listed(ctx)
	disk, _ := h.fromDisk(ctx)
	onDisk := map[string]container{}
	var found []findings.Container
	for _, c := range disk {
		onDisk[c.ID] = c
		found = append(found, c.fact)
	}
	sh.fact(func(f *facts) { f.Containers = found })
	var mu sync.Mutex // guards silent
	var silent error
	if err != nil {
		silent = err
	}
	var asked sync.WaitGroup
	limit := make(chan struct{}, 4)
	for i, c := range list {
		if !h.wanted(c) || i >= maxContainers {
			continue
		}
		asked.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			to := "docker/container-" + c.short() + ".txt"
			mu.Lock()
			stop := silent
			mu.Unlock()
			if stop == nil {
				text, err := h.ask(ctx, "/containers/"+url.PathEscape(c.ID)+"/json", 4*time.Second)
				if err == nil {
					sh.shaped(to, asJSON, text)
					return
				}
				if isTimeout(err) {
					mu.Lock()
					silent = err
					mu.Unlock()
				}
			}
			d, ok := onDisk[c.ID]
			if !ok {
				return
			}
			for _, name := range []string{"config.v2.json", "hostconfig.json"} {
				if text, err := readFile(ctx, h.path(d.folder+"/"+name), 4*smallText); err == nil {
					sh.shaped(strings.TrimSuffix(to, ".txt")+"-"+name, asJSON, text)
				}
			}
		})
	}
	asked.Wait()
	if silent != nil && isTimeout(silent) {
		sh.text("docker/container-inspect-timed-out.txt", fmt.Appendf(nil, "%v; what follows is from disk\n", silent))
	}
	return silent
}

func (h *host) dockerStats(ctx context.Context, sh *sheet) error {
	list, err := h.listed(ctx)
	if err != nil {
		return err
	}
	type row struct {
		c    container
		text []byte
	}
	rows := make([]row, 0, len(list))
	var mu sync.Mutex // guards rows
	var asked sync.WaitGroup
	limit := make(chan struct{}, 4)
	for _, c := range list {
		if c.State != "running" {
			continue
		}
		asked.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			text, err := h.ask(ctx, "/containers/"+url.PathEscape(c.ID)+"/stats?stream=false&one-shot=true", 4*time.Second)
			if err != nil {
				sh.problem(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			rows = append(rows, row{c, text})
		})
	}
	asked.Wait()
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.c.name(), b.c.name()) })
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 4, 3, ' ', 0)
	fmt.Fprintln(t, "CONTAINER ID\tNAME\tCPU SECONDS\tMEM USAGE / LIMIT\tNET I/O\tBLOCK I/O\tPIDS")
	var used []findings.Container
	for _, r := range rows {
		var s struct {
			CPU struct {
				Usage struct {
					Total uint64 `json:"total_usage"`
				} `json:"cpu_usage"`
			} `json:"cpu_stats"`
			Memory   struct{ Usage, Limit uint64 } `json:"memory_stats"`
			Networks map[string]struct {
				RX uint64 `json:"rx_bytes"`
				TX uint64 `json:"tx_bytes"`
			}
			Block struct {
				Bytes []struct {
					Op    string
					Value uint64
				} `json:"io_service_bytes_recursive"`
			} `json:"blkio_stats"`
			PIDs struct{ Current uint64 } `json:"pids_stats"`
		}
		if json.Unmarshal(r.text, &s) != nil {
			continue
		}
		var rx, tx, read, write uint64
		for _, n := range s.Networks {
			rx, tx = rx+n.RX, tx+n.TX
		}
		for _, e := range s.Block.Bytes {
			switch strings.ToLower(e.Op) {
			case "read":
				read += e.Value
			case "write":
				write += e.Value
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f\t%s / %s\t%s / %s\t%s / %s\t%d\n", r.c.ID, r.c.name(), float64(s.CPU.Usage.Total)/1e9, human(s.Memory.Usage), human(s.Memory.Limit), human(rx), human(tx), human(read), human(write), s.PIDs.Current)
		used = append(used, findings.Container{ID: r.c.short(), Name: r.c.name(), Memory: s.Memory.Usage, MemoryLimit: s.Memory.Limit})
	}
	t.Flush()
	sh.text("docker/docker-stats.txt", b.Bytes())
	sh.fact(func(f *facts) { f.Stats = used })
	return nil
}

// volumes lists them with the space they take.
func (h *host) volumes(ctx context.Context, sh *sheet) error {
	text, err := h.ask(ctx, "/volumes", 4*time.Second)
	sh.shaped("docker/docker-volumes.txt", asJSON, text)
	data := h.dataRoot(ctx) + "/volumes"
	entries, derr := patiently(ctx, readWithin, func() ([]os.DirEntry, error) { return os.ReadDir(h.path(data)) })
	if derr != nil {
		return worse(err, derr)
	}
	type volume struct {
		name  string
		bytes int64
		whole bool
		err   error
	}
	var list []volume
	until := time.Now().Add(5 * time.Second)
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		v := volume{name: e.Name()}
		if time.Now().Before(until) && len(list) < maxContainers {
			v.bytes, v.whole, v.err = h.du(ctx, data+"/"+e.Name(), 300*time.Millisecond)
		}
		list = append(list, v)
	}
	slices.SortStableFunc(list, func(a, b volume) int { return cmp.Compare(b.bytes, a.bytes) })
	var b bytes.Buffer
	for _, v := range list {
		more := " "
		if !v.whole {
			more = "+"
		}
		said := ""
		if v.err != nil {
			said = " " + v.err.Error()
		}
		fmt.Fprintf(&b, "%10s%s %s%s\n", human(uint64(v.bytes)), more, v.name, said)
	}
	sh.text("docker/volume-sizes.txt", b.Bytes())
	return err
}

func (h *host) dockerNetworks(ctx context.Context, sh *sheet) error {
	text, err := h.ask(ctx, "/networks", 4*time.Second)
	sh.shaped("docker/docker-networks.txt", asJSON, text)
	return err
}

// dockerEvents are those of the last hour that the engine remembers.
func (h *host) dockerEvents(ctx context.Context, sh *sheet) error {
	text, err := h.ask(ctx, fmt.Sprintf("/events?since=%d&until=%d", h.began.Add(-time.Hour).Unix(), h.began.Unix()), 4*time.Second)
	// One object a line: each is redacted as a document, and written as a line again.
	sh.add(member{path: "docker/docker-events.json", shape: asJSON, data: array(text)})
	return err
}

// array makes one document of a sequence of them.
func array(text []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(text))
	out := []byte{'['}
	for {
		var one json.RawMessage
		if d.Decode(&one) != nil {
			break
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, one...)
	}
	return append(out, ']')
}

func (h *host) dockerConfig(ctx context.Context, sh *sheet) error {
	for _, f := range []struct {
		to, from string
		s        shape
	}{{"docker/daemon.json", "/etc/docker/daemon.json", asJSON}, {"docker/sysconfig-docker", "/etc/sysconfig/docker", asText}, {"docker/sysconfig-docker-storage", "/etc/sysconfig/docker-storage", asText},
		{"docker/default-docker", "/etc/default/docker", asText}} {
		text, err := readFile(ctx, h.path(f.from), smallText)
		sh.shaped(f.to, f.s, text)
		if err != nil && !isAbsent(err) {
			sh.problem(err)
		}
		if f.to == "docker/daemon.json" && err == nil && !json.Valid(text) {
			sh.fact(func(f *facts) { f.Docker.BadConfig = true })
		}
	}
	return errIfEmpty(sh)
}

// containerLogs are the newest lines of each container's log, as `docker logs --timestamps` shows them.
func (h *host) containerLogs(ctx context.Context, sh *sheet) error {
	list, err := h.fromDisk(ctx)
	var wanted []container
	for _, c := range list {
		if h.wanted(c) {
			wanted = append(wanted, c)
		}
	}
	if len(wanted) == 0 {
		if h.o.Container != "" && err == nil {
			return fmt.Errorf("%w: no container %q", errAbsent, h.o.Container)
		}
		return worse(err, errAbsent)
	}
	part := int64(partOfContainers)
	if h.o.Container != "" {
		part = partOfContainer
	}
	each := max(h.o.MaxBytes/part/int64(len(wanted)), 16<<10)
	for _, c := range wanted {
		to := "container_logs/" + cmp.Or(c.name(), "unnamed") + "-" + c.short() + ".log"
		from := c.folder + "/" + c.ID + "-json.log"
		if _, err := statFile(ctx, h.path(from)); err == nil {
			left, old := each, false
			for _, rotated := range []string{"", ".1", ".1.gz"} { // a log that was just rotated has nothing in it
				info, err := statFile(ctx, h.path(from+rotated))
				if err != nil || info.Size() == 0 || left < 1<<10 {
					continue
				}
				if old = h.tooOld(info.ModTime()); !old {
					h.containerLog(sh, to+strings.TrimSuffix(rotated, ".gz"), from+rotated, left)
					left -= info.Size()
				}
			}
			if old && left == each && h.o.Container != "" {
				sh.problem(fmt.Errorf("%w: the log of %s ends before --since %v (--since 0 takes it)", errAbsent, h.o.Container, h.o.Since))
			}
			continue
		}
		since := int64(0)
		if at := h.since(); !at.IsZero() {
			since = at.Unix()
		}
		text, err := h.ask(ctx, fmt.Sprintf("/containers/%s/logs?stdout=1&stderr=1&timestamps=1&tail=2000&since=%d", c.ID, since), 3*time.Second)
		if err == nil || len(text) > 0 {
			sh.text(to, demultiplex(text))
		}
		if !isAbsent(err) {
			sh.problem(err)
		}
	}
	return nil
}

// containerLog adds a file of Docker's as text.
func (h *host) containerLog(sh *sheet, to, from string, limit int64) {
	sh.add(member{path: to, limit: limit, open: func(ctx context.Context, limit int64) (io.ReadCloser, time.Time, string, error) {
		f, err := openFile(ctx, h.path(from))
		r, at, note, err := textOf(f, err, from, limit)
		if err != nil {
			return nil, at, "", err
		}
		return newJSONLog(r, note != "", h.since()), at, note, nil
	}})
}
