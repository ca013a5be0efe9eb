package forwarder

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/spool"
	"github.com/fairlead/fairlead/internal/balancer"
	"github.com/fairlead/fairlead/internal/receiver"
	"github.com/fairlead/fairlead/internal/size"
)

var sendingSeeds = flag.Int("sendings", 4, "how many random histories of sending, with either when_full")

// TestSendingSurvivesFaults plays random histories of a spool and its sender: receivers that are killed, refuse, fall silent or ack
// oddly, a balancer that drops connections, a spool that fills, restarts in order and kills. Whatever Append took arrives at
// least once unless it was counted as dropped, first arrivals in order (of what was not dropped), and the books balance at every end of a life.
func TestSendingSurvivesFaults(t *testing.T) {
	seeds := *sendingSeeds
	if testing.Short() {
		seeds = 1
	}
	for seed := range uint64(seeds) {
		for _, whenFull := range []string{spool.WhenFullWait, spool.WhenFullDropOldest} {
			t.Run(fmt.Sprintf("%s/%d", whenFull, seed), func(t *testing.T) {
				t.Parallel()
				// A loopback address of its own: while its receiver is down, nobody else gets the port.
				host := fmt.Sprintf("127.1.%d.%d", seed/128, 1+2*(seed%128))
				if whenFull == spool.WhenFullDropOldest {
					host = fmt.Sprintf("127.1.%d.%d", seed/128, 2+2*(seed%128))
				}
				playSending(t, rand.New(rand.NewPCG(seed, 1)), host, whenFull)
			})
		}
	}
}

// sending is one history.
type sending struct {
	t    *testing.T
	rng  *rand.Rand
	dir  string
	cfg  spool.Config
	recv *receiver.Receiver
	lb   *balancer.Balancer
	logs strings.Builder
	log  *slog.Logger

	sp      *spool.Spool
	end     context.CancelFunc
	running sync.WaitGroup
	lives   int

	taken   int   // events that Append took
	waits   []int // events of the frames that it did not take yet
	recs    []*spool.Record
	dropped int64

	mu     sync.Mutex // guards what follows
	seen   map[int]int
	newest int
	late   int // came for the first time after one that was sent later
	odd    error
}

