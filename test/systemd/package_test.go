package systemd

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// packages are built once, of this tree, as two versions.
var packages = sync.OnceValues(func() (dir string, err error) {
	if dir, err = filepath.Abs(filepath.Join("..", "..", "bin", "packages")); err != nil {
		return "", err
	}
	for i, version := range []string{"1.0.0", "1.1.0"} {
		c := exec.Command("go", "run", "./packaging/release", "-arch", "amd64", "-formats", "deb,rpm", "-version", version, "-commit", "test",
			"-date", strconv.Itoa(1767225600+i), "-out", filepath.Join(dir, version))
		c.Dir = filepath.Join("..", "..")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", c.Args, err, out)
		}
	}
	return dir, nil
})

// withPackages is a booted host without fairlead, with the packages in /srv: old.deb, new.deb, old.rpm, new.rpm.
func withPackages(t *testing.T) *Machine {
	t.Helper()
	Image(t)
	dir, err := packages()
	if err != nil {
		if strings.Contains(err.Error(), "module lookup disabled") || strings.Contains(err.Error(), "dial tcp") {
			t.Skipf("nfpm is not in the module cache, and cannot be fetched: %v", err)
		}
		t.Fatal(err)
	}
	files := slices.DeleteFunc(Instance(t, "#cloud-config\nfairlead: {ecs: {settings: {ECS_CLUSTER: blue}}}\n"), func(f File) bool {
		return f.Path == "/usr/bin/fairlead" || strings.HasPrefix(f.Path, "/usr/lib/systemd/system/fairlead")
	})
	files = append(files, File{Path: "/usr/libexec/load", From: Build(t, "github.com/fairlead/fairlead/test/load"), Mode: 0o755})
	for name, version := range map[string]string{"old": "1.0.0", "new": "1.1.0"} {
		for _, format := range []string{"deb", "rpm"} {
			files = append(files, File{Path: "/srv/" + name + "." + format, From: filepath.Join(dir, version, "fairlead_"+version+"_linux_amd64."+format)})
		}
	}
	return Boot(t, files)
}

// runs waits until the daemon of a version runs.
func (m *Machine) runs(version string) {
	m.t.Helper()
	m.Until("fairlead "+version+" runs", func() bool {
		out, code := m.Try("fairlead", "status", "--json")
		var s struct{ Version string }
		return code == 0 && json.Unmarshal([]byte(out), &s) == nil && s.Version == version
	})
}

const toLoad = "# edited\nforward: {to: [\"127.0.0.1:24230\"], grace: 2s}\nhealth: {listen: \"\"}\n"

// load is what became of what was written while the machine went through something.
type load struct {
	Written, Arrived, Missing, Repeated int
	Refused, Broken                     int64
	SlowestConnect                      string
	Lost, Errors                        []string
}

// underLoad does something to the machine while lines are written in every way, and demands that each arrives and nobody is refused. A kill may
// take along what lay unread in connections that had carried nothing before: the service manager does not have these yet.
func (m *Machine) underLoad(what string, killed bool, do func()) {
	m.t.Helper()
	m.Run("systemd-run", "-q", "--unit=load", "-p", "TimeoutStopSec=90", "/usr/libexec/load")
	time.Sleep(time.Second) // some of it before
	do()
	time.Sleep(time.Second) // and after
	m.Run("systemctl", "stop", "load.service")
	lines := strings.Split(strings.TrimSpace(m.Run("journalctl", "--no-pager", "-b", "-o", "cat", "-u", "load.service", "--grep", "Written")), "\n")
	var l load
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil {
		m.t.Fatalf("%q: %v", lines, err)
	}
	m.t.Logf("%s: %+v", what, l)
	if killed {
		l.Lost = slices.DeleteFunc(l.Lost, func(lost string) bool { return strings.HasPrefix(lost, "short") })
	}
	if l.Written < 500 || len(l.Lost) > 0 || l.Missing > 0 && !killed || l.Refused > 0 || l.Broken > 0 || len(l.Errors) > 0 {
		m.t.Errorf("%s: %+v", what, l)
	}
	m.Sh("rm -rf /var/lib/docker/containers/5a*")
	m.Try("systemctl", "reset-failed", "load.service")
}

