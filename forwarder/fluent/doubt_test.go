package fluent

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/internal/receiver"
)

// An ack that never comes is noticed in ack_timeout, also while later frames go on being acked: the cursor waits for it.
func TestOneAckMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{DropAcks: 0.3})
	r.start(hasty)
	r.until("a doubt", func() bool {
		r.add(1, 1, 50)
		time.Sleep(10 * time.Millisecond)
		return r.disconnects(ackTimeout) > 0
	})
	r.recv.Set(receiver.Behaviour{})
	r.check(1000)
}

// A receiver that falls silent while idle makes way for another address, before it is given data.
func TestSilentWhileIdle(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other, err := receiver.Listen("127.0.0.1:0", r.got.handle)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	r.start(func(s *Sender) { s.cfg.Heartbeat, s.tune.pingWait = time.Minute, time.Second }, r.recv.Addr(), other.Addr())
	all := map[string]*receiver.Receiver{r.recv.Addr(): r.recv, other.Addr(): other}
	for range 8 {
		r.add(1, 1, 50)
		r.check(0)
		was := r.s.Status().Address
		all[was].Set(receiver.Behaviour{NoAcks: true, IgnorePings: true})
		time.Sleep(2 * testTune.trust)
		r.add(1, 1, 50)
		r.check(0)
		if got := testutil.ToFloat64(r.m.addressUp.WithLabelValues(was)); got != 0 {
			t.Errorf("address_up of the silent one is %v, want 0", got)
		}
		all[was].Set(receiver.Behaviour{})
	}
	if n := r.disconnects(ackTimeout); n > 0 {
		t.Errorf("%d ack timeouts: data was given to the silent one", n)
	}
	r.stop()
}

// Failures to connect and failures later on are remembered under the same address.
func TestFailedAddressIsRemembered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	dead, err := receiver.Listen("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	r.recv.Set(receiver.Behaviour{Refuse: true})
	r.add(1, 1, 50)
	r.start(nil, dead.Addr(), r.recv.Addr())
	r.until("both fail", func() bool {
		return r.disconnects(peerReset) > 0 && testutil.ToFloat64(r.m.connectErrors) > 0
	})
	r.stop()
	for _, p := range r.s.peers {
		if _, ok := p.addrs[netip.MustParseAddrPort(p.Address)]; !ok || len(p.addrs) != 1 {
			t.Errorf("%s: remembers %v", p.Address, p.addrs)
		}
	}
}

// A receiver that takes a little after each refusal makes many short outages: they are not logged each.
func TestShortOutagesAreNotLoggedEach(t *testing.T) {
	t.Parallel()
	text := &logText{}
	log := slog.New(slog.NewTextHandler(text, nil))
	o := outage{begun: "down", over: "up"}
	now := time.Unix(1760000000, 0)
	for range 1200 {
		o.failed(log, now)
		o.ended(log, now.Add(time.Millisecond))
		now = now.Add(100 * time.Millisecond)
	}
	if n := strings.Count(text.String(), "msg=down"); n != 2 {
		t.Errorf("%d outages logged in two minutes, want 2", n)
	}
	if n := strings.Count(text.String(), "msg=up"); n != 2 {
		t.Errorf("%d ends logged, want 2", n)
	}
	o.failed(log, now)
	for range 100 {
		now = now.Add(time.Second)
		o.failed(log, now)
	}
	if n := strings.Count(text.String(), "msg=down"); n != 4 {
		t.Errorf("%d outages logged after one of 100 s more, want 4", n)
	}
}
