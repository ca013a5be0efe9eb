package lab

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// apart makes two spaces with a link between, and a listener in the second.
func apart(t *testing.T) (*Link, net.Listener) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making namespaces takes root")
	}
	var ends [2]*Space
	for i := range ends {
		ends[i] = newSpace()
		if err := ends[i].addNetwork(); err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() {
			if err := ends[i].close(); err != nil {
				t.Error(err)
			}
		})
	}
	l, err := newLink(ends[0], ends[1], rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	var ln net.Listener
	err = ends[1].Do(func() error {
		ln, err = net.Listen("tcp", farAddress+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return l, ln
}

func dialNear(l *Link, ln net.Listener, within time.Duration) (conn net.Conn, err error) {
	err = l.ends[0].Do(func() error {
		conn, err = net.DialTimeout("tcp", ln.Addr().String(), within)
		return err
	})
	return conn, err
}

// TestLinkCarries sends a stream through all kinds of weather that it can survive: it comes out as it went in.
func TestLinkCarries(t *testing.T) {
	for name, w := range map[string]Weather{
		"good": {}, "loss": {Loss: 0.05}, "jitter": {Delay: 2 * time.Millisecond, Jitter: 5 * time.Millisecond},
		"reordered": {LateShare: 0.1}, "twice": {Duplicates: 0.3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, ln := apart(t)
			l.Set(w)
			want := make([]byte, 200_000)
			for i := range want {
				want[i] = byte(i * i >> 7)
			}
			conn, err := dialNear(l, ln, 20*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() {
				_, _ = conn.Write(want)
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
			}
			if w.Loss > 0 && l.dropped.Load() == 0 {
				t.Error("no packet was lost")
			}
		})
	}
}

func TestLinkDrops(t *testing.T) {
	l, ln := apart(t)
	go func() { // ends with the listener
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	for _, w := range []Weather{{Down: true}, {OneWay: true}, {Loss: 1}} {
		l.Set(w)
		if conn, err := dialNear(l, ln, 200*time.Millisecond); err == nil {
			_ = conn.Close()
			t.Errorf("a connection came about through %+v", w)
		}
	}
	l.Set(Weather{MaxBytes: 1000})
	conn, err := dialNear(l, ln, 10*time.Second)
	if err != nil {
		t.Fatalf("small packets do not pass: %v", err)
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came back of a large packet", n)
	}
	l.Set(Weather{})
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(conn, make([]byte, 5000)); err != nil {
		t.Errorf("after the black hole: %v", err)
	}
}

// TestSpaceTime starts a process on a monotonic clock that is days ahead.
func TestSpaceTime(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making namespaces takes root")
	}
	uptime := func(s *Space) float64 {
		out, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command("cat", "/proc/uptime")
		cmd.Stdout = out
		p, err := StartProcess(cmd, s)
		if err != nil {
			t.Skip(err)
		}
		if err := p.Err(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		v, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ahead := newSpace()
	ahead.ahead = 240 * time.Hour
	if d := uptime(ahead) - uptime(nil); d < 863_000 || d > 865_000 {
		t.Errorf("%v s ahead, want 864000", d)
	}
}
