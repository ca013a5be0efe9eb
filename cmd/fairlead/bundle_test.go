package main

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// hangs is set in the process that mounts a file system that hangs: it has a mount namespace of its own.
const hangs = "FAIRLEAD_TEST_HANGS"

// A bundle ends in time, and its process with it, on a host with a file system that does not answer: a FUSE server that takes
// requests and goes silent, of which no signal frees who waits.
func TestBundleOverDeadMount(t *testing.T) {
	if os.Getenv(hangs) != "" {
		withDeadMount(t)
		return
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no /dev/fuse on this machine")
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestBundleOverDeadMount$", "-test.v")
	c.Env = append(os.Environ(), hangs+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	out, err := c.CombinedOutput()
	if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func withDeadMount(t *testing.T) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skipf("no namespace of its own: %v", err)
	}
	if err := unix.Mount("tmpfs", "/var/log", "tmpfs", 0, ""); err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	if err := os.MkdirAll("/var/log/ecs", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/var/log/messages", []byte("May  1 10:00:00 h app: all is well\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("open /dev/fuse: %v", err)
	}
	if err := unix.Mount("dead", "/var/log/ecs", "fuse.dead", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Skipf("mount: %v", err)
	}
	buf := make([]byte, 128<<10)
	if _, err := unix.Read(fd, buf); err != nil { // FUSE_INIT
		t.Fatal(err)
	}
	answer := make([]byte, 16+64)
	binary.LittleEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:16], buf[8:16])                       // the request's number
	binary.LittleEndian.PutUint32(answer[16:], 7)       // protocol
	binary.LittleEndian.PutUint32(answer[20:], 31)      // its minor version
	binary.LittleEndian.PutUint32(answer[16+20:], 4096) // max_write
	if _, err := unix.Write(fd, answer); err != nil {
		t.Fatal(err)
	}
	go func() {
		for { // takes requests, answers none
			if _, err := unix.Read(fd, buf); err != nil {
				return
			}
		}
	}()
	defer unix.Close(fd) // frees who waits

	dir := t.TempDir()
	const deadline = 30 // what hangs takes ten of them; it is in no hurry, and the machine may be busy
	bundle := func(to string, deadline int) *exec.Cmd {
		c := exec.Command("/proc/self/exe", "bundle", "--output", to, "--deadline", fmt.Sprint(deadline, "s"), "--config", dir+"/none.yaml")
		c.Args[0] = "fairlead"
		c.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true", "GORACE=atexit_sleep_ms=0")
		return c
	}
	if err := os.WriteFile(dir+"/none.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// One that is to be written there ends too, and so does who reads what it says.
	var nowhere sync.WaitGroup
	defer nowhere.Wait()
	nowhere.Go(func() {
		out, err := bundle("/var/log/ecs/b.tgz", 10).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "the place that the bundle is written to does not answer") {
			t.Errorf("to the dead mount: %v\n%s", err, out)
		}
	})
	began := time.Now()
	out, err := bundle(dir+"/b.tgz", deadline).CombinedOutput()
	took := time.Since(began)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if took > deadline*time.Second+2*time.Second {
		t.Errorf("it took %v", took)
	}
	m := members(t, dir+"/b.tgz")
	var manifest struct {
		Sources []struct{ Source, Outcome string }
	}
	if err := json.Unmarshal([]byte(m["manifest.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]string{}
	for _, s := range manifest.Sources {
		outcomes[s.Source] = s.Outcome
	}
	if outcomes["ECS agent logs"] != "timed out" || outcomes["file systems"] != "timed out" || !strings.Contains(m["mounts.txt"], "DOES NOT ANSWER") || m["var_log/messages"] == "" {
		t.Errorf("%v\n%s\n%s", outcomes, m["mounts.txt"], out)
	}
	if text := m["fairlead/config.json"]; text == "" || strings.Contains(text, "environment FAIRLEAD_BUNDLE") {
		t.Errorf("a variable of our own is taken for a key: %s", text)
	}
	if !strings.Contains(string(out), "file systems do not answer") {
		t.Errorf("no finding says so:\n%s", out)
	}
}

// members of an archive by their names below the instance's folder.
func members(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if parts := strings.SplitN(h.Name, "/", 3); len(parts) == 3 {
			m[parts[2]] = string(text)
		}
	}
}

// A host that has hardly a process left gets a bundle all the same.
func TestBundleFewTasks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	group := ""
	for _, dir := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		at := fmt.Sprintf("%s/fairlead-test-%d", dir, os.Getpid())
		if os.Mkdir(at, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(at) })
		if os.WriteFile(at+"/pids.max", []byte("10"), 0o600) == nil {
			group = at
			break
		}
	}
	if group == "" {
		t.Skip("no control group for processes can be made here")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/none.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", `echo $$ >"$1"/cgroup.procs && exec -a fairlead /proc/`+strconv.Itoa(os.Getpid())+`/exe bundle --deadline 20s --output "$2"/b.tgz --config "$2"/none.yaml`, "sh", group, dir)
	if _, err := exec.LookPath("bash"); err == nil {
		c.Path, c.Args[0] = "/bin/bash", "bash" // has exec -a
	}
	c.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true", "GORACE=atexit_sleep_ms=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if m := members(t, dir+"/b.tgz"); m["manifest.json"] == "" || m["mounts.txt"] == "" {
		t.Errorf("%s", m["manifest.json"])
	}
}

// Where nobody reads what is written to standard output, it ends and says so.
func TestBundleUnread(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/none.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "bundle", "--output", "-", "--config", dir+"/none.yaml")
	c.Args[0] = "fairlead"
	c.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true", "GORACE=atexit_sleep_ms=0")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c.Stdout, c.Stderr = write, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if _, err := io.ReadFull(read, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	read.Close()
	if err := c.Wait(); c.ProcessState.ExitCode() != 1 || !strings.Contains(said.String(), "nobody reads standard output any more") {
		t.Errorf("%v\n%s", err, said.String())
	}
}

// Ctrl-C leaves a whole archive.
func TestBundleInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/none.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "bundle", "--output", dir+"/b.tgz", "--config", dir+"/none.yaml")
	c.Args[0] = "fairlead"
	c.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true", "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // it has begun to write
		if list, _ := filepath.Glob(dir + "/.fairlead-bundle-*"); len(list) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(500 * time.Millisecond)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if m := members(t, dir+"/b.tgz"); !strings.Contains(m["manifest.json"], `"interrupted": true`) || !strings.Contains(out.String(), "interrupted: the archive is whole") {
		t.Errorf("%s\n%s", m["manifest.json"], out.String())
	}
	if list, _ := filepath.Glob(dir + "/.fairlead*"); len(list) > 0 {
		t.Errorf("left behind: %v", list)
	}
}
