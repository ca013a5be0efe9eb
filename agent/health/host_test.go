package health

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recorded is a host of which /proc, /sys and the kernel's answers were written down.
func recorded(t testing.TB, name string) *Host {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name, "kernel.json"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct {
		Now          time.Time
		InstanceType string `json:"instance_type"`
		Uname        []string
		Statfs       map[string][6]uint64
		Timex        struct {
			Status, Offset, Maxerror, Esterror int64
			Error                              bool
		}
	}
	if err := json.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Join("testdata", name, "root"))
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(root, kernel{
		now: func() time.Time { return k.Now },
		statfs: func(path string, to *unix.Statfs_t) error {
			v, ok := k.Statfs["/"+strings.TrimPrefix(strings.TrimPrefix(path, root), "/")]
			if !ok {
				return unix.ESTALE
			}
			to.Bsize, to.Blocks, to.Bfree, to.Bavail, to.Files, to.Ffree = int64(v[0]), v[1], v[2], v[3], v[4], v[5]
			return nil
		},
		adjtimex: func(to *unix.Timex) (int, error) {
			to.Status, to.Offset, to.Maxerror, to.Esterror = int32(k.Timex.Status), k.Timex.Offset, k.Timex.Maxerror, k.Timex.Esterror
			if k.Timex.Error {
				return unix.TIME_ERROR, nil
			}
			return unix.TIME_OK, nil
		},
		uname: func(to *unix.Utsname) error {
			for i, field := range []*[65]byte{&to.Sysname, &to.Release, &to.Version, &to.Machine, &to.Nodename, &to.Domainname} {
				copy(field[:], k.Uname[i])
			}
			return nil
		},
	})
	h.SetInstanceType(k.InstanceType)
	return h
}

var durations = regexp.MustCompile(`(?m)^(fairlead_health_collector_duration_seconds\{[^}]*\}) .*$`)

// scrape answers what an exporter shows, as Prometheus reads it.
func scrape(t testing.TB, c ...prometheus.Collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// golden compares with a file, without how long the collectors took.
func golden(t *testing.T, path, got string) {
	t.Helper()
	got = durations.ReplaceAllString(got, "$1 0")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (with -update it is written anew):\n%s", path, difference(got, string(want)))
	}
}

// difference lists the lines that only one of two texts has.
func difference(got, want string) string {
	var b strings.Builder
	has := func(text, line string) bool { return strings.Contains("\n"+text, "\n"+line) }
	for line := range strings.Lines(got) {
		if !has(want, line) {
			b.WriteString("+ " + line)
		}
	}
	for line := range strings.Lines(want) {
		if !has(got, line) {
			b.WriteString("- " + line)
		}
	}
	return b.String()
}

func TestRecordedHosts(t *testing.T) {
	for _, name := range []string{"al2", "al2023"} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(slog.New(slog.DiscardHandler), true, recorded(t, name).sources()...)
			text := scrape(t, e)
			golden(t, filepath.Join("testdata", name, "host.prom"), text)
			problems, err := promlint.New(strings.NewReader(text)).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				if !isNode(p.Metric) {
					t.Errorf("%s: %s", p.Metric, p.Text)
				}
			}
		})
	}
}

func TestNodeMetricsOff(t *testing.T) {
	text := scrape(t, newExporter(slog.New(slog.DiscardHandler), false, recorded(t, "al2").sources()...))
	if strings.Contains(text, "node_") {
		t.Errorf("there are node_* in\n%s", text)
	}
	if !strings.Contains(text, `fairlead_health_collector_success{collector="cpu"} 1`) {
		t.Errorf("the collectors do not show in\n%s", text)
	}
}

// A file system whose server is gone delays no scrape by more than its deadline, hides no other, and has one goroutine at a time.
func TestHungFileSystem(t *testing.T) {
	h := recorded(t, "al2")
	release := make(chan struct{})
	asked := make(chan string, 100)
	statfs := h.kernel.statfs
	h.kernel.statfs = func(path string, to *unix.Statfs_t) error {
		if strings.HasSuffix(path, "my data") {
			asked <- path
			<-release
		}
		return statfs(path, to)
	}
	for range 3 {
		started := time.Now()
		s := sink{node: true}
		if err := h.filesystems(context.Background(), &s); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took > 30*time.Second {
			t.Fatalf("took %s", took)
		}
		if got, want := len(s.samples), 2*7+2; got != want {
			t.Errorf("%d samples, want those of two file systems and two of the hung one: %d", got, want)
		}
	}
	if n := len(asked); n != 1 {
		t.Errorf("it was asked %d times while it hung, want once", n)
	}
	close(release)
}

