package agent

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// startUp is how long the pages of the binary that only the start needs are left in memory.
const startUp = 2 * time.Second

// letGoOfStart gives back the pages of the binary that are in memory: those that the daemon goes on with come back from the page
// cache when they are next used, few of them. The start touches nearly all: every package's set-up runs, also those of
// commands that the daemon is not, and the kernel maps sixteen pages and more around each that is touched. That is 12 MiB that would
// stay resident for good.
func letGoOfStart() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uintptr
		var rights string
		line := lines.Text()
		// Only what can never have been written to: its pages are the file's.
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); n != 3 || (rights != "r-xp" && rights != "r--p") || !strings.HasSuffix(line, " "+program) {
			continue
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return lines.Err()
}
