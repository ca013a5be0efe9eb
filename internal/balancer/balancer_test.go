package balancer

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a backend that sends back what it gets, behind its name.
func echo(t *testing.T, name string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Write([]byte(name))
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return ln.Addr().String()
}

func dial(t *testing.T, b *Balancer) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func start(t *testing.T, o Options, backends ...string) *Balancer {
	t.Helper()
	b, err := Listen("127.0.0.1:0", o, backends...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestForwards(t *testing.T) {
	b := start(t, Options{}, echo(t, "one:"), echo(t, "two:"))
	first, second := dial(t, b), dial(t, b)
	var names [2]string
	for i, c := range []net.Conn{first, second} {
		buf := make([]byte, 4)
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
		names[i] = string(buf)
		_, _ = c.Write([]byte("hello"))
		expect(t, c, "hello")
	}
	if names[0] == names[1] {
		t.Errorf("both connections went to %q", names[0])
	}
	_ = first.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(first); len(rest) > 0 || err != nil {
		t.Errorf("after the end of sending: %q, %v", rest, err)
	}
}

func TestDrops(t *testing.T) {
	const idle = 1200 * time.Millisecond
	for _, c := range []struct {
		name  string
		mode  Mode
		check func(t *testing.T, c net.Conn)
	}{
		{"FIN", FIN, func(t *testing.T, c net.Conn) {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("read: %v", err)
			}
		}},
		{"RST", RST, func(t *testing.T, c net.Conn) {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v", err)
			}
		}},
		{"silent, then RST", SilentReset, func(t *testing.T, c net.Conn) {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Errorf("first write: %v", err)
			}
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v", err)
			}
		}},
		{"silent", Silent, func(t *testing.T, c net.Conn) {
			for range 3 {
				if _, err := c.Write([]byte("x")); err != nil {
					t.Errorf("write: %v", err)
				}
			}
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			var ne net.Error
			if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("read: %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Idle: idle, Mode: c.mode}, echo(t, "e:"))
			conn := dial(t, b)
			expect(t, conn, "e:")
			for range 5 { // use keeps it
				time.Sleep(idle / 3)
				_, _ = conn.Write([]byte("x"))
				expect(t, conn, "x")
			}
			if n := b.Stats().Dropped; n != 0 {
				t.Fatalf("%d dropped while in use", n)
			}
			for end := time.Now().Add(time.Minute); b.Stats().Dropped == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("never dropped")
				}
			}
			c.check(t, conn)
			if st := b.Stats(); st.Dropped != 1 || st.Accepted != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// A balancer takes connections whatever its backends do.
func TestNoBackend(t *testing.T) {
	b := start(t, Options{})
	if c, err := net.Dial("tcp", b.Addr()); err == nil { // the reset may also be there before Dial returns
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("read something")
		}
		_ = c.Close()
	}
	if n := b.Stats().Failed; n != 1 {
		t.Errorf("%d failed", n)
	}
	b.SetBackends("127.0.0.1:1", echo(t, "e:"))
	expect(t, dial(t, b), "e:")
	expect(t, dial(t, b), "e:")
}

func TestDropAndClose(t *testing.T) {
	b := start(t, Options{Mode: RST}, echo(t, "e:"))
	c := dial(t, b)
	expect(t, c, "e:")
	b.Drop()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
	c = dial(t, b)
	expect(t, c, "e:")
	_ = b.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("open after Close")
	}
}

// TestCutAfter sends more than may pass: what arrives is a part, and both sides learn of the end in the way of the mode.
func TestCutAfter(t *testing.T) {
	for _, mode := range []Mode{FIN, RST} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		b := start(t, Options{Mode: mode, CutAfter: 1000}, ln.Addr().String())
		c := dial(t, b)
		backend, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer backend.Close()
		if _, err := c.Write(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(backend)
		if reset := errors.Is(err, syscall.ECONNRESET); len(got) > 1500 || mode == FIN && (err != nil || len(got) <= 500) || mode == RST && !reset {
			t.Errorf("mode %d: the backend got %d bytes, %v", mode, len(got), err)
		}
		_, err = c.Read(make([]byte, 1))
		if want := []error{io.EOF, syscall.ECONNRESET}[mode]; !errors.Is(err, want) {
			t.Errorf("mode %d: the client got %v, want %v", mode, err, want)
		}
		if n := b.Stats().Dropped; n != 1 {
			t.Errorf("mode %d: %d dropped", mode, n)
		}
	}
}