// A source that hangs costs its deadline, is shown as failed, and is not begun anew; what it holds is not waited for.
func TestDeadline(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, 10)
	hung := &source{name: "hung", within: 50 * time.Millisecond, collect: func(context.Context, *sink) error {
		begun <- struct{}{}
		<-release
		return nil
	}}
	sound := &source{name: "sound", within: time.Minute, collect: func(_ context.Context, s *sink) error {
		s.add(load1, 1)
		return nil
	}}
	e := newExporter(slog.New(slog.DiscardHandler), true, hung, sound)
	for range 3 {
		started := time.Now()
		text := scrape(t, e)
		if took := time.Since(started); took > 10*time.Second {
			t.Fatalf("a scrape took %s", took)
		}
		for _, want := range []string{`success{collector="hung"} 0`, `success{collector="sound"} 1`, "node_load1 1"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
	}
	if n := len(begun); n != 1 {
		t.Errorf("begun %d times, want once", n)
	}
	close(release)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(scrape(t, e), `success{collector="hung"} 1`); {
		if time.Now().After(deadline) {
			t.Fatal("it does not recover")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSeriesAreCapped(t *testing.T) {
	many := &source{name: "many", within: 5 * time.Second, collect: func(_ context.Context, s *sink) error {
		for i := range 2 * maxSeries {
			s.add(diskNow, 1, "disk"+string(rune('a'+i%26))+strings.Repeat("x", i/26))
		}
		return nil
	}}
	few := &source{name: "few", within: 5 * time.Second, collect: func(_ context.Context, s *sink) error { s.add(load1, 1); return nil }}
	e := newExporter(slog.New(slog.DiscardHandler), true, few, many)
	text := scrape(t, e)
	if n := strings.Count(text, "\n") - strings.Count(text, "# "); n != maxSeries {
		t.Errorf("%d samples, want %d", n, maxSeries)
	}
	if !strings.Contains(text, "node_load1 1\n") {
		t.Error("a source that comes first lost its sample to one that comes later")
	}
	if strings.Contains(text, `dropped_series_total{collector="many"} 0`) {
		t.Error("what was left out is not counted")
	}
}

func TestCompareVersions(t *testing.T) {
	rising := []string{"4.14.99-280.1.amzn2", "4.14.355-280.708.amzn2", "5.10.9", "5.10.230-223.885.amzn2.x86_64", "6.1.134-150.224.amzn2023", "6.1.141-155.222.amzn2023"}
	for i, a := range rising {
		for j, b := range rising {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("compareVersions(%q, %q) = %d", a, b, got)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		if x, y := compareVersions(a, b), compareVersions(b, a); (x < 0) != (y > 0) || (x == 0) != (y == 0) {
			t.Errorf("%q and %q: %d one way, %d the other", a, b, x, y)
		}
	})
}

func TestParseEBS(t *testing.T) {
	page := make([]byte, ebsLogBytes)
	copy(page, []byte{0x10, 0xb5, 0x23, 0x3c})
	page[56], page[72+2], page[88] = 64, 1, 7
	got, err := parseEBS(page)
	if want := (ebsStatistics{volumeIOPS: 64e-6, instanceIOPS: 65536e-6, queue: 7}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := parseEBS(make([]byte, ebsLogBytes)); err == nil {
		t.Error("a page without the magic was taken")
	}
	if _, err := parseEBS(page[:90]); err == nil {
		t.Error("a short page was taken")
	}
}

func TestCredits(t *testing.T) {
	boot := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	c := credits{perHour: 24}
	c.reckon(boot.Add(10*time.Hour), boot, 100) // earned 240, spent 100
	if c.left != 140 {
		t.Errorf("%g left, want 140", c.left)
	}
	c.reckon(boot.Add(11*time.Hour), boot, 100+84) // earned 24, spent 84: 60 an hour more than earned
	if c.left != 80 || c.rate != 84 {
		t.Errorf("%g left at %g an hour, want 80 at 84", c.left, c.rate)
	}
	if got, want := c.untilEmpty(), 80.0/60*3600; got != want {
		t.Errorf("empty in %g s, want %g", got, want)
	}
	c.reckon(boot.Add(100*time.Hour), boot, 100+84)
	if c.left != 24*24 {
		t.Errorf("%g left after days of rest, want the most it can be, %d", c.left, 24*24)
	}
}

// Whatever a file of /proc holds, reading it gives numbers or an error, and no panic.
func FuzzProc(f *testing.F) {
	for _, name := range []string{"proc/stat", "proc/meminfo", "proc/diskstats", "proc/net/dev", "proc/1/mountinfo", "proc/loadavg", "proc/vmstat"} {
		text, err := os.ReadFile(filepath.Join("testdata/al2/root", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	root := f.TempDir()
	for _, dir := range []string{"proc/1", "proc/net", "proc/pressure", "proc/sys/fs"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, name := range []string{"stat", "meminfo", "diskstats", "net/dev", "1/mountinfo", "loadavg", "vmstat", "pressure/io", "sys/fs/file-nr"} {
			if err := os.WriteFile(filepath.Join(root, "proc", name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		h := newHost(root, kernel{statfs: func(string, *unix.Statfs_t) error { return nil }, now: time.Now})
		s := sink{node: true}
		for _, read := range []func(context.Context, *sink) error{h.cpu, h.memory, h.vmstat, h.load, h.pressure, h.filesystems, h.disks, h.network, h.limits} {
			_ = read(t.Context(), &s)
		}
		list, _ := h.mounts()
		if len(list) > maxMounts {
			t.Errorf("%d mounts, want at most %d", len(list), maxMounts)
		}
		for i := range len(text) {
			if text[i] == '\\' {
				return
			}
		}
		if got := unescape(text); got != string(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func BenchmarkHost(b *testing.B) {
	e := newExporter(slog.New(slog.DiscardHandler), true, NewHost().sources()...)
	for b.Loop() {
		scrape(b, e)
	}
}
