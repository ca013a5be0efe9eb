package forwarder

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	fluentlogger "github.com/fluent/fluent-logger-golang/fluent"

	"github.com/fairlead/fairlead/forwarder/metadata"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/receiver"
)

// spec is a container as a test wants it.
type spec struct {
	name, image string
	labels      map[string]string
	driver      string // empty: json-file
}

var ecsLabels = map[string]string{
	"com.amazonaws.ecs.cluster":                 "prod",
	"com.amazonaws.ecs.task-arn":                "arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba98",
	"com.amazonaws.ecs.task-definition-family":  "web",
	"com.amazonaws.ecs.task-definition-version": "12",
	"com.amazonaws.ecs.container-name":          "nginx",
}

func with(labels map[string]string, more ...string) map[string]string {
	all := maps.Clone(labels)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// folder makes a container's folder, without a configuration yet.
func (l *lab) folder(n int) (id string) {
	l.t.Helper()
	id = fmt.Sprintf("%064x", n)
	if err := os.Mkdir(filepath.Dir(l.log(id)), 0o700); err != nil {
		l.t.Fatal(err)
	}
	return id
}

// describe writes a container's configuration as Docker does: one file after the other, each by rename.
func (l *lab) describe(id string, c spec) {
	l.t.Helper()
	if c.driver == "" {
		c.driver = "json-file"
	}
	for _, f := range []struct {
		name string
		v    any
	}{
		{"config.v2.json", map[string]any{"Name": "/" + c.name, "Image": "sha256:1", "Config": map[string]any{"Image": c.image, "Labels": c.labels}}},
		{"hostconfig.json", map[string]any{"LogConfig": map[string]any{"Type": c.driver}}},
	} {
		text, err := json.Marshal(f.v)
		if err != nil {
			l.t.Fatal(err)
		}
		path := filepath.Join(filepath.Dir(l.log(id)), f.name)
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".tmp-"+f.name), text, 0o600); err != nil {
			l.t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(filepath.Dir(path), ".tmp-"+f.name), path); err != nil {
			l.t.Fatal(err)
		}
	}
}

// arrived collects the fields of what arrives, by text.
type arrived struct {
	mu     sync.Mutex
	fields map[string]map[string]string
}

func (l *lab) collect() *arrived {
	a := &arrived{fields: map[string]map[string]string{}}
	l.each = func(e *receiver.Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		f := map[string]string{"tag": e.Tag}
		for _, k := range slices.Concat(reserved, []string{"team", "absent"}) {
			if v := e.Field(k); v != nil && k != "log" {
				f[k] = string(v)
			}
		}
		a.fields[string(e.Field("log"))] = f
	}
	return a
}

func (a *arrived) of(t *testing.T, text string) map[string]string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		a.mu.Lock()
		f := a.fields[text]
		a.mu.Unlock()
		if f != nil {
			return f
		}
	}
	t.Fatalf("%q did not arrive", text)
	return nil
}

// until waits for something to become so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for too long: ", what)
		}
	}
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func TestNames(t *testing.T) {
	l := newLab(t)
	l.cfg.Sources.Containers.Labels = []string{"team", "absent"}
	l.cfg.Sources.Containers.Tag = "{{or .ECSTaskFamily .ContainerName}}.{{.Image}}"
	a := l.collect()
	task, plain, nameless := l.folder(1), l.folder(2), l.folder(3)
	l.describe(task, spec{name: "ecs-web-12-nginx-0123", image: "reg:5000/nginx:1.27", labels: with(ecsLabels, "team", "shop")})
	l.describe(plain, spec{name: "cron", image: "busybox"})
	for _, id := range []string{task, plain, nameless} {
		l.append(l.log(id), records([]string{"of " + id[63:]}, "stdout"))
	}
	l.start()
	same(t, "a container of a task", a.of(t, "of 1"), map[string]string{"tag": "web.reg_5000_nginx_1.27", "source": "stdout", "container_id": task,
		"container_name": "/ecs-web-12-nginx-0123", "ecs_cluster": "prod", "ecs_task_arn": "arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba98",
		"ecs_task_definition": "web:12", "ecs_container_name": "nginx", "team": "shop"})
	same(t, "a container of its own", a.of(t, "of 2"), map[string]string{"tag": "cron.busybox", "source": "stdout", "container_id": plain, "container_name": "/cron"})
	same(t, "a container without a configuration", a.of(t, "of 3"), map[string]string{"tag": nameless[:12] + ".", "source": "stdout", "container_id": nameless})

	// A rename goes for the next start: the tag holds to the end of the source.
	l.describe(plain, spec{name: "renamed", image: "busybox"})
	l.append(l.log(plain), records([]string{"after the rename"}, "stdout"))
	if f := a.of(t, "after the rename"); f["tag"] != "cron.busybox" || f["container_name"] != "/cron" {
		t.Errorf("after a rename: %v", f)
	}
	l.balanced()
}

