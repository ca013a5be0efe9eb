package forwarder

import (
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// healTime is what recovery may take: the longest pause after failures (5 s), then resolving, connecting and proving over a slow link,
// a look for new files each second, and the fold's wait.
const healTime = 8 * time.Second

// fault does something bad, or ends something bad.
func (h *history) fault() { h.act(h.rng.IntN(24)) }

// cut ends connections, in one way or another.
func (h *history) cut() { h.act([]int{0, 1, 1, 1, 2, 5, 20}[h.rng.IntN(7)]) }

func (h *history) act(k int) {
	h.faults++
	r := h.recv[h.rng.IntN(len(h.recv))]
	switch k {
	case 0:
		h.say("all flows end with FIN")
		h.net.each((*simFlow).fin)
	case 1:
		h.say("all flows are reset")
		h.net.each((*simFlow).reset)
	case 2:
		mode := dropSilentReset + dropMode(h.rng.IntN(2))
		h.say("all flows are forgotten, mode %d", mode)
		h.silent = true
		h.net.each(func(f *simFlow) { f.drop(mode) })
	case 3, 4:
		h.net.mu.Lock()
		h.net.idle, h.net.mode = time.Duration(1+h.rng.IntN(60))*time.Second, dropMode(h.rng.IntN(int(dropModes)))
		h.say("the balancer drops after %v, mode %d", h.net.idle, h.net.mode)
		h.silent = h.silent || h.net.mode >= dropSilentReset
		h.net.mu.Unlock()
	case 5, 6:
		i := slices.Index(h.recv, r)
		h.net.mu.Lock()
		down := h.net.servers[h.addr[i]] == nil
		if down {
			h.net.servers[h.addr[i]] = r
		} else {
			delete(h.net.servers, h.addr[i])
		}
		h.net.mu.Unlock()
		h.say("receiver %d restarts: up %v", i, down)
		if !down {
			r.DropConnections()
		}
	case 7:
		h.net.mu.Lock()
		h.net.hole = !h.net.hole
		h.say("partition %v", h.net.hole)
		h.silent = true
		h.net.mu.Unlock()
	case 8:
		h.net.mu.Lock()
		h.net.noDNS = !h.net.noDNS
		h.say("no DNS: %v", h.net.noDNS)
		h.net.mu.Unlock()
	case 9:
		h.resolve(1 + h.rng.IntN(len(h.addr)))
	case 10:
		h.net.mu.Lock()
		h.net.latency = time.Duration(1+h.rng.IntN(200)) * time.Millisecond
		h.say("latency %v", h.net.latency)
		h.net.mu.Unlock()
	case 11, 12, 13, 14, 15, 16:
		behaviours := []receiver.Behaviour{
			{AckDelay: time.Duration(1+h.rng.IntN(40)) * time.Second},
			{AckDelay: time.Duration(1+h.rng.IntN(800)) * time.Millisecond, AckShuffled: true},
			{NoAcks: true}, {DropAcks: 0.3}, {DropAcks: 0.02}, {Refuse: true}, {Refuse: true, IgnorePings: true},
			{AckTwice: true, AckShuffled: true}, {AckUnknown: true}, {IgnorePings: true}, {HangUpOnPings: true},
			{CloseAfterMessage: true}, {CloseAfterMessage: true, ResetOnClose: true}, {BytesPerSecond: 200 + h.rng.IntN(100000)},
		}
		if h.drops {
			behaviours = append(behaviours, receiver.Behaviour{DropMessages: 0.2}, receiver.Behaviour{DropMessages: 0.02, AckShuffled: true})
		}
		b := behaviours[h.rng.IntN(len(behaviours))]
		r.Set(b)
		h.silent = true // acks withheld, or on their way
		h.say("receiver %d: %+v", slices.Index(h.recv, r), b)
	case 17:
		r.Set(receiver.Behaviour{})
		h.say("receiver %d behaves", slices.Index(h.recv, r))
	case 18, 19:
		h.say("stop and start")
		h.stop()
		if h.rng.IntN(2) == 0 {
			h.write()
		}
		h.start()
	case 20, 21:
		h.say("kill and start")
		h.kill()
		if h.rng.IntN(2) == 0 {
			h.write()
		}
		h.start()
	default:
		h.say("all is well again")
		h.heal()
	}
}

// resolve lets the name lead to n of the receivers.
func (h *history) resolve(n int) {
	addrs := make([]netip.Addr, 0, len(h.addr))
	for _, i := range h.rng.Perm(len(h.addr))[:n] {
		addrs = append(addrs, h.addr[i].Addr())
	}
	h.net.mu.Lock()
	h.net.names["logs.internal"] = addrs
	h.net.mu.Unlock()
	h.say("the name leads to %v", addrs)
}

// heal ends all that is bad. What was swallowed or withheld stays so.
func (h *history) heal() {
	for _, r := range h.recv {
		r.Set(receiver.Behaviour{})
	}
	h.net.mu.Lock()
	h.net.idle, h.net.hole, h.net.noDNS, h.net.latency = 0, false, false, []time.Duration{time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}[h.rng.IntN(3)]
	for i, r := range h.recv {
		h.net.servers[h.addr[i]] = r
	}
	h.net.mu.Unlock()
	h.resolve(len(h.addr))
}

// settle ends the faults, and holds what has arrived against what was written.
func (h *history) settle() {
	for range 3 {
		h.write()
	}
	h.pause(time.Duration(h.rng.IntN(500)) * time.Millisecond)
	h.heal()
	h.say("settles")
	h.net.mu.Lock()
	h.net.latency = time.Millisecond
	h.net.mu.Unlock()
	h.net.each((*simFlow).quicken) // or a full spool might take minutes through a small window
	bound := healTime
	if h.silent { // what was swallowed is missed after ack_timeout, and frames before it hold it up as long
		bound += 2 * ackTimeout
	}
	began := time.Now()
	for {
		n, _ := h.missing()
		if n == 0 && h.life.f.Status().Spool.PendingFrames == 0 {
			break
		}
		if time.Since(began) > bound {
			h.fail("not recovered within %v", bound)
		}
		h.pause(10 * time.Millisecond)
	}
	took := time.Since(began)
	if took > healTime {
		h.say("recovered in %v", took)
	}
	h.pause(5 * time.Second)
	st := h.life.f.Status()
	if l := st.Ledger; l.Imbalance != 0 || l.Lost != 0 || l.SetAside != 0 || l.Building != 0 || l.Spooled != 0 {
		h.fail("the books: %+v", l)
	}
	h.stop()
	h.mu.Lock()
	repeats := h.repeats
	h.mu.Unlock()
	h.net.mu.Lock()
	connects := h.net.dialled
	h.net.mu.Unlock()
	// A fault makes at most one batch come again; while it lasts, each new connection tries one frame.
	if most := h.faults*256 + connects; repeats > most {
		h.fail("%d chunks came again, want at most %d for %d faults and %d connections", repeats, most, h.faults, connects)
	}
	h.mu.Lock()
	before := h.arrived + h.repeats
	h.mu.Unlock()
	h.start()
	h.pause(10 * time.Second)
	h.end(false)
	h.mu.Lock()
	after := h.arrived + h.repeats
	h.mu.Unlock()
	if before != after {
		h.fail("%d events came again after a stop at rest", after-before)
	}
	h.net.each((*simFlow).reset)
	h.took = took
}