func playSending(t *testing.T, rng *rand.Rand, host, whenFull string) {
	p := &sending{t: t, rng: rng, dir: t.TempDir(), seen: map[int]int{}}
	p.cfg = spool.Config{MaxBytes: 8 * size.MiB, WhenFull: whenFull, SyncAfter: 100 * time.Millisecond}
	p.log = slog.New(slog.NewTextHandler(&lockedWriter{w: &p.logs}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if p.recv, err = receiver.Listen(host+":0", p.arrive); err != nil {
		t.Fatal(err)
	}
	defer p.recv.Close()
	if p.lb, err = balancer.Listen(host+":0", balancer.Options{}, p.recv.Addr()); err != nil {
		t.Fatal(err)
	}
	defer p.lb.Close()
	p.open()
	for range 25 {
		p.fault()
		for range rng.IntN(4) {
			p.produce()
		}
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
	}
	p.recv.Set(receiver.Behaviour{})
	p.lb.Set(balancer.Options{})
	p.restart()
	for end := time.Now().Add(2 * time.Minute); len(p.recs) > 0 || p.sp.Stats().PendingFrames > 0; time.Sleep(time.Millisecond) {
		p.append()
		if time.Now().After(end) {
			t.Fatalf("stalled with %+v\n%s", p.sp.Stats(), tailOf(p.logs.String(), 4000))
		}
	}
	p.close(false)
	p.check()
}

type lockedWriter struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// open begins a life.
func (p *sending) open() {
	p.t.Helper()
	p.lives++
	p.cfg.Dir = filepath.Join(p.dir, strconv.Itoa(p.lives))
	var err error
	if p.sp, err = spool.Open(p.cfg, p.log, nil); err != nil {
		p.t.Fatal(err)
	}
	cfg := fluent.DefaultConfig()
	cfg.To, cfg.AckTimeout, cfg.Heartbeat, cfg.ConnectTimeout = []fluent.Endpoint{{Address: p.lb.Addr()}}, 300*time.Millisecond, 200*time.Millisecond, time.Second
	s := fluent.NewSender(cfg, &queue{spool: p.sp, reader: p.sp.Reader()}, p.log, fluent.NewMetrics(nil))
	ctx, cancel := context.WithCancel(context.Background())
	p.end = cancel
	p.running.Go(func() { _ = p.sp.Run(ctx) })
	p.running.Go(func() { _ = s.Run(ctx) })
}

// close ends a life, in order or as kill -9 does: then the next one finds what the files held before the spool was closed.
func (p *sending) close(kill bool) {
	p.t.Helper()
	p.end()
	p.running.Wait()
	next := filepath.Join(p.dir, strconv.Itoa(p.lives+1))
	if kill {
		p.move(next)
	}
	st := p.sp.Stats()
	if in, out := st.Recovered+st.Appended, st.Acked+st.PendingEvents+st.Dropped+st.SetAside+st.Lost; in != out || st.Lost > 0 || st.PendingFrames < 0 {
		p.t.Fatalf("books of life %d: %d in, %d out: %+v", p.lives, in, out, st)
	}
	p.dropped += st.Dropped
	if err := p.sp.Close(); err != nil {
		p.t.Fatal(err)
	}
	if !kill {
		p.move(next)
	}
}

// move copies the files of the spool, the last record torn now and then, as by a write in progress.
func (p *sending) move(to string) {
	p.t.Helper()
	if err := os.CopyFS(to, os.DirFS(p.cfg.Dir)); err != nil {
		p.t.Fatal(err)
	}
	segs, _ := filepath.Glob(filepath.Join(to, "*.seg"))
	if p.rng.IntN(2) == 0 && len(segs) > 0 {
		f, err := os.OpenFile(segs[len(segs)-1], os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			p.t.Fatal(err)
		}
		_, err = f.Write([]byte("\xfa\x1d\x01\x00 and no more"))
		if err = errors.Join(err, f.Close()); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p *sending) fault() {
	behaviours := []receiver.Behaviour{{}, {}, {AckDelay: 20 * time.Millisecond}, {AckShuffled: true, AckDelay: 5 * time.Millisecond}, {AckTwice: true},
		{AckUnknown: true}, {NoAcks: true}, {DropAcks: 0.02}, {Refuse: true}, {IgnorePings: true}, {HangUpOnPings: true},
		{CloseAfterMessage: true}, {CloseAfterMessage: true, ResetOnClose: true}, {BytesPerSecond: 2 << 20}}
	switch p.rng.IntN(10) {
	case 0:
		p.recv.Kill()
	case 1:
		p.restart()
	case 2:
		p.recv.DropConnections()
	case 3:
		p.lb.Drop()
	case 4:
		p.lb.Set(balancer.Options{Idle: time.Duration(p.rng.IntN(50)) * time.Millisecond, Mode: balancer.Mode(p.rng.IntN(4))})
	case 5:
		p.close(p.rng.IntN(2) == 0)
		p.open()
	default:
		p.recv.Set(behaviours[p.rng.IntN(len(behaviours))])
	}
}

func (p *sending) restart() {
	p.t.Helper()
	if err := p.recv.Restart(); err != nil {
		p.t.Fatal(err)
	}
}

// produce makes some frames, small ones and large ones, and appends what the spool takes.
func (p *sending) produce() {
	if len(p.recs) > 200 {
		p.append()
		return
	}
	events := p.taken
	for _, n := range p.waits {
		events += n
	}
	for range 1 + p.rng.IntN(60) {
		bytes := 10
		switch p.rng.IntN(20) {
		case 0:
			bytes = 250 << 10
		case 1:
			bytes = 30 << 10
		}
		var b fluent.Builder
		b.Reset("test", spool.HeaderBytes)
		n := 1 + p.rng.IntN(3)
		for range n {
			events++
			b.Add(1, [][]byte{[]byte(strconv.Itoa(events) + strings.Repeat(" ", bytes))}, nil, fluent.Extra{})
		}
		b.Seal()
		r := &spool.Record{Buf: b.Buf, Frame: len(b.Frame()), Events: n}
		r.Buf = spool.AppendMark(r.Buf, "newest", []byte(strconv.Itoa(events)))
		p.recs, p.waits = append(p.recs, r), append(p.waits, n)
	}
	p.append()
}

func (p *sending) append() {
	p.t.Helper()
	if len(p.recs) == 0 {
		return
	}
	n, err := p.sp.Append(p.recs)
	if err != nil && !errors.Is(err, spool.ErrFull) {
		p.t.Fatal(err)
	}
	for _, events := range p.waits[:n] {
		p.taken += events
	}
	p.recs, p.waits = p.recs[n:], p.waits[n:]
	if n > 0 {
		if got := string(p.sp.Marks()["newest"]); got != strconv.Itoa(p.taken) {
			p.t.Fatalf("mark %q, want %d", got, p.taken)
		}
	}
}

func (p *sending) arrive(e *receiver.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := strconv.Atoi(strings.TrimSpace(string(e.Field("log"))))
	if err != nil {
		p.odd = err
		return
	}
	if p.seen[n]++; p.seen[n] > 1 {
		return
	}
	if n < p.newest {
		p.late++
	}
	p.newest = max(p.newest, n)
}

func (p *sending) check() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	missing, repeats := 0, 0
	for n := 1; n <= p.taken; n++ {
		if p.seen[n] == 0 {
			missing++
		} else {
			repeats += p.seen[n] - 1
		}
	}
	p.t.Logf("%d events in %d lives, %d repeats, %d missing, %d dropped", p.taken, p.lives, repeats, missing, p.dropped)
	if int64(missing) > p.dropped {
		p.t.Errorf("%d events never came and only %d were counted as dropped", missing, p.dropped)
	}
	// What was dropped may be on its way still, in a receiver that reads slowly, when the next frames take another connection.
	if int64(p.late+missing) > p.dropped {
		p.t.Errorf("%d first arrivals out of order, %d of dropped events came", p.late, p.dropped-int64(missing))
	}
	if p.odd != nil {
		p.t.Error(p.odd)
	}
	if len(p.seen) != p.taken-missing {
		p.t.Error("something came that was not sent")
	}
	if p.t.Failed() {
		p.t.Log(tailOf(p.logs.String(), 6000))
	}
}