// The life of the Debian package on a host: installed, upgraded and rolled back under load, killed, removed, purged.
func TestDeb(t *testing.T) {
	t.Parallel()
	m := withPackages(t)
	m.Run("dpkg", "-i", "/srv/old.deb")
	for _, unit := range []string{"fairlead.service", "fairlead.socket", "fairlead-render.service"} {
		enabled, _ := m.Try("systemctl", "is-enabled", unit)
		if got := strings.TrimSpace(enabled) + " " + m.Property(unit, "ActiveState"); got != "enabled inactive" {
			t.Errorf("after the installation %s is %s", unit, got)
		}
	}
	if out, code := m.Try("fairlead", "check"); code != 0 {
		t.Errorf("the configuration that is installed: %s", out)
	}
	m.Put(File{Path: "/etc/fairlead/fairlead.yaml", Text: toLoad, Mode: 0o600}, File{Path: "/etc/fairlead/conf.d/10-mine.yaml", Text: "spool: {max_bytes: 64MiB}\n"})

	// The agent starts with what fairlead rendered, once.
	m.Reboot()
	m.runs("1.0.0")
	if s := m.Starts(); s[len(s)-1].File["ECS_CLUSTER"] != "blue" || len(s) != 2 {
		t.Errorf("starts of the agent, one before the installation: %v", s)
	}
	t.Logf("render took %s", m.took("fairlead-render.service"))
	for _, unit := range []string{"fairlead.service", "fairlead-render.service"} {
		out := m.Run("systemd-analyze", "security", "--no-pager", unit)
		found := regexp.MustCompile(`exposure level for \S+: ([\d.]+)`).FindStringSubmatch(out)
		if found == nil {
			t.Fatalf("systemd-analyze security:\n%s", out)
		}
		if score, err := strconv.ParseFloat(found[1], 64); err != nil || score > 4.0 {
			t.Errorf("systemd-analyze security gives %s %s, want at most 4.0:\n%s", unit, found[1], out)
		}
		t.Logf("exposure of %s: %s", unit, found[1])
	}

	m.underLoad("upgrade", false, func() {
		m.Run("dpkg", "-i", "/srv/new.deb")
		m.runs("1.1.0")
	})
	m.underLoad("kill -9", true, func() {
		m.Run("systemctl", "kill", "-s", "KILL", "fairlead.service")
		m.runs("1.1.0")
	})
	m.underLoad("roll back", false, func() {
		m.Run("dpkg", "-i", "/srv/old.deb")
		m.runs("1.0.0")
	})
	if got := m.Sh("cat /etc/fairlead/fairlead.yaml /etc/fairlead/conf.d/10-mine.yaml"); got != toLoad+"spool: {max_bytes: 64MiB}\n" {
		t.Errorf("the configuration has become\n%s", got)
	}

	// What hangs is killed by the watchdog.
	m.Put(File{Path: "/etc/systemd/system/fairlead.service.d/watchdog.conf", Text: "[Service]\nWatchdogSec=2s\nRestartSec=1s\n"})
	m.Run("systemctl", "daemon-reload")
	m.Run("systemctl", "restart", "fairlead.service")
	before := m.Property("fairlead.service", "MainPID")
	m.Run("kill", "-STOP", before)
	m.Until("the watchdog has bitten", func() bool {
		pid := m.Property("fairlead.service", "MainPID")
		return pid != before && pid != "0"
	})
	wants(t, "the journal", m.Journal("fairlead.service"), "Watchdog timeout")
	m.runs("1.0.0")
	m.Sh("rm -r /etc/systemd/system/fairlead.service.d /etc/systemd/system/fairlead-render.service.d")

	m.Run("dpkg", "-r", "fairlead")
	if left := m.Sh("systemctl list-units --all --no-legend --plain 'fairlead*'; pgrep -x fairlead || true; ls -d /run/fairlead /usr/bin/fairlead 2>/dev/null || true"); left != "" {
		t.Errorf("after the removal there are\n%s", left)
	}
	m.Sh("test -s /etc/fairlead/fairlead.yaml && test -d /var/lib/fairlead/spool")

	// Installed again it is as it was at first, with the configuration that was left; what somebody has disabled stays so over an upgrade.
	enabled := func() string {
		return m.Sh("systemctl is-enabled fairlead.service fairlead.socket fairlead-render.service || true")
	}
	m.Run("dpkg", "-i", "/srv/old.deb")
	if got := enabled(); got != "enabled\nenabled\nenabled\n" {
		t.Errorf("installed again: %s", got)
	}
	if got := m.Sh("cat /etc/fairlead/fairlead.yaml"); got != toLoad {
		t.Errorf("installed again, the configuration is\n%s", got)
	}
	m.Run("systemctl", "disable", "fairlead.service", "fairlead.socket", "fairlead-render.service")
	m.Run("dpkg", "-i", "/srv/new.deb")
	if got := enabled(); got != "disabled\ndisabled\ndisabled\n" {
		t.Errorf("disabled, and upgraded: %s", got)
	}
	m.Run("dpkg", "-r", "fairlead")
	m.Run("dpkg", "-P", "fairlead")
	if left := m.Sh(`find / -xdev -path /proc -prune -o -path /sys -prune -o -name '*fairlead*' ! -name ecs.config.fairlead-backup -print`); left != "" {
		t.Errorf("after the purge there are\n%s", left)
	}
}

