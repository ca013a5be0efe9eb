package cleanup

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/cleanup/plan"
)

// A file system that never answers costs a look its deadline, once; the others are told all the same.
func TestHungFileSystem(t *testing.T) {
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	defer func() {
		if server >= 0 {
			_ = unix.Close(server)
		}
	}()
	dir := t.TempDir()
	if err := unix.Mount("fairlead-test", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", server)); err != nil {
		t.Skipf("FUSE cannot be mounted here: %v", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	var p prober
	look := func() []plan.Disk { return p.disks([]place{{plan.RoleLogs, dir}, {plan.RoleRoot, "/"}}) }
	for n := range 2 {
		began := time.Now()
		if list := look(); len(list) != 1 || list[0].Mount != "/" {
			t.Fatalf("look %d: %+v", n, list)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("look %d took %v", n, took)
		}
		p.mu.Lock()
		waiting := p.asked[dir]
		p.mu.Unlock()
		if !waiting {
			t.Fatalf("look %d: the hung file system has answered", n)
		}
	}
	_ = unix.Close(server) // every call into it fails from now on
	server = -1
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		waiting := p.asked[dir]
		p.mu.Unlock()
		if !waiting {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is still waited for")
		}
	}
}