// A container may be gone when its log is read: its name was taken when the engine wrote it, which is before it starts the container.
func TestNameOfWhatIsGone(t *testing.T) {
	l := newLab(t)
	a := l.collect()
	l.start()
	id := l.folder(1)
	l.describe(id, spec{name: "short", image: "busybox", labels: ecsLabels})
	until(t, "the name", func() bool {
		l.f.disc.mu.Lock()
		defer l.f.disc.mu.Unlock()
		s := l.f.disc.sources[l.log(id)]
		return s != nil && s.known()
	})
	for _, name := range []string{"config.v2.json", "hostconfig.json"} {
		if err := os.Remove(filepath.Join(filepath.Dir(l.log(id)), name)); err != nil {
			t.Fatal(err)
		}
	}
	l.append(l.log(id), records([]string{"last words"}, "stderr"))
	if f := a.of(t, "last words"); f["tag"] != "docker.short" || f["ecs_container_name"] != "nginx" {
		t.Errorf("%v", f)
	}
}

// The configuration is read when it is written, not when somebody comes by.
func TestNameAtOnce(t *testing.T) {
	l := newLab(t)
	id := l.folder(1)
	dir := filepath.Dir(l.log(id))
	d := newDiscovery(l.cfg.Sources, slog.New(slog.DiscardHandler), newTimerAlarm(), nil, nil, nil)
	defer d.alarm.close()
	d.container(dir, time.Now())
	s := d.sources[l.log(id)]
	if s == nil || s.found.Load() != nil {
		t.Fatalf("a folder without anything in it: %+v", s)
	}
	d.handle([]tail.Hint{{Dir: dir, Name: ".tmp-config.v2.json"}})
	l.describe(id, spec{name: "web", image: "nginx", driver: "local"})
	host := filepath.Join(dir, "hostconfig.json")
	if err := os.Rename(host, host+".later"); err != nil {
		t.Fatal(err)
	}
	d.handle([]tail.Hint{{Dir: dir, Name: "config.v2.json"}})
	if c := s.found.Load(); c == nil || c.Name != "/web" || c.excluded != "" {
		t.Fatalf("config.v2.json was written: %+v", c)
	}
	if err := os.Rename(host+".later", host); err != nil {
		t.Fatal(err)
	}
	d.handle([]tail.Hint{{Dir: dir, Name: "hostconfig.json"}})
	if c := s.found.Load(); c.excluded != "log driver local" || !s.unwanted() {
		t.Errorf("hostconfig.json was written: %+v", c)
	}
}

