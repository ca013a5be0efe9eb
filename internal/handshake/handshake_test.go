package handshake

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// vector is a handshake as testdata/vectors.py computed it, which shares nothing with this package.
type vector struct {
	Name                            string
	Nonce, Auth, Salt               string // hexadecimal
	Keepalive                       bool
	Client, Server                  string
	Key, User, Password             string
	Helo, Ping, Pong, Refusal       string // hexadecimal
	helo, ping, pong, refusal, salt []byte
}

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		v := &list[i]
		v.Nonce, v.Auth = string(unhex(t, v.Nonce)), string(unhex(t, v.Auth))
		v.salt, v.helo, v.ping, v.pong, v.refusal = unhex(t, v.Salt), unhex(t, v.Helo), unhex(t, v.Ping), unhex(t, v.Pong), unhex(t, v.Refusal)
	}
	return list
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (v vector) client() Client {
	return Client{Hostname: v.Client, SharedKey: v.Key, User: User{v.User, v.Password}}
}

func (v vector) serverSide() Server {
	s := Server{Hostname: v.Server, SharedKey: v.Key, Single: !v.Keepalive}
	if v.User != "" && v.Auth != "" {
		s.Users = []User{{"another", "x"}, {v.User, v.Password}}
	}
	return s
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			c, s, salt := v.client(), v.serverSide(), string(v.salt)

			hello := s.Hello(v.Nonce, v.Auth)
			if got := hello.Append(nil); !bytes.Equal(got, v.helo) {
				t.Errorf("HELO\n got %x\nwant %x", got, v.helo)
			}
			h, rest, err := ReadHello(append(v.helo[:len(v.helo):len(v.helo)], 1, 2))
			if h != hello || err != nil || !bytes.Equal(rest, []byte{1, 2}) {
				t.Errorf("HELO read as %+v, rest %x, %v", h, rest, err)
			}

			ping := c.Ping(h, salt)
			if got := ping.Append(nil); !bytes.Equal(got, v.ping) {
				t.Errorf("PING\n got %x\nwant %x", got, v.ping)
			}
			p, rest, err := ReadPing(append(v.ping[:len(v.ping):len(v.ping)], 3))
			if p != ping || err != nil || !bytes.Equal(rest, []byte{3}) {
				t.Errorf("PING read as %+v, rest %x, %v", p, rest, err)
			}

			verdict := s.Answer(h, p)
			if got := verdict.Append(nil); !bytes.Equal(got, v.pong) {
				t.Errorf("PONG\n got %x\nwant %x", got, v.pong)
			}
			pong, rest, err := ReadPong(v.pong)
			if pong != verdict || err != nil || len(rest) > 0 {
				t.Errorf("PONG read as %+v, rest %x, %v", pong, rest, err)
			}
			if err := c.Check(h, salt, pong); err != nil {
				t.Errorf("the client refuses it: %v", err)
			}

			other := s
			other.SharedKey += "x"
			if got := other.Answer(h, p).Append(nil); !bytes.Equal(got, v.refusal) {
				t.Errorf("refusal\n got %x\nwant %x", got, v.refusal)
			}
		})
	}
}

// Nobody gets through who does not know what he must, and each is told why.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Client, *Server)
		want    error  // of the client
		reason  string // in its text
		refused bool   // the server refuses too
	}{
		{"right", func(*Client, *Server) {}, nil, "", false},
		{"right, with a user", func(c *Client, s *Server) {
			c.User, s.Users = User{"u", "p"}, []User{{"a", "b"}, {"u", "p"}}
		}, nil, "", false},
		{"another key", func(c *Client, _ *Server) { c.SharedKey = "guess" }, nil, "shared_key mismatch", true},
		{"no key", func(c *Client, _ *Server) { c.SharedKey = "" }, nil, "shared_key mismatch", true},
		{"no user", func(_ *Client, s *Server) { s.Users = []User{{"u", "p"}} }, nil, "username/password mismatch", true},
		{"another password", func(c *Client, s *Server) {
			c.User, s.Users = User{"u", "q"}, []User{{"u", "p"}}
		}, nil, "username/password mismatch", true},
		{"another user's password", func(c *Client, s *Server) {
			c.User, s.Users = User{"a", "p"}, []User{{"a", "b"}, {"u", "p"}}
		}, nil, "username/password mismatch", true},
		{"the server is ourselves", func(c *Client, s *Server) { s.Hostname = c.Hostname }, ErrSelf, "own host name", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := Client{Hostname: "c", SharedKey: "key"}, Server{Hostname: "s", SharedKey: "key"}
			c.change(&client, &server)
			cerr, serr := meet(t, client.Do, server)
			var refused *RefusedError
			switch {
			case c.reason == "" && cerr != nil:
				t.Errorf("client: %v", cerr)
			case c.reason != "" && (cerr == nil || !strings.Contains(cerr.Error(), c.reason)):
				t.Errorf("client: %v, want %q", cerr, c.reason)
			case c.want != nil && !errors.Is(cerr, c.want):
				t.Errorf("client: %v, want %v", cerr, c.want)
			case c.want == nil && c.reason != "" && !errors.As(cerr, &refused):
				t.Errorf("client: %v is no refusal", cerr)
			}
			if errors.As(serr, &refused) != c.refused {
				t.Errorf("server: %v", serr)
			}
			for _, err := range []error{cerr, serr} {
				if err != nil && (strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), `"key"`)) {
					t.Errorf("%q tells the key", err)
				}
			}
		})
	}
}

