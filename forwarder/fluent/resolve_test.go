package fluent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/fairlead/fairlead/internal/receiver"
)

// named is a rig whose receivers, r.recv among them, listen on one port of several loopback addresses and are found by DNS.
type named struct {
	*rig
	z     *zone
	port  string
	addrs []string
	all   map[string]*receiver.Receiver
}

func newNamed(t *testing.T, receivers int) *named {
	t.Helper()
	n := &named{rig: newRig(t), z: newZone(t), all: map[string]*receiver.Receiver{}}
	for try := 0; len(n.addrs) < receivers; try++ {
		ip := fmt.Sprintf("127.0.0.%d", 20+len(n.addrs))
		recv, err := receiver.Listen(net.JoinHostPort(ip, max(n.port, "0")), n.got.handle)
		if err != nil {
			if try > 20 {
				t.Fatal(err)
			}
			for _, r := range n.all { // the port is taken on that address: begin again with another
				_ = r.Close()
			}
			n.port, n.addrs, n.all = "", nil, map[string]*receiver.Receiver{}
			continue
		}
		_, n.port, _ = net.SplitHostPort(recv.Addr())
		n.addrs, n.all[ip] = append(n.addrs, ip), recv
		t.Cleanup(func() { _ = recv.Close() })
	}
	n.z.set("logs.test", n.addrs[0])
	return n
}

func (n *named) begin(change func(*Sender), to ...string) {
	if len(to) == 0 {
		to = []string{"logs.test:" + n.port}
	}
	n.start(func(s *Sender) {
		s.resolver, s.cfg.ResolveEvery, s.cfg.Heartbeat = n.z.resolver(), testResolveEvery, time.Minute
		if change != nil {
			change(s)
		}
	}, to...)
}

func (n *named) at(ip string) bool {
	return n.s.Status().Remote == net.JoinHostPort(ip, n.port)
}

// nothingTwice holds that moving cost nothing.
func (n *named) nothingTwice() {
	n.Helper()
	n.check(0)
	if got := testutil.ToFloat64(n.m.resent); got > 0 {
		n.Errorf("%v frames sent twice", got)
	}
}

// An address that leaves DNS is left within resolve_every: after what is in flight is acked, and with nothing sent twice.
func TestAddressLeavesDNS(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after []int
	}{
		{"another for it", []int{0}, []int{1}},
		{"fewer", []int{0, 1, 2}, nil}, // the one in use goes
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNamed(t, 3)
			set := func(of []int, but string) {
				var list []string
				for _, i := range of {
					if n.addrs[i] != but {
						list = append(list, n.addrs[i])
					}
				}
				n.z.set("logs.test", list...)
			}
			set(c.before, "")
			n.begin(nil)
			n.flow("a connection", func() bool { return n.s.Status().Remote != "" })
			host, _, _ := net.SplitHostPort(n.s.Status().Remote)
			before := n.z.asked()
			n.flow("it is looked for again", func() bool { return n.z.asked() > before+6 })
			if !n.at(host) {
				t.Fatal("left while it was in the answers")
			}
			if c.after == nil {
				set(c.before, host)
			} else {
				set(c.after, "")
			}
			changed := time.Now()
			n.flow("it is left", func() bool { return n.s.Status().Remote != "" && !n.at(host) })
			if d := time.Since(changed); d > 50*testResolveEvery { // of which 49 are for a slow machine; TestRotatingNames has the figures
				t.Errorf("left after %v", d)
			}
			n.nothingTwice()
			if n.disconnects(addressGone) != 1 {
				t.Errorf("%d connections ended for it, want 1", n.disconnects(addressGone))
			}
		})
	}
}

// What DNS says is no reason to give up a connection that works for one that does not, or for none.
func TestWorkingConnectionIsKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(z *zone)
	}{
		{"no such name", func(z *zone) { z.set("logs.test") }},
		{"server fails", func(z *zone) { z.fail(dnsmessage.RCodeServerFailure, false) }},
		{"server is silent", func(z *zone) { z.fail(0, true) }},
		{"an address that refuses", func(z *zone) { z.set("logs.test", "127.0.0.99") }},
		{"an address of the other family", func(z *zone) { z.set("logs.test", "::1") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newNamed(t, 1)
			n.begin(func(s *Sender) { s.cfg.ConnectTimeout = 300 * time.Millisecond })
			n.flow("a connection", func() bool { return n.at(n.addrs[0]) })
			c.change(n.z)
			before := n.z.asked()
			n.flow("many lookups", func() bool { return n.z.asked() > before+12 })
			n.nothingTwice()
			if n.s.Status().Connections != 1 {
				t.Errorf("%d connections, want 1", n.s.Status().Connections)
			}
		})
	}
}

// A receiver that is in DNS and takes connections, but does not answer pings as those before it did, is not gone to.
func TestGonePingsFirst(t *testing.T) {
	t.Parallel()
	n := newNamed(t, 2)
	n.begin(nil)
	n.flow("a connection", func() bool { return n.at(n.addrs[0]) })
	n.all[n.addrs[1]].Set(receiver.Behaviour{HangUpOnPings: true})
	n.z.set("logs.test", n.addrs[1])
	n.flow("it was tried", func() bool { return n.all[n.addrs[1]].Stats().Connections > 1 })
	if !n.at(n.addrs[0]) {
		t.Error("left for a receiver that hangs up")
	}
	n.all[n.addrs[1]].Set(receiver.Behaviour{})
	n.flow("it is left", func() bool { return n.at(n.addrs[1]) })
	n.nothingTwice()
}