func TestExclude(t *testing.T) {
	l := newLab(t)
	l.cfg.Sources.Containers.Exclude = []string{"noisy-*", "registry.example.com/*", "team=shop", "quiet="}
	a := l.collect()
	reasons := map[string]string{}
	var want []string
	for i, c := range []struct {
		spec
		reason string
	}{
		{spec{name: "web", image: "nginx:1.27"}, ""},
		{spec{name: "noisy-1", image: "busybox"}, "sources.containers.exclude: noisy-*"},
		{spec{name: "a", image: "registry.example.com/team/app:1"}, "sources.containers.exclude: registry.example.com/*"},
		{spec{name: "b", image: "busybox", labels: map[string]string{"team": "shop"}}, "sources.containers.exclude: team=shop"},
		{spec{name: "c", image: "busybox", labels: map[string]string{"team": "shopping"}}, ""},
		{spec{name: "d", image: "busybox", labels: map[string]string{"quiet": ""}}, "sources.containers.exclude: quiet="},
		{spec{name: "e", image: "busybox", labels: map[string]string{"quiet": "no"}}, ""},
		{spec{name: "f", image: "amazon/amazon-ecs-pause:0.1.0"}, "pause container of an ECS task"},
		{spec{name: "ecs-web-12-internalecspause-01", image: "p", labels: with(ecsLabels, "com.amazonaws.ecs.container-name", "~internal~ecs~pause")}, "pause container of an ECS task"},
		{spec{name: "xnoisy-1", image: "example.com/registry.example.com/x"}, ""},
	} {
		id := l.folder(i)
		l.describe(id, c.spec)
		l.append(l.log(id), records([]string{c.name}, "stdout"))
		if c.reason != "" {
			reasons[c.name] = c.reason
		} else {
			want = append(want, c.name)
		}
	}
	cached := l.folder(100)
	l.describe(cached, spec{name: "fluentd", image: "busybox", driver: "fluentd"})
	reasons["fluentd"] = "log driver fluentd"
	l.start()
	for _, name := range want {
		a.of(t, name)
	}
	// One that is made now and becomes known a moment after its folder is there.
	late := l.folder(101)
	until(t, "the folder", func() bool {
		l.f.disc.mu.Lock()
		defer l.f.disc.mu.Unlock()
		return l.f.disc.sources[l.log(late)] != nil
	})
	l.describe(late, spec{name: "noisy-late", image: "busybox"})
	reasons["noisy-late"] = "sources.containers.exclude: noisy-*"
	until(t, "the late one to be excluded", func() bool { return len(l.f.Status().Excluded) == len(reasons) })
	l.append(l.log(late), records([]string{"noisy-late"}, "stdout"))
	web := l.log(fmt.Sprintf("%064x", 0))
	l.append(web, records([]string{"the end"}, "stdout"))
	a.of(t, "the end")

	st := l.f.Status()
	got := map[string]string{}
	for _, e := range st.Excluded {
		got[e.Name] = e.Reason
	}
	same(t, "excluded", got, reasons)
	if len(st.Sources) != len(want) {
		t.Errorf("%d sources, want %d: what is excluded costs nothing", len(st.Sources), len(want))
	}
	a.mu.Lock()
	for name := range reasons {
		if a.fields[name] != nil {
			t.Errorf("%s arrived though it is excluded", name)
		}
	}
	a.mu.Unlock()
	// Excluded containers that go are forgotten; what was written meanwhile is there when a container is no longer excluded.
	if err := os.RemoveAll(filepath.Dir(l.log(cached))); err != nil {
		t.Fatal(err)
	}
	until(t, "the removed one to be forgotten", func() bool { return len(l.f.Status().Excluded) == len(reasons)-1 })
	l.stop()
	l.cfg.Sources.Containers.Exclude = nil
	l.start()
	for _, name := range []string{"noisy-1", "a", "b", "d", "noisy-late"} {
		a.of(t, name)
	}
	l.await(fmt.Sprintf("%064x", 0), "web", "the end") // and nothing else is read again
	l.balanced()
}

