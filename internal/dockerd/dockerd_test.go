package dockerd

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	d, ok := age(os.Getpid())
	if !ok || d < 0 || d > 10*time.Minute {
		t.Fatalf("this process runs for %s, known %v", d, ok)
	}
	if _, ok := age(1 << 30); ok {
		t.Error("there is an age of a process that is not there")
	}
}

func TestListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := listener(path); got != os.Getpid() {
		t.Errorf("process %d listens, want %d", got, os.Getpid())
	}
	if got := listener(path + "none"); got != 0 {
		t.Errorf("process %d listens where nobody does", got)
	}
	if isDockerd(os.Getpid()) {
		t.Error("this test is taken for an engine")
	}
}

func TestUpElsewhere(t *testing.T) {
	if _, known := Up("tcp://10.0.0.1:2375"); known {
		t.Error("known for an engine on another host")
	}
}

// The engine of this machine, if there is one.
func TestEngine(t *testing.T) {
	c, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := os.Stat("/var/run/docker.sock"); err != nil || c.DaemonHost() != DefaultHost {
		t.Skip("no Docker engine on its usual socket")
	}
	if up, known := Up(c.DaemonHost()); !known || up <= 0 {
		t.Errorf("up %s, known %v", up, known)
	}
}
