// Package fairlead_test holds the rules on who may import whom.
package fairlead_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fairlead/fairlead/"

// may lists what each package may import of this module, by path.Match. A package that no row names may not exist: whoever
// adds one decides where it stands. The order matters, the first row that matches holds.
var may = []struct {
	who  string
	what []string
}{
	{"cmd/fairlead", []string{"agent", "agent/*", "demo", "forwarder", "cleanup", "collector", "internal/*"}},
	{"demo", []string{"forwarder", "internal/*"}},
	{"agent", []string{"agent/*", "forwarder", "cleanup", "collector", "internal/*"}},
	{"agent/*", []string{"internal/*"}},
	{"forwarder", []string{"forwarder/*", "internal/*"}},
	{"forwarder/*", []string{"internal/*"}},
	{"cleanup", []string{"cleanup/*", "internal/*"}},
	{"cleanup/*", []string{"internal/*"}},
	{"collector", []string{"collector/*", "internal/*"}},
	{"collector/*", []string{"internal/*"}},
	{"internal/*", []string{"internal/*"}},
	{"test/bench", []string{"internal/*", "test/*"}}, // measures; what counts the arrivals need not be independent
	// The tests of the whole program share no code with it; the receiver and the balancer of the laboratory are not of its data path.
	{"test/lab", []string{"internal/balancer", "internal/receiver", "test/*"}},
	{"test/load", []string{"internal/receiver", "test/*"}},
	{"test/reliability", []string{"internal/receiver", "test/*"}},
	{"test/prometheus", []string{"internal/receiver", "test/*"}},
	{"packaging", nil},
	{"packaging/*", nil},
	{"test", []string{"test/*"}},
	{"test/*", []string{"test/*"}},
}

// pure packages touch neither files nor network, nor do they log: what they need is an argument.
var pure = []string{"forwarder/fold", "forwarder/parse", "agent/userdata", "cleanup/plan", "collector/findings"}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		who, inside := strings.CutPrefix(words[0], module)
		if !inside {
			continue // this package, at the root
		}
		allowed, known := allowedFor(who)
		if !known {
			t.Errorf("%s: no rule says what it may import", who)
			continue
		}
		for _, imported := range words[1:] {
			if own, ok := strings.CutPrefix(imported, module); ok && !matches(own, allowed) {
				t.Errorf("%s imports %s, it may import only %s", who, own, strings.Join(allowed, ", "))
			}
			if matches(who, pure) && matches(imported, []string{"os", "os/*", "net", "net/*", "log", "log/*"}) {
				t.Errorf("%s imports %s, but it is to be pure", who, imported)
			}
		}
	}
}

func allowedFor(who string) ([]string, bool) {
	for _, rule := range may {
		if matches(who, []string{rule.who}) {
			return rule.what, true
		}
	}
	return nil, false
}

func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); ok && err == nil {
			return true
		}
	}
	return false
}

// The AWS SDK's newer service modules build a table of all shapes of their service at start, which stays in memory: 4 MiB for the few
// services we use. Those that go.mod names are the last without it.
func TestNoSchemas(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./cmd/fairlead").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for imported := range strings.Lines(string(out)) {
		if imported = strings.TrimSpace(imported); strings.HasSuffix(imported, "/schemas") {
			t.Errorf("%s is linked: take an older version of its module", imported)
		}
	}
}

// The linker keeps all calls of a client, 3 MB for ECS, once its type is where reflection may come by, since templates call methods by name. An
// interface that holds the client does that, and a generic function that takes its methods. Options is a method of every client, which we never call.
func TestNoWholeClients(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program")
	}
	program := filepath.Join(t.TempDir(), "fairlead")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./cmd/fairlead")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make does, whose packages are compiled already
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.Command("go", "tool", "nm", program).Output()
	if err != nil {
		t.Fatalf("go tool nm: %v", err)
	}
	credentials := []string{"signin", "sso", "ssooidc", "sts"} // config holds them in interfaces
	for line := range strings.Lines(string(out)) {
		_, symbol, _ := strings.Cut(line, "aws-sdk-go-v2/service/")
		if service, whole := strings.CutSuffix(strings.TrimSpace(symbol), ".(*Client).Options"); whole && !slices.Contains(credentials, service) {
			t.Errorf("all calls of the client of %s are linked: call its methods where it is a *Client, through no interface and no generic function", service)
		}
	}
}