// What was read before a container was excluded keeps its place.
func TestExcludeKeepsPositions(t *testing.T) {
	l := newLab(t)
	id := l.folder(1)
	l.describe(id, spec{name: "web", image: "nginx"})
	l.append(l.log(id), records(numbered(0, 10), "stdout"))
	l.start()
	l.await(id, numbered(0, 10)...)
	l.stop()
	l.cfg.Sources.Containers.Exclude = []string{"web"}
	l.start()
	l.append(l.log(id), records(numbered(10, 20), "stdout"))
	other := l.folder(2)
	l.describe(other, spec{name: "other", image: "nginx"})
	l.append(l.log(other), records([]string{"x"}, "stdout"))
	l.await(other, "x")
	l.stop()

	// Also where that it is excluded comes to be known only when it is a source already.
	dir := filepath.Dir(l.log(id))
	for _, name := range []string{"config.v2.json", filepath.Base(l.log(id))} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(l.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	until(t, "the source", func() bool { return len(l.f.Status().Sources) == 2 })
	l.describe(id, spec{name: "web", image: "nginx"})
	until(t, "the source to be dropped", func() bool { st := l.f.Status(); return len(st.Sources) == 1 && len(st.Excluded) == 1 })
	l.append(l.log(other), records([]string{"y"}, "stdout"))
	l.await(other, "x", "y") // a record that could forget marks
	l.stop()
	if err := os.Rename(filepath.Join(l.dir, filepath.Base(l.log(id))), l.log(id)); err != nil {
		t.Fatal(err)
	}
	l.cfg.Sources.Containers.Exclude = nil
	l.start()
	l.await(id, numbered(0, 20)...)
	l.balanced()
}

// Events of Docker's fluentd driver have what this host knows of the container, except what the client said itself.
func TestInboundNames(t *testing.T) {
	l := newLab(t)
	l.cfg.Sources.Containers.Labels = []string{"team"}
	l.cfg.Sources.Listen.TCP = "127.0.0.1:0"
	a := l.collect()
	id, other := l.folder(1), l.folder(2)
	l.describe(id, spec{name: "ecs-web-12-nginx-0123", image: "nginx", labels: with(ecsLabels, "team", "shop"), driver: "fluentd"})
	l.describe(other, spec{name: "other", image: "nginx", labels: ecsLabels, driver: "fluentd"})
	l.start()
	f := l.client(fluentlogger.Config{})
	record := func(id, log string, more ...string) map[string]string {
		return with(map[string]string{"container_id": id, "container_name": "/said", "source": "stderr", "log": log}, more...)
	}
	l.post(f, time.Now(), record(id, "one"))
	l.post(f, time.Now(), record(other, "two", "ecs_cluster", "said", "team", "said"))
	l.post(f, time.Now(), record("../1", "three"))
	full := map[string]string{"tag": "app", "source": "stderr", "container_id": id, "container_name": "/said", "ecs_cluster": "prod",
		"ecs_task_arn": "arn:aws:ecs:eu-west-1:111122223333:task/prod/fedcba98", "ecs_task_definition": "web:12", "ecs_container_name": "nginx", "team": "shop"}
	same(t, "a container of this host", a.of(t, "one"), full)
	same(t, "what the client said holds", a.of(t, "two"), with(full, "container_id", other, "ecs_cluster", "said", "team", "said"))
	same(t, "no container of this host", a.of(t, "three"), map[string]string{"tag": "app", "source": "stderr", "container_id": "../1", "container_name": "/said"})
	l.f.SetInstance("i-0abc")
	l.post(f, time.Now(), record(id, "four"))
	same(t, "once the instance is known", a.of(t, "four"), with(full, "ec2_instance_id", "i-0abc"))
	l.post(f, time.Now(), record(other, "five", "ec2_instance_id", "said"))
	if got := a.of(t, "five")["ec2_instance_id"]; got != "said" {
		t.Errorf("instance %q, want what the client said", got)
	}
	l.balanced()
}

// The instance's id may come later than the first events, also those of streams that go on.
func TestInstance(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		t.Run(fmt.Sprint(wanted), func(t *testing.T) {
			l := newLab(t)
			l.cfg.Record.Instance = wanted
			plain := filepath.Join(l.dir, "app.log")
			l.cfg.Sources.Files = []Files{{Path: plain, Tag: "app"}}
			a := l.collect()
			id := l.container(1)
			l.append(l.log(id), records([]string{"before"}, "stdout"))
			l.start()
			if f := a.of(t, "before"); f["ec2_instance_id"] != "" {
				t.Errorf("an id that nobody said: %v", f)
			}
			l.f.SetInstance("i-0abc")
			l.f.SetInstance("i-other")
			want := map[bool]string{true: "i-0abc"}[wanted]
			n := 0
			until(t, "the id in a stream that goes on", func() bool {
				n++
				text := fmt.Sprint("after ", n)
				l.append(l.log(id), records([]string{text}, "stdout"))
				return a.of(t, text)["ec2_instance_id"] == want
			})
			l.append(plain, "plain\n")
			if f := a.of(t, "plain"); f["ec2_instance_id"] != want {
				t.Errorf("a plain file's: %v, want %q", f, want)
			}
		})
	}
}

