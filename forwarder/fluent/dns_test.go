package fluent

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is a DNS server on loopback. What it answers may change at any time.
type zone struct {
	t    testing.TB
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex // guards all below
	a       map[string][]string
	srv     map[string][]dnsmessage.SRVResource
	rcode   dnsmessage.RCode
	silent  bool
	queries int
	clients []net.Conn // of the resolver, closed ones too
	over    bool
}

func newZone(t testing.TB) *zone {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{t: t, conn: conn, done: make(chan struct{}), a: map[string][]string{}, srv: map[string][]dnsmessage.SRVResource{}}
	go z.serve()
	t.Cleanup(func() {
		z.mu.Lock()
		z.over = true
		for _, c := range z.clients { // the resolver goes on waiting when nobody does any more
			_ = c.Close()
		}
		z.mu.Unlock()
		_ = conn.Close()
		<-z.done
	})
	return z
}

// resolver asks this server and no other.
func (z *zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		z.mu.Lock()
		defer z.mu.Unlock()
		if z.over {
			return nil, net.ErrClosed
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "udp", z.conn.LocalAddr().String())
		if err == nil {
			z.clients = append(z.clients, c)
		}
		return c, err
	}}
}

// set changes the addresses of a name; none: there is no such name.
func (z *zone) set(name string, addrs ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.a[name+"."] = addrs
}

func (z *zone) setSRV(name string, targets ...dnsmessage.SRVResource) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.srv[name+"."] = targets
}

func (z *zone) fail(rcode dnsmessage.RCode, silent bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcode, z.silent = rcode, silent
}

func (z *zone) asked() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.queries
}

func (z *zone) serve() {
	defer close(z.done)
	buf := make([]byte, 2048)
	for {
		n, from, err := z.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if err := query.Unpack(buf[:n]); err != nil || len(query.Questions) != 1 {
			z.t.Errorf("bad query: %v", err)
			return
		}
		answer, ok := z.answer(query)
		text, err := answer.Pack()
		if err != nil {
			z.t.Errorf("pack an answer: %v", err)
		}
		if ok {
			_, _ = z.conn.WriteTo(text, from)
		}
	}
}

func (z *zone) answer(query dnsmessage.Message) (dnsmessage.Message, bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.queries++
	q := query.Questions[0]
	name := strings.ToLower(q.Name.String())
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: z.rcode}, Questions: query.Questions}
	if z.silent || z.rcode != dnsmessage.RCodeSuccess {
		return m, !z.silent
	}
	add := func(body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: body})
	}
	for _, text := range z.a[name] {
		addr := netip.MustParseAddr(text)
		switch {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			add(&dnsmessage.AResource{A: addr.As4()})
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			add(&dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
	}
	for _, srv := range z.srv[name] {
		if q.Type == dnsmessage.TypeSRV {
			add(&srv)
		}
	}
	if len(z.a[name]) == 0 && len(z.srv[name]) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	return m, true
}

func srvTo(target string, port, priority, weight uint16) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Target: dnsmessage.MustNewName(target + "."), Port: port, Priority: priority, Weight: weight}
}

const testResolveEvery = 200 * time.Millisecond
