package ecsconfig

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("ECSCONFIG_TEST_WRITE"); path != "" { // to be killed: see TestKill
		a, b := bytes.Repeat([]byte("A=1\n"), 5000), bytes.Repeat([]byte("B=2\n"), 7000)
		for {
			for _, text := range [][]byte{a, b} {
				if err := Write(path, text, false); err != nil {
					panic(err)
				}
			}
		}
	}
	os.Exit(m.Run())
}

// Killed at any moment, the old or the new text is there, and nothing in between.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ecs.config")
	a, b := bytes.Repeat([]byte("A=1\n"), 5000), bytes.Repeat([]byte("B=2\n"), 7000)
	if err := os.WriteFile(path, a, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 15 {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "ECSCONFIG_TEST_WRITE="+path)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(20+7*i) * time.Millisecond) // the moment of the kill is what varies
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // killed
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, a) && !bytes.Equal(got, b) {
			t.Fatalf("after kill %d: %d bytes, %v", i, len(got), err)
		}
	}
	// What the killed left beside goes with the next.
	if err := Write(path, a, false); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v, want the file and its backup", entries, err)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ecs", "ecs.config")
	mode := func(name string) os.FileMode {
		t.Helper()
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if err := Write(path, []byte("A=1\n"), false); err != nil || mode(path) != 0o644 {
		t.Fatalf("a new one: %v, mode %v", err, mode(path))
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12, 34); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, []byte("A=2\n"), false); err != nil || mode(path) != 0o640 {
		t.Fatalf("through a link: %v, mode %v", err, mode(path))
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is a link no longer")
	}
	if before, err := os.ReadFile(path + BackupSuffix); err != nil || string(before) != "A=1\n" {
		t.Errorf("the copy of what was replaced: %q, %v", before, err)
	}
	if err := Write(path, []byte("P=x\n"), true); err != nil || mode(path) != 0o600 || mode(path+BackupSuffix) != 0o600 {
		t.Errorf("with a secret: %v, mode %v and %v", err, mode(path), mode(path+BackupSuffix))
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left behind", e.Name())
		}
	}
}