func TestTag(t *testing.T) {
	task := metadata.Container{ID: strings.Repeat("0123456789abcdef", 4), Name: "/ecs-web-12-nginx-01", Image: "nginx:1.27", Labels: with(ecsLabels, "team", "a b/ö")}
	for _, c := range []struct{ template, want, bare string }{
		{"docker.{{.ContainerName}}", "docker.ecs-web-12-nginx-01", "docker.0123456789ab"},
		{"{{.ContainerID}}", task.ID, task.ID},
		{"c.{{.ShortID}}.{{.Image}}", "c.0123456789ab.nginx_1.27", "c.0123456789ab."},
		{"{{.ECSCluster}}.{{.ECSTaskFamily}}.{{.ECSTaskRevision}}.{{.ECSTaskID}}.{{.ECSContainerName}}", "prod.web.12.fedcba98.nginx", "docker.0123456789ab"},
		{"{{with .ECSTaskFamily}}ecs.{{.}}{{else}}docker.{{.ContainerName}}{{end}}", "ecs.web", "docker.0123456789ab"},
		{"t.{{.ECSTaskARN}}", "t.arn_aws_ecs_eu-west-1_111122223333_task_prod_fedcba98", "t."},
		{`x.{{index .Labels "team"}}`, "x.a_b___", "x."},
		{`x.{{.Labels.team}}`, "x.a_b___", "x."},
		{`x.{{slice .ECSTaskFamily 0 2}}`, "x.we", "docker.0123456789ab"}, // which fails for the second
		{"{{if eq .Image \"nginx:1.27\"}}yes{{else}}no{{end}}", "yes", "no"},
		{`{{range .Labels}}{{.}}{{.}}{{.}}{{.}}{{.}}{{.}}{{end}}`, "", "docker.0123456789ab"},
	} {
		tags, err := parseTag(c.template)
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		if got, _ := tags.tag(task); got != c.want && c.want != "" || len(got) > maxTag {
			t.Errorf("%s: got %q, want %q", c.template, got, c.want)
		}
		if got, err := tags.tag(metadata.Container{ID: task.ID}); got != c.bare {
			t.Errorf("%s of a container without a configuration: got %q, %v, want %q", c.template, got, err, c.bare)
		}
	}
	for template, want := range map[string]string{
		"":                         "it is empty",
		"  ":                       "it is empty",
		"docker.{{.Name":           "unclosed action",
		"docker.{{.ContainrName}}": "there is no .ContainrName: did you mean .ContainerName? (there are .ContainerName .ContainerID .ShortID",
		"{{if .ECSCluster}}a{{else}}{{.X}}{{end}}": "there is no .X",
		"docker/{{.ContainerName}}":                "not fit for a tag",
		"docker {{.ContainerName}}":                "not fit for a tag",
		"docker.{{.ContainerName | frobnicate}}":   `function "frobnicate" not defined`,
	} {
		_, err := parseTag(template)
		if err == nil || !strings.HasPrefix(err.Error(), "sources.containers.tag: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", template, err, want)
		}
	}
}

func TestContainersRefused(t *testing.T) {
	for want, change := range map[string]func(*Containers){
		`sources.containers.exclude[1]: "[a": use *`:                      func(c *Containers) { c.Exclude = []string{"ok", "[a"} },
		`sources.containers.exclude[0]: "": it fits no container`:         func(c *Containers) { c.Exclude = []string{""} },
		`sources.containers.exclude[0]: "=x": no label`:                   func(c *Containers) { c.Exclude = []string{"=x"} },
		`sources.containers.exclude[0]: "/web": names begin without`:      func(c *Containers) { c.Exclude = []string{"/web"} },
		`sources.containers.labels[0]: is empty`:                          func(c *Containers) { c.Labels = []string{""} },
		`sources.containers.labels[1]: "a" is named twice`:                func(c *Containers) { c.Labels = []string{"a", "a"} },
		`sources.containers.labels[0]: "a=b": give the label's name`:      func(c *Containers) { c.Labels = []string{"a=b"} },
		`sources.containers.labels[0]: "level" is a field of every event`: func(c *Containers) { c.Labels = []string{"level"} },
		`sources.containers.tag: "{{.X}}": there is no .X`:                func(c *Containers) { c.Tag = "{{.X}}" },
	} {
		cfg := DefaultConfig()
		change(&cfg.Sources.Containers)
		if err := cfg.Sources.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
