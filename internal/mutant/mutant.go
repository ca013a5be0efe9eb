// Package mutant breaks a program on purpose, for tests of tests: one that cannot fail proves nothing.
package mutant

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Test runs `go test` with args in the folder of the test, on a program in whose file the only occurrence of text is replaced by other. It
// answers what was printed, and whether the tests noticed.
func Test(t *testing.T, file, text, other string, env []string, args ...string) (out string, noticed bool) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), text); n != 1 {
		t.Fatalf("%s holds the text to replace %d times: %s", file, n, text)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{changed: []byte(strings.Replace(string(source), text, other, 1)), overlay: list} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "go", append([]string{"test", "-vet=off", "-overlay", overlay, "-count=1"}, args...)...)
	c.Env = append(os.Environ(), env...)
	printed, err := c.CombinedOutput()
	return string(printed), err != nil
}