// A server that does not know the key is not believed, whatever it answers.
func TestServerMustProveItself(t *testing.T) {
	impostor := func(pong Pong) error {
		server, client := net.Pipe()
		defer func() { _ = server.Close(); _ = client.Close() }()
		go func() {
			_, _ = server.Write(Hello{Nonce: "n", Keepalive: true}.Append(nil))
			_, _ = server.Read(make([]byte, MaxBytes))
			_, _ = server.Write(pong.Append(nil))
		}()
		_ = client.SetDeadline(time.Now().Add(time.Minute))
		_, err := Client{Hostname: "c", SharedKey: "key"}.Do(client)
		return err
	}
	for _, p := range []Pong{{OK: true, Hostname: "s"}, {OK: true, Hostname: "s", Key: digest("salt", "s", "n", "guess")}} {
		if err := impostor(p); !errors.Is(err, ErrUnproved) {
			t.Errorf("%+v: got %v, want %v", p, err, ErrUnproved)
		}
	}
	if err := impostor(Pong{Reason: strings.Repeat("x", 5000)}); err == nil || len(err.Error()) > 300 {
		t.Errorf("a long reason makes an error of %d bytes", len(err.Error()))
	}
}

// What is sent behind a message is not lost, however the bytes are cut.
func TestServerGivesBackTheRest(t *testing.T) {
	server, client := net.Pipe()
	defer func() { _ = server.Close(); _ = client.Close() }()
	const follows = "\x93 the first event"
	go func() {
		buf := make([]byte, MaxBytes)
		n, _ := client.Read(buf)
		h, _, _ := ReadHello(buf[:n])
		ping := append(Client{Hostname: "c", SharedKey: "key"}.Ping(h, "salt").Append(nil), follows...)
		for i := range ping {
			if i == len(ping)-len(follows)-1 { // the last byte of the PING comes with all that follows
				_, _ = client.Write(ping[i:])
				break
			}
			_, _ = client.Write(ping[i : i+1])
		}
		_, _ = io.Copy(io.Discard, client)
	}()
	_ = server.SetDeadline(time.Now().Add(time.Minute))
	p, rest, err := Server{Hostname: "s", SharedKey: "key"}.Do(server)
	if err != nil || string(rest) != follows || p.Hostname != "c" {
		t.Errorf("got %+v, %q, %v", p, rest, err)
	}
}

// Noise is neither believed nor read without end.
func TestNoise(t *testing.T) {
	for _, c := range []struct {
		name, says string
		client     error
	}{
		{"an ack", "\x81\xa3ack\xa1x", ErrNoHello},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n\r\n", ErrNoHello},
		{"another word", "\x92\xa4PONG\x80", ErrNoHello},
		{"a list of one", "\x91\xa4HELO", ErrNoHello},
		{"endless", "\x92\xa4HELO\x81\xdb\x7f\xff\xff\xff" + strings.Repeat("x", 2*MaxBytes), ErrNoHello},
		{"half", "\x92\xa4HELO\x83\xa5nonce", io.EOF},
		{"nothing", "", io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Client{Hostname: "c", SharedKey: "key"}.Do(duplex{strings.NewReader(c.says), io.Discard})
			if !errors.Is(err, c.client) || len(err.Error()) > 500 {
				t.Errorf("client: %v", err)
			}
			var sent bytes.Buffer
			_, _, err = Server{Hostname: "s", SharedKey: "key"}.Do(duplex{strings.NewReader(c.says), &sent})
			if want := c.says != ""; errors.Is(err, ErrMalformed) != want || errors.Is(err, io.EOF) == want {
				t.Errorf("server: %v", err)
			}
			if told := strings.Contains(sent.String(), "invalid ping message"); told != (c.says != "") {
				t.Errorf("server told the client why: %v", told)
			}
		})
	}
}

type duplex struct {
	io.Reader
	io.Writer
}

// meet has a client and a server do the handshake over a connection.
func meet(t *testing.T, client func(io.ReadWriter) (Hello, error), s Server) (cerr, serr error) {
	t.Helper()
	a, b := net.Pipe()
	end := time.Now().Add(time.Minute)
	_, _ = a.SetDeadline(end), b.SetDeadline(end)
	done := make(chan error)
	go func() {
		_, _, err := s.Do(b)
		done <- err
	}()
	_, cerr = client(a)
	serr = <-done
	_, _ = a.Close(), b.Close()
	return cerr, serr
}

// What is read of a message is what is written again, and a part of one is never taken for the whole.
func FuzzRead(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.helo)
		f.Add(v.ping)
		f.Add(v.pong)
		f.Add(v.refusal)
	}
	f.Add([]byte("\x92\xa4HELO\x82\xa5nonce\xc0\xa1x\x93\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) >= MaxBytes {
			return
		}
		check(t, p, ReadHello)
		check(t, p, ReadPing)
		check(t, p, ReadPong)
	})
}

func check[T interface {
	comparable
	Append([]byte) []byte
}](t *testing.T, p []byte, read func([]byte) (T, []byte, error)) {
	m, rest, err := read(p)
	if err != nil {
		if !errors.Is(err, ErrPartial) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("%v is neither of the two errors", err)
		}
		return
	}
	used := len(p) - len(rest)
	for n := range used {
		if _, _, err := read(p[:n]); !errors.Is(err, ErrPartial) {
			t.Fatalf("%d of %d bytes: %v, want %v", n, used, err, ErrPartial)
		}
	}
	again, rest, err := read(m.Append(nil))
	if again != m || len(rest) > 0 || err != nil {
		t.Fatalf("%+v was written and read as %+v, rest %x, %v", m, again, rest, err)
	}
}
