package agent

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// fileKiB is how much of files is mapped and in memory, in KiB.
func fileKiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}

func TestLetGoOfStart(t *testing.T) {
	before := fileKiB(t)
	if err := letGoOfStart(); err != nil {
		t.Fatal(err)
	}
	after := fileKiB(t)
	if after >= before {
		t.Errorf("%d KiB of files in memory before, %d after", before, after)
	}
}
