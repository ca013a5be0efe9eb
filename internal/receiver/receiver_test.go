package receiver

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
	"github.com/tinylib/msgp/msgp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) handle(e *Event) {
	m, err := e.Map()
	if err != nil {
		m = map[string]any{"error": err}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s %d %s %s", e.Tag, e.Time, e.Field("log"), fmt.Sprint(m)))
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}

func listen(t *testing.T) (*Receiver, *log) {
	t.Helper()
	l := &log{}
	r, err := Listen("127.0.0.1:0", l.handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, l
}

func dial(t *testing.T, r *Receiver) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// acks reads n acks.
func acks(t *testing.T, c net.Conn, n int) (ids []string) {
	t.Helper()
	r := msgp.NewReader(c)
	for range n {
		var a fluent.AckResp
		if err := a.DecodeMsg(r); err != nil {
			t.Fatalf("after acks %q: %v", ids, err)
		}
		ids = append(ids, a.Ack)
	}
	return ids
}

// quiet says that nothing comes.
func quiet(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 100)); n > 0 || !isTimeout(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func entry(sec int64, text string) []byte {
	b := msgp.AppendArrayHeader(nil, 2)
	b = msgp.AppendInt64(b, sec)
	b = msgp.AppendMapHeader(b, 1)
	b = msgp.AppendString(b, "log")
	return msgp.AppendString(b, text)
}

func option(chunk string, extra ...string) []byte {
	b := msgp.AppendMapHeader(nil, uint32(1+len(extra)/2))
	b = msgp.AppendString(b, "chunk")
	b = msgp.AppendString(b, chunk)
	for _, s := range extra {
		b = msgp.AppendString(b, s)
	}
	return b
}

func encode(n uint32, tag string, parts ...[]byte) []byte {
	b := msgp.AppendArrayHeader(nil, n)
	b = msgp.AppendString(b, tag)
	return append(b, bytes.Join(parts, nil)...)
}

func packed(chunk string, entries ...[]byte) []byte {
	return encode(3, "t", msgp.AppendBytes(nil, bytes.Join(entries, nil)), option(chunk))
}

func TestModes(t *testing.T) {
	var zipped bytes.Buffer
	for _, s := range []string{"a", "b"} { // members may follow one another
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write(entry(7, s))
		_ = z.Close()
	}
	eventTime := []byte{0xd7, 0, 0, 0, 0, 7, 0, 0, 0, 9}
	extTime := []byte{0xc7, 8, 0, 0, 0, 0, 7, 0, 0, 0, 9}
	record := entry(0, "a")[2:]
	two := bytes.Join([][]byte{entry(7, "a"), entry(7, "b")}, nil)
	sec, nano := "t 7000000000 %s map[log:%[1]s]", "t 7000000009 %s map[log:%[1]s]"
	for _, c := range []struct {
		name string
		msg  []byte
		want []string
		ack  bool
	}{
		{"Message", encode(3, "t", entry(7, "a")[1:]), []string{fmt.Sprintf(sec, "a")}, false},
		{"Message with ack", encode(4, "t", entry(7, "a")[1:], option("c")), []string{fmt.Sprintf(sec, "a")}, true},
		{"Message with nil option", encode(4, "t", entry(7, "a")[1:], []byte{0xc0}), []string{fmt.Sprintf(sec, "a")}, false},
		{"Message with EventTime", encode(4, "t", eventTime, record, option("c")), []string{fmt.Sprintf(nano, "a")}, true},
		{"Forward", encode(2, "t", []byte{0x92}, two), []string{fmt.Sprintf(sec, "a"), fmt.Sprintf(sec, "b")}, false},
		{"Forward with ack", encode(3, "t", []byte{0x92}, two, option("c")), []string{fmt.Sprintf(sec, "a"), fmt.Sprintf(sec, "b")}, true},
		{"Forward, empty", encode(3, "t", []byte{0x90}, option("c")), nil, true},
		{"PackedForward", packed("c", two), []string{fmt.Sprintf(sec, "a"), fmt.Sprintf(sec, "b")}, true},
		{"PackedForward as str", encode(3, "t", msgp.AppendString(nil, string(two)), option("c")), []string{fmt.Sprintf(sec, "a"), fmt.Sprintf(sec, "b")}, true},
		{"PackedForward, empty", packed("c"), nil, true},
		{"PackedForward with times of all kinds", packed("c", []byte{0x92}, eventTime, record, []byte{0x92}, extTime, record,
			[]byte{0x92, 0x92}, eventTime, []byte{0x80}, record), []string{fmt.Sprintf(nano, "a"), fmt.Sprintf(nano, "a"), fmt.Sprintf(nano, "a")}, true},
		{"CompressedPackedForward", encode(3, "t", msgp.AppendBytes(nil, zipped.Bytes()), option("c", "compressed", "gzip")),
			[]string{fmt.Sprintf(sec, "a"), fmt.Sprintf(sec, "b")}, true},
		{"nil before", append([]byte{0xc0, 0xc0}, packed("c", two)...), []string{fmt.Sprintf(sec, "a"), fmt.Sprintf(sec, "b")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, l := listen(t)
			conn := dial(t, r)
			for i := range c.msg { // byte by byte
				if _, err := conn.Write(c.msg[i : i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if c.ack {
				if got := acks(t, conn, 1); got[0] != "c" {
					t.Errorf("ack %q", got)
				}
			} else {
				quiet(t, conn)
			}
			if got, want := fmt.Sprint(l.all()), fmt.Sprint(c.want); got != want {
				t.Errorf("events %s, want %s", got, want)
			}
			if st := r.Stats(); st.Events != int64(len(c.want)) || st.Messages+st.Pings != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// What is no Forward message ends the connection, and nothing worse.
func TestGarbage(t *testing.T) {
	for _, msg := range []string{"GET / HTTP/1.1\r\n\r\n", "\x93\xa1t\xc6\xff\xff\xff\xff", "\x91\xa1t", "\x93\xa1t\xc4\x01\x00\x80",
		"\x93\xa1t\xc4\x03abc\x81\xaacompressed\xa4lzma", "\x93\xa1t\xc4\x03abc\x81\xaacompressed\xa4gzip", strings.Repeat("\x91", 10000)} {
		r, _ := listen(t)
		conn := dial(t, r)
		_, _ = conn.Write([]byte(msg))
		_ = conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(conn); len(b) > 0 || isTimeout(err) {
			t.Errorf("%.20q: answer %q, %v", msg, b, err)
		}
	}
}

// The library's own client is content with us.
func TestFluentLogger(t *testing.T) {
	r, l := listen(t)
	addr := r.Addr()
	host, port, _ := net.SplitHostPort(addr)
	var n int
	_, _ = fmt.Sscan(port, &n)
	for _, ack := range []bool{false, true} {
		f, err := fluent.New(fluent.Config{FluentHost: host, FluentPort: n, RequestAck: ack, SubSecondPrecision: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.PostWithTime("app.web", time.Unix(7, 9), map[string]string{"log": "hello"}); err != nil {
			t.Error(err)
		}
		_ = f.Close()
	}
	for end := time.Now().Add(5 * time.Second); len(l.all()) < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	want := "app.web 7000000009 hello map[log:hello]"
	if got := l.all(); len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("got %q", got)
	}
}

func TestBehaviour(t *testing.T) {
	three := append(append(packed("1", entry(1, "a")), packed("2", entry(1, "b"))...), packed("3", entry(1, "c"))...)
	ping := encode(3, "fairlead.ping", []byte{0x90}, option("p"))
	all := func(t *testing.T, c net.Conn, ids ...string) {
		t.Helper()
		got := acks(t, c, len(ids))
		sort.Strings(got)
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("acks %q, want %q", got, ids)
		}
	}
	ended := func(t *testing.T, c net.Conn, want error) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("read: %v, want %v", err, want)
		}
	}
	for _, c := range []struct {
		name   string
		b      Behaviour
		events int64
		check  func(t *testing.T, r *Receiver, c net.Conn)
	}{
		{"good", Behaviour{}, 3, func(t *testing.T, _ *Receiver, c net.Conn) {
			if got := fmt.Sprint(acks(t, c, 3)); got != "[1 2 3]" {
				t.Errorf("acks %s", got)
			}
		}},
		{"late", Behaviour{AckDelay: 2 * time.Second}, 3, func(t *testing.T, _ *Receiver, c net.Conn) {
			quiet(t, c)
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			all(t, c, "1", "2", "3")
		}},
		{"shuffled", Behaviour{AckShuffled: true}, 3, func(t *testing.T, _ *Receiver, c net.Conn) { all(t, c, "1", "2", "3") }},
		{"twice", Behaviour{AckTwice: true}, 3, func(t *testing.T, _ *Receiver, c net.Conn) { all(t, c, "1", "1", "2", "2", "3", "3") }},
		{"unknown", Behaviour{AckUnknown: true}, 3, func(t *testing.T, _ *Receiver, c net.Conn) { all(t, c, "unknown-1", "unknown-2", "unknown-3") }},
		{"never", Behaviour{NoAcks: true}, 3, func(t *testing.T, _ *Receiver, c net.Conn) { quiet(t, c) }},
		{"dropped", Behaviour{DropAcks: 1}, 3, func(t *testing.T, _ *Receiver, c net.Conn) { quiet(t, c) }},
		{"full", Behaviour{Refuse: true}, 0, func(t *testing.T, r *Receiver, c net.Conn) {
			ended(t, c, syscall.ECONNRESET)
			c = dial(t, r)
			_, _ = c.Write(ping)
			all(t, c, "p")
			if st := r.Stats(); st.Refused != 1 || st.Pings != 1 {
				t.Errorf("stats %+v", st)
			}
		}},
		{"refuses a tag", Behaviour{RefuseTag: "t"}, 0, func(t *testing.T, _ *Receiver, c net.Conn) { ended(t, c, syscall.ECONNRESET) }},
		{"refuses another tag", Behaviour{RefuseTag: "u"}, 3, func(t *testing.T, _ *Receiver, c net.Conn) { all(t, c, "1", "2", "3") }},
		{"one message", Behaviour{CloseAfterMessage: true}, 1, func(t *testing.T, _ *Receiver, c net.Conn) { all(t, c, "1") }},
		{"ignores pings", Behaviour{IgnorePings: true}, 3, func(t *testing.T, _ *Receiver, c net.Conn) {
			all(t, c, "1", "2", "3")
			_, _ = c.Write(ping)
			quiet(t, c)
		}},
		{"hangs up on pings", Behaviour{HangUpOnPings: true}, 3, func(t *testing.T, _ *Receiver, c net.Conn) {
			all(t, c, "1", "2", "3")
			_, _ = c.Write(ping)
			ended(t, c, io.EOF)
		}},
		{"slow", Behaviour{BytesPerSecond: 500}, 3, func(t *testing.T, _ *Receiver, c net.Conn) {
			begin := time.Now()
			all(t, c, "1", "2", "3")
			if d := time.Since(begin); d < time.Duration(len(three)*1000/500-50)*time.Millisecond {
				t.Errorf("%d bytes in %v", len(three), d)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := listen(t)
			r.Set(c.b)
			conn := dial(t, r)
			if _, err := conn.Write(three); err != nil {
				t.Fatal(err)
			}
			c.check(t, r, conn)
			if got := r.Stats().Events; got != c.events {
				t.Errorf("%d events, want %d", got, c.events)
			}
		})
	}
}

func TestKillAndRestart(t *testing.T) {
	r, _ := listen(t)
	addr := r.Addr()
	conn := dial(t, r)
	_, _ = conn.Write(packed("1", entry(1, "a")))
	acks(t, conn, 1)
	r.Kill()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after the kill: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
	if err := r.Restart(); err != nil {
		t.Fatal(err)
	}
	conn = dial(t, r)
	_, _ = conn.Write(packed("2", entry(1, "b")))
	acks(t, conn, 1)
	if st := r.Stats(); st.Events != 2 || st.Connections != 2 {
		t.Errorf("stats %+v", st)
	}
}
