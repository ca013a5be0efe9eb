package fluent

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairlead/fairlead/internal/receiver"
)

// asideQueue is a fileQueue of which single frames can be set aside.
type asideQueue struct {
	*fileQueue
	mu    sync.Mutex // guards what follows
	alone map[int]bool
	gave  int
	aside []int
}

func (q *asideQueue) Next(dst []Frame, maxFrames int, maxBytes int64) ([]Frame, error) {
	for {
		all, err := q.fileQueue.Next(dst, maxFrames, maxBytes)
		given := all[len(dst):]
		q.mu.Lock()
		kept := slices.DeleteFunc(slices.Clone(given), func(f Frame) bool { return q.alone[int(f.Seq)] })
		q.mu.Unlock()
		if len(kept) > 0 || len(given) == 0 || err != nil {
			return append(dst, kept...), err
		}
	}
}

func (q *asideQueue) tagOf(i int) string {
	p := q.index[i]
	b := make([]byte, p.n)
	if _, err := q.file.ReadAt(b, p.off); err != nil {
		q.t.Error(err)
	}
	tag, ok := Tag(b)
	if !ok {
		q.t.Error("no tag")
	}
	return string(tag)
}

func (q *asideQueue) Later(head uint64) (Frame, bool, error) {
	q.fileQueue.mu.Lock()
	defer q.fileQueue.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(head) != q.acked+1 {
		return Frame{}, false, nil
	}
	for i := q.acked + 1; i < len(q.index); i++ {
		if !q.alone[i+1] && q.tagOf(i) == q.tagOf(q.acked) {
			q.gave = i + 1
			p := q.index[i]
			return Frame{Seq: uint64(i + 1), Events: p.events, File: q.file, Off: p.off, Len: p.n}, true, nil
		}
	}
	return Frame{}, false, nil
}

func (q *asideQueue) AckAlone(seq uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(seq) != q.gave {
		q.t.Errorf("ack of %d alone, %d was given", seq, q.gave)
	}
	q.alone[int(seq)] = true
	return nil
}

func (q *asideQueue) SetAside(seq uint64) error {
	q.fileQueue.mu.Lock()
	defer q.fileQueue.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(seq) != q.acked+1 {
		q.t.Errorf("%d is set aside, the first is %d", seq, q.acked+1)
	}
	q.aside = append(q.aside, int(seq))
	q.acked++
	q.wake()
	return nil
}

func (q *asideQueue) done() bool {
	q.fileQueue.mu.Lock()
	defer q.fileQueue.mu.Unlock()
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := q.acked; i < len(q.index); i++ {
		if !q.alone[i+1] {
			return false
		}
	}
	return true
}

func (q *asideQueue) setAside() []int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.aside)
}

// asideRig is a rig with such a queue, and times so short that a frame is set aside within a second.
func asideRig(t *testing.T, tags ...string) (*rig, *asideQueue) {
	r := newRig(t)
	q := &asideQueue{fileQueue: r.q, alone: map[int]bool{}}
	var b Builder
	for _, tag := range tags {
		tag, text, _ := strings.Cut(tag, " ")
		b.Reset(tag, 0)
		r.lines++
		b.Add(int64(r.lines), [][]byte{[]byte(strconv.Itoa(r.lines) + " " + text)}, nil, Extra{})
		r.q.add(&b)
	}
	return r, q
}

func (r *rig) startAside(q *asideQueue, change func(*Sender)) {
	r.start(func(s *Sender) {
		s.q, s.contrast.q = q, q
		s.tune.refusals, s.tune.refusedFor = 10, 200*time.Millisecond
		s.tune.pingWait = 100 * time.Millisecond
		if change != nil {
			change(s)
		}
	})
}

