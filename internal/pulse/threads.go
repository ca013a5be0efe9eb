package pulse

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// stuckThreads answers which threads sleep uninterruptibly: in the kernel, for a disk as a rule. Not even SIGKILL ends such a sleep.
func stuckThreads(dir string) map[int]bool {
	stuck := map[int]bool{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // without /proc no disk is blamed
	}
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil && isStuck(dir, id) {
			stuck[id] = true
		}
	}
	return stuck
}

// stillStuck says whether one of the threads is still where it was.
func stillStuck(dir string, threads map[int]bool) bool {
	for id := range threads {
		if isStuck(dir, id) {
			return true
		}
	}
	return false
}

// isStuck reads the state out of `pid (name) S ...`; the name may hold anything, parentheses too.
func isStuck(dir string, id int) bool {
	stat, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(id), "stat"))
	if err != nil {
		return false
	}
	i := bytes.LastIndex(stat, []byte(") "))
	return i >= 0 && i+2 < len(stat) && stat[i+2] == 'D'
}
