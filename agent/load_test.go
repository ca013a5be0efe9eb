package agent

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder"
)

// write makes files below a new directory, by relative path, and answers the directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func findings(l Loaded, dir string) string {
	var b strings.Builder
	for _, f := range l.Findings {
		b.WriteString(strings.ReplaceAll(f.String(), dir+"/", "") + "\n")
	}
	return b.String()
}

func TestDefaults(t *testing.T) {
	l := Source{Path: filepath.Join(t.TempDir(), "none.yaml")}.Load()
	if !l.OK() || len(l.Findings) > 0 || len(l.Files) > 0 {
		t.Errorf("findings %v, files %v, want none", l.Findings, l.Files)
	}
	if got, want := l.Config.Forwarder.Spool.Dir, "/var/lib/fairlead/spool"; got != want {
		t.Errorf("spool.dir = %q, want %q", got, want)
	}
	if got := len(l.Config.Forwarder.Forward.To); got != 0 {
		t.Errorf("%d destinations, want none", got)
	}
}

func TestDropIns(t *testing.T) {
	dir := write(t, map[string]string{
		"fairlead.yaml":      "state: {dir: /a}\nforward: {to: [\"a:1\", \"b:2\"], grace: 1s}\n",
		"conf.d/20.yaml":     "forward: {grace: 3s}\n",
		"conf.d/10.yaml":     "forward: {to: [\"c:3\"], grace: 2s}\n",
		"conf.d/30.yml":      "forward: {grace: 4s}\n",
		"conf.d/.40.yaml":    "forward: {grace: 5s}\n",
		"conf.d/50.yaml.bak": "forward: {grace: 6s}\n",
		"conf.d/empty.yaml":  "",
	})
	l := Source{Path: filepath.Join(dir, "fairlead.yaml"), Environ: []string{"FAIRLEAD_FORWARD_HEARTBEAT=7s", "HOME=/"}}.Load()
	if got, want := findings(l, dir), "conf.d/30.yml: warning: not read, its name does not end in .yaml (fix: rename it)\n"; got != want {
		t.Errorf("findings %q, want %q", got, want)
	}
	c := l.Config.Forwarder
	if want := []forwarder.Endpoint{{Address: "c:3"}}; !reflect.DeepEqual(c.Forward.To, want) {
		t.Errorf("to = %v, want %v", c.Forward.To, want)
	}
	if c.Forward.Grace != 3*time.Second || c.Forward.Heartbeat != 7*time.Second || c.Spool.Dir != "/a/spool" || l.Variables != 1 {
		t.Errorf("grace %s, heartbeat %s, spool %s, %d variables", c.Forward.Grace, c.Forward.Heartbeat, c.Spool.Dir, l.Variables)
	}
}

func TestUnreadable(t *testing.T) {
	dir := write(t, map[string]string{"file/fairlead.yaml/x": "", "two/fairlead.yaml": "", "two/conf.d": "not a folder"})
	for path, want := range map[string]string{
		"none.yaml":          "none.yaml: error: cannot be read: no such file or directory\n",
		"file/fairlead.yaml": "file/fairlead.yaml: error: cannot be read: is a directory\n",
		"two/fairlead.yaml":  "two/conf.d: error: cannot be read: not a directory\n",
	} {
		if got := findings(Source{Path: filepath.Join(dir, path), Required: true}.Load(), dir); got != want {
			t.Errorf("%s: findings %q, want %q", path, got, want)
		}
	}
}

// Every key of the documented configuration is known and its default fits its type.
func TestDocumentedKeys(t *testing.T) {
	l := Source{Path: "testdata/documented.yaml", Required: true}.Load()
	for _, f := range l.Findings {
		t.Errorf("%s", f)
	}
}

// The entries of forward.to are texts or maps, and whatever is wrong with one is found at its place.
func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		name, yaml, env string
		want            []forwarder.Endpoint
		finding         string
	}{
		{"text", "forward: {to: a:1}", "", []forwarder.Endpoint{{Address: "a:1"}}, ""},
		{"texts and maps", "forward:\n  to:\n  - a:1\n  - {address: b:1, weight: 5}\n  - address: _f._tcp.x\n    standby: true\n", "",
			[]forwarder.Endpoint{{Address: "a:1"}, {Address: "b:1", Weight: 5}, {Address: "_f._tcp.x", Standby: true}}, ""},
		{"list in a variable", "", "a:1, srv://b", []forwarder.Endpoint{{Address: "a:1"}, {Address: "srv://b"}}, ""},
		{"YAML in a variable", "", "[a:1, {address: 'b:1', weight: 70}]", []forwarder.Endpoint{{Address: "a:1"}, {Address: "b:1", Weight: 70}}, ""},
		{"number", "forward: {to: [5]}", "", nil, `f.yaml:1:16: error: forward.to[0]: "5" is not host:port`},
		{"list in the list", "forward: {to: [[a:1]]}", "", nil, "f.yaml:1:16: error: forward.to[0]: a text or a map of keys is wanted, not a list"},
		{"unknown key", "forward: {to: [{addrss: a:1}]}", "", nil, `f.yaml:1:17: error: forward.to[0].addrss: unknown key (fix: did you mean "address"?)`},
		{"no address", "forward: {to: [a:1, {weight: 1}]}", "", nil, "f.yaml:1:21: error: forward.to[1]: an endpoint without an address"},
		{"weight 0", "forward: {to: [{address: a:1, weight: 0}]}", "", nil, `f.yaml:1:31: error: forward.to[0].weight: "0" is no weight`},
		{"standby", "forward: {to: [{address: a:1, standby: perhaps}]}", "", nil, `f.yaml:1:31: error: forward.to[0].standby: "perhaps" is neither true nor false`},
		{"port", "", "a:0", nil, `environment FAIRLEAD_FORWARD_TO: error: forward.to[0]: "a:0" has the port "0"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{"f.yaml": c.yaml})
			var environ []string
			if c.env != "" {
				environ = []string{"FAIRLEAD_FORWARD_TO=" + c.env}
			}
			l := Source{Path: filepath.Join(dir, "f.yaml"), Environ: environ}.Load()
			if got := findings(l, dir); (c.finding == "") != (got == "") || !strings.Contains(got, c.finding) {
				t.Errorf("findings %q, want %q", got, c.finding)
			}
			if got := l.Config.Forwarder.Forward.To; c.finding == "" && !reflect.DeepEqual(got, c.want) {
				t.Errorf("to = %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	dir := write(t, map[string]string{"f.yaml": `forward:
  to: ["a"]
  ack_timeout: 1ms
spool: {max_bytes: 1KiB, sync_after: 0s}
state: {dir: here}
control: {socket: there}
health: {listen: "x"}
fold: {wait: 1h, max_bytes: 1}
`})
	got := findings(Source{Path: filepath.Join(dir, "f.yaml")}.Load(), dir)
	for _, want := range []string{
		"f.yaml:2:8: error: forward.to[0]: ", "f.yaml:3:3: error: forward.ack_timeout: ", "f.yaml:4:9: error: spool.max_bytes: ",
		"f.yaml:4:26: error: spool.sync_after: ", "f.yaml:5:9: error: state.dir: ", "f.yaml:6:11: error: control.socket: ",
		"f.yaml:7:10: error: health.listen: ", "f.yaml:8:8: error: fold.wait: ", "f.yaml:8:18: error: fold.max_bytes: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no finding %q in:\n%s", want, got)
		}
	}
}