func (r *rig) arrived() []int {
	r.got.mu.Lock()
	defer r.got.mu.Unlock()
	var all []int
	for n := range r.got.seen {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// One frame that is refused for what is in it goes aside, alone; all others arrive once.
func TestSetAsideByContrast(t *testing.T) {
	for name, b := range map[string]receiver.Behaviour{
		"closed with RST":    {RefuseContaining: "poison"},
		"closed each time":   {RefuseContaining: "poison", CloseAfterMessage: true},
		"swallowed":          {SwallowContaining: "poison"},
		"pings not answered": {RefuseContaining: "poison", IgnorePings: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, q := asideRig(t, "a", "b poison", "a", "c", "b", "b", "a poison", "a")
			r.recv.Set(b)
			r.startAside(q, func(s *Sender) {
				if b.SwallowContaining != "" {
					s.tune.refusals, s.cfg.AckTimeout = 3, time.Second // each takes one
				}
			})
			r.until("all is acked or aside, and counted", func() bool { return q.done() && testutil.ToFloat64(r.m.setAside) >= 2 })
			if got := q.setAside(); !slices.Equal(got, []int{2, 7}) {
				t.Fatalf("set aside %v, want 2 and 7", got)
			}
			if got, want := r.arrived(), []int{1, 3, 4, 5, 6, 8}; !slices.Equal(got, want) {
				t.Fatalf("arrived %v, want %v", got, want)
			}
			r.got.mu.Lock()
			repeats := r.got.repeats
			r.got.mu.Unlock()
			most := 0
			if b.SwallowContaining != "" { // the frames that were sent behind it in one batch
				most = 2 * r.lines
			}
			if repeats > most {
				t.Errorf("%d repeats", repeats)
			}
			if got := testutil.ToFloat64(r.m.setAside); got != 2 {
				t.Errorf("set_aside_frames_total %v", got)
			}
			if !strings.Contains(r.logs.String(), "level=ERROR") || !strings.Contains(r.logs.String(), "fairlead replay --set-aside") {
				t.Error("the log does not say so")
			}
		})
	}
}

// Over TLS it is less plain that a receiver has read the frame which it does not answer.
func TestSetAsideOverTLS(t *testing.T) {
	r, q := asideRig(t, "a", "b poison", "a", "b")
	auth := receiver.NewAuthority("fairlead test")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, auth.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.recv.Secure(receiver.Security{TLS: auth.Server("127.0.0.1")})
	r.recv.Set(receiver.Behaviour{SwallowContaining: "poison"})
	r.start(func(s *Sender) {
		s.credentials.CA, s.cfg.AckTimeout = ca, time.Second
		s.q, s.contrast.q = q, q
		s.tune.refusals, s.tune.refusedFor = 3, 200*time.Millisecond
	}, "tls://"+r.recv.Addr())
	r.until("all is acked or aside", q.done)
	if got := q.setAside(); !slices.Equal(got, []int{2}) {
		t.Fatalf("set aside %v, want 2", got)
	}
}

// A receiver that acks pings and refuses all data loses nothing, however long: that is an outage.
func TestOutageSetsNothingAside(t *testing.T) {
	for name, b := range map[string]receiver.Behaviour{"refused": {Refuse: true}, "swallowed": {SwallowContaining: "x"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, q := asideRig(t, "a x", "a x", "b x", "a x")
			r.recv.Set(b)
			r.startAside(q, func(s *Sender) { s.tune.refusals, s.tune.refusedFor, s.cfg.AckTimeout = 2, 0, time.Second })
			r.until("it was refused many times", func() bool {
				st := r.s.Status().Suspect
				return st != nil && st.Seq == 1 && st.Refused >= 3
			})
			r.recv.Set(receiver.Behaviour{})
			r.until("all is acked", q.done)
			if got := q.setAside(); len(got) > 0 {
				t.Fatalf("set aside %v", got)
			}
			if got := r.arrived(); !slices.Equal(got, []int{1, 2, 3, 4}) {
				t.Fatalf("arrived %v", got)
			}
			r.until("it is not suspect any more", func() bool { return r.s.Status().Suspect == nil })
		})
	}
}

// With no later frame of its tag a frame stays where it is: there is no contrast.
func TestNothingToContrastWith(t *testing.T) {
	r, q := asideRig(t, "a poison", "b", "c")
	r.recv.Set(receiver.Behaviour{RefuseContaining: "poison"})
	r.startAside(q, func(s *Sender) { s.tune.refusals, s.tune.refusedFor = 2, 0 })
	r.until("it was refused many times", func() bool { return r.recv.Stats().Refused > 20 })
	if got := q.setAside(); len(got) > 0 || len(r.arrived()) > 0 {
		t.Fatalf("set aside %v, arrived %v", got, r.arrived())
	}
}

// The rule in its real figures.
func TestSuspicion(t *testing.T) {
	t0 := time.Unix(1_700_000_000, 0)
	a, b := netip.MustParseAddrPort("10.0.0.1:24224"), netip.MustParseAddrPort("10.0.0.2:24224")
	type refusal struct {
		after  time.Duration
		by     netip.AddrPort
		passed netip.AddrPort // acked a later frame before

		guilty bool
	}
	every := func(n int, d time.Duration) (rs []refusal) {
		for i := range n {
			rs = append(rs, refusal{after: time.Duration(i) * d, by: a})
		}
		return rs
	}
	none := netip.AddrPort{}
	for name, rs := range map[string][]refusal{
		"an hour of refusals and no contrast": every(720, 5*time.Second),
		"ten in a minute, contrast":           append(every(9, 5*time.Second), refusal{time.Minute, a, a, false}),
		"nine over an hour, contrast":         append(every(8, 7*time.Minute), refusal{time.Hour, a, a, false}),
		"ten over a quarter, contrast":        append(every(9, time.Minute), refusal{15 * time.Minute, a, a, true}),
		"just short of a quarter":             append(every(9, time.Minute), refusal{15*time.Minute - 1, a, a, false}),
		"another address took the later one":  append(every(9, time.Minute), refusal{20 * time.Minute, b, a, false}),
		"refused once more after the contrast was not": append(every(20, time.Minute),
			refusal{20 * time.Minute, a, none, false}, refusal{21 * time.Minute, a, a, true}),
	} {
		t.Run(name, func(t *testing.T) {
			var x suspicion
			for i, r := range rs {
				now := t0.Add(r.after)
				if i == len(rs)-1 && r.passed.IsValid() {
					if got, want := x.wantsContrast(now, &defaultTune), r.after >= 15*time.Minute && i >= 9; got != want {
						t.Errorf("wants a later frame before refusal %d: %v, want %v", i, got, want)
					}
				}
				x.passed = r.passed
				if got := x.refuse(7, r.by, now, &defaultTune); got != r.guilty {
					t.Fatalf("refusal %d: guilty %v, want %v", i, got, r.guilty)
				}
				if x.passed.IsValid() {
					t.Fatal("one contrast counts twice")
				}
			}
			x.refuse(8, a, t0.Add(2*time.Hour), &defaultTune)
			if x.times != 1 || x.wantsContrast(t0.Add(2*time.Hour), &defaultTune) {
				t.Error("another frame inherits the suspicion")
			}
		})
	}
}