// All answers of a name are tried.
func TestAllAnswersAreTried(t *testing.T) {
	t.Parallel()
	n := newNamed(t, 1)
	n.z.set("logs.test", "127.0.0.98", "::1", "127.0.0.99", n.addrs[0])
	n.begin(nil)
	for range 10 {
		n.add(5, 1, 100)
		n.check(0)
		n.recv.DropConnections()
	}
}

// SRV: a lower priority first, the next when none of it works, and back when one does.
func TestSRVPriorities(t *testing.T) {
	for _, to := range []string{"srv://logs.test", "_fluentd._tcp.logs.test"} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			n := newNamed(t, 2)
			other, err := receiver.Listen("127.0.0.1:0", n.got.handle) // of another port
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close() }()
			port := func(addr string) uint16 { return netip.MustParseAddrPort(addr).Port() }
			n.z.set("one.test", n.addrs[0])
			n.z.set("two.test", n.addrs[1], "127.0.0.1")
			n.z.setSRV(strings.TrimPrefix(to, "srv://"), srvTo("two.test", port(other.Addr()), 20, 5), srvTo("one.test", port(n.all[n.addrs[0]].Addr()), 10, 5))
			n.begin(nil, to)
			n.flow("the first priority", func() bool { return n.at(n.addrs[0]) })
			n.all[n.addrs[0]].Kill()
			n.flow("the second", func() bool { return n.s.Status().Remote == other.Addr() })
			if err := n.all[n.addrs[0]].Restart(); err != nil {
				t.Fatal(err)
			}
			n.flow("the first again", func() bool { return n.at(n.addrs[0]) })
			n.check(2 * maxBatchFrames)
			if n.disconnects(preferred) != 1 {
				t.Errorf("%d connections ended for the first priority, want 1", n.disconnects(preferred))
			}
			n.stop()
		})
	}
}

// SRV's weights decide which target is taken at each connect.
func TestSRVWeights(t *testing.T) {
	p := newPeer(Endpoint{Address: "srv://x"})
	at := func(i byte) netip.AddrPort { return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, i}), 1) }
	count := map[netip.AddrPort]int{}
	const draws = 20000
	for range draws {
		groups := p.groups([]found{{at(1), 1, 70}, {at(2), 1, 30}, {at(3), 1, 0}, {at(4), 2, 1000}}, time.Now())
		if len(groups) != 2 || len(groups[0]) != 3 || groups[1][0].addr != at(4) {
			t.Fatalf("groups %v", groups)
		}
		count[groups[0][0].addr]++
	}
	for i, share := range map[byte]float64{1: .7, 2: .3, 3: 0} {
		if got := float64(count[at(i)]) / draws; got < share-.02 || got > share+.02 {
			t.Errorf("address %d first in %.3f of the connects, want %.2f", i, got, share)
		}
	}
}

func TestLookupErrors(t *testing.T) {
	z := newZone(t)
	z.setSRV("none.test", srvTo("", 0, 0, 0))
	z.setSRV("dangling.test", srvTo("nowhere.test", 1, 0, 0))
	z.set("half.test", "10.0.0.1")
	z.setSRV("mixed.test", srvTo("nowhere.test", 1, 0, 0), srvTo("half.test", 2, 0, 0), srvTo("half.test", 2, 0, 0))
	s := NewSender(DefaultConfig(), nil, nil, NewMetrics(nil))
	s.resolver = z.resolver()
	for _, c := range []struct{ to, want string }{
		{"srv://none.test", "there is no such service"},
		{"srv://dangling.test", "resolve the SRV targets of srv://dangling.test: lookup nowhere.test."},
		{"srv://absent.test", "resolve the SRV name of srv://absent.test"},
		{"absent.test:1", "resolve absent.test:1: lookup absent.test"},
	} {
		if _, _, err := s.lookup(t.Context(), newPeer(Endpoint{Address: c.to}), "ip"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.to, err, c.want)
		}
	}
	list, whole, err := s.lookup(t.Context(), newPeer(Endpoint{Address: "srv://mixed.test"}), "ip")
	if err != nil || whole || len(list) != 1 || list[0].addr.String() != "10.0.0.1:2" {
		t.Errorf("%v, whole %v, %v; want the one address of what could be resolved", list, whole, err)
	}
}

// However many priorities there are to try, the watchdog sees each as progress.
func TestSRVPrioritiesShowProgress(t *testing.T) {
	n := newNamed(t, 1)
	const priorities = 20
	n.z.set("one.test", n.addrs[0])
	var records []dnsmessage.SRVResource
	for i := range uint16(priorities) {
		records = append(records, srvTo("one.test", 1+i, i, 1))
	}
	n.z.setSRV("logs.test", records...)
	seen := make(chan int64, priorities)
	n.begin(func(s *Sender) {
		s.dial = func(context.Context, netip.AddrPort) (Conn, error) {
			time.Sleep(time.Millisecond) // so that no two are at one moment
			_, at, _ := s.pulse.Look()
			select {
			case seen <- at:
			default:
			}
			return nil, errors.New("nobody there")
		}
	}, "srv://logs.test")
	n.add(1, 1, 100)
	before := int64(-1)
	for i := range priorities {
		at := <-seen
		if at == before {
			t.Errorf("no progress between priority %d and %d", i-1, i)
		}
		before = at
	}
	n.stop()
}