// took is how long a oneshot unit ran.
func (m *Machine) took(unit string) time.Duration {
	m.t.Helper()
	var at [2]int64
	for i, name := range []string{"ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic"} {
		var err error
		if at[i], err = strconv.ParseInt(m.Property(unit, name), 10, 64); err != nil {
			m.t.Fatal(err)
		}
	}
	return time.Duration(at[1]-at[0]) * time.Microsecond
}

// The same of the rpm, as far as another distribution's rpm can show it.
func TestRPM(t *testing.T) {
	t.Parallel()
	m := withPackages(t)
	rpm := func(args ...string) string {
		t.Helper()
		return m.Run(append([]string{"rpm", "--force-debian", "--nodeps"}, args...)...)
	}
	wants(t, "rpm -K", m.Run("rpm", "-K", "/srv/old.rpm"), "digests OK")
	wants(t, "rpm -qp", m.Run("rpm", "-qp", "--qf", "%{NAME} %{VERSION} %{ARCH} %{LICENSE}", "/srv/old.rpm"), "fairlead 1.0.0 x86_64 Apache-2.0")
	inDeb := strings.Fields(m.Sh(`dpkg-deb --fsys-tarfile /srv/old.deb | tar -t | sed 's|^\./|/|; s|/$||; s|zsh/vendor-completions|zsh/site-functions|' | sort`))
	for _, path := range strings.Fields(m.Run("rpm", "-qlp", "/srv/old.rpm")) {
		if !slices.Contains(inDeb, path) {
			t.Errorf("%s is in the rpm alone", path)
		}
	}
	rpm("-i", "/srv/old.rpm")
	if out, code := m.Try("rpm", "-V", "fairlead"); code != 0 {
		t.Errorf("rpm -V:\n%s", out)
	}
	if got := m.Sh("systemctl is-enabled fairlead.service fairlead.socket fairlead-render.service; systemctl is-active fairlead.service || true"); got != "enabled\nenabled\nenabled\ninactive\n" {
		t.Errorf("after the installation: %s", got)
	}
	m.Put(File{Path: "/etc/fairlead/fairlead.yaml", Text: toLoad, Mode: 0o600})
	m.Run("systemctl", "start", "fairlead.socket", "fairlead.service")
	m.runs("1.0.0")
	m.underLoad("upgrade", false, func() {
		rpm("-U", "/srv/new.rpm")
		m.runs("1.1.0")
	})
	if got := m.Sh("cat /etc/fairlead/fairlead.yaml"); got != toLoad {
		t.Errorf("the configuration has become\n%s", got)
	}
	if got := m.Property("fairlead.socket", "ActiveState"); got != "active" {
		t.Errorf("after the upgrade fairlead.socket is %s", got)
	}
	rpm("-e", "fairlead")
	if left := m.Sh("systemctl list-units --all --no-legend --plain 'fairlead*'; pgrep -x fairlead || true; ls -d /run/fairlead /usr/bin/fairlead 2>/dev/null || true"); left != "" {
		t.Errorf("after the removal there are\n%s", left)
	}
	m.Sh("test -s /etc/fairlead/fairlead.yaml.rpmsave && test -d /var/lib/fairlead/spool")
}
