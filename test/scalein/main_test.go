package scalein

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var binary string // FAIRLEAD_TEST_BINARY, or built from here

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv("FAIRLEAD_SOAK") == "" { // they wait more than they work
		if err := flag.Set("test.parallel", "3"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if binary = os.Getenv("FAIRLEAD_TEST_BINARY"); binary == "" {
		dir, err := os.MkdirTemp("", "flt-scalein-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "fairlead")
		cmd := exec.Command("go", "build", "-o", binary, "./cmd/fairlead")
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}
