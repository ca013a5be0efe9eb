package forwarder

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/forwarder/fluent"
	"github.com/fairlead/fairlead/forwarder/tail"
	"github.com/fairlead/fairlead/internal/pulse"
	"github.com/fairlead/fairlead/internal/receiver"
)

// TestRandomHistories plays the whole path (files, loop, spool, sender, balancer, receivers) in virtual time, with faults mixed at random
// by seed: see history.fault. The files, the spool and all code of ours are real; the network, the receivers' hosts and the clock
// are simulated, so that an outage of an hour costs a moment. In the end everything written has arrived, in order, each event in
// one chunk and no chunk again without a fault; the books balance; nothing was given up; and what was left came within seconds
// of the end of the faults. No loop ever stood still by its own account.
//
// FAIRLEAD_TEST_SEED plays one seed, FAIRLEAD_HISTORIES so many; `make soak` plays 1,000.
func TestRandomHistories(t *testing.T) {
	first, n := uint64(1), 10
	if testing.Short() {
		n = 4
	}
	if os.Getenv("FAIRLEAD_SOAK") != "" {
		n = 1000
	}
	if v, err := strconv.Atoi(os.Getenv("FAIRLEAD_HISTORIES")); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv("FAIRLEAD_TEST_SEED"), 10, 64); err == nil {
		first, n = v, 1
	}
	began := time.Now()
	var sum tally
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			if sum.broken.Load() {
				t.Skip("another history has failed")
			}
			defer func() { sum.broken.Store(sum.broken.Load() || t.Failed()) }()
			synctest.Test(t, func(t *testing.T) { playHistory(t, seed, &sum) })
		})
	}
	t.Cleanup(func() {
		sum.mu.Lock()
		defer sum.mu.Unlock()
		slices.Sort(sum.recovered)
		if len(sum.recovered) == 0 {
			return
		}
		within, _ := slices.BinarySearch(sum.recovered, 5*time.Second)
		t.Logf("%d histories, %s of virtual time in %s: %d events, %d faults, %d lives (%d killed), %d chunks came again, recovered in %s at the median, %s at most, %d within 5 s",
			len(sum.recovered), sum.virtual.Round(time.Second), time.Since(began).Round(time.Millisecond), sum.events, sum.faults, sum.lives, sum.kills, sum.repeats,
			sum.recovered[len(sum.recovered)/2].Round(time.Millisecond), sum.recovered[len(sum.recovered)-1].Round(time.Millisecond), within)
	})
}

// tally is what all histories came to.
type tally struct {
	broken atomic.Bool

	mu                                    sync.Mutex
	virtual                               time.Duration
	recovered                             []time.Duration
	events, faults, lives, kills, repeats int
}

// history is one.
type history struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	dir  string
	net  *simNet
	recv []*receiver.Receiver
	addr []netip.AddrPort
	logs []*simLog
	text lockedBuffer
	big  bool // enough is written to fill the spool
	// drops says that receivers may throw frames away, and take and ack later ones: then first arrivals need not be in order.
	drops bool

	life    *simLife
	monitor *pulse.Monitor
	lives   int
	kills   int
	faults  int
	silent  bool // since the last healing something may lie in a connection that nobody will ever answer
	said    []string
	began   time.Time
	took    time.Duration // to recover

	mu      sync.Mutex // guards what follows, which the receivers fill
	seen    map[string]map[int]string
	newest  map[string]int
	chunks  map[string]*simChunkSeen
	repeats int
	wrong   []string
	arrived int
}

// simChunkSeen is a chunk as the receivers got it.
type simChunkSeen struct {
	first  time.Time
	events int // of its first arrival
	last   string
	times  int
}

// simLog is the log of a container. Its lines are numbered.
type simLog struct {
	id    string
	path  string
	lines int
	files []int // the highest number in each file, the live one first
}

// simLife is one life of the forwarder.
type simLife struct {
	f      *Forwarder
	net    *lifeNet
	spool  string
	cancel context.CancelFunc
	done   chan error
}

// lifeNet is the network for one life: when its process is killed, nothing of it goes out any more.
type lifeNet struct {
	*simNet
	dead  atomic.Bool
	mu    sync.Mutex
	flows []*simFlow
}

func (n *lifeNet) Dial(ctx context.Context, to netip.AddrPort) (fluent.Conn, error) {
	if n.dead.Load() {
		return nil, errors.New("killed")
	}
	c, err := n.simNet.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.flows = append(n.flows, (*simFlow)(c.(*clientEnd)))
	n.mu.Unlock()
	return c, nil
}

func (n *lifeNet) kill() {
	n.dead.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.flows {
		f.die()
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func playHistory(t *testing.T, seed uint64, sum *tally) {
	h := &history{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 11)), dir: quickDir(t), monitor: &pulse.Monitor{Slack: 2 * time.Second, Chance: 1, Threads: "/none"},
		seen: map[string]map[int]string{}, newest: map[string]int{}, chunks: map[string]*simChunkSeen{},
	}
	h.net = &simNet{rng: rand.New(rand.NewPCG(seed, 12)), names: map[string][]netip.Addr{}, servers: map[netip.AddrPort]*receiver.Receiver{}, latency: time.Millisecond}
	h.began = time.Now()
	for i := range 1 + h.rng.IntN(3) {
		r := receiver.New(h.arrive)
		defer r.Close()
		h.recv = append(h.recv, r)
		h.addr = append(h.addr, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 24224))
	}
	h.heal()
	for i := range 1 + h.rng.IntN(4) {
		h.newLog(i)
	}
	h.big, h.drops = h.rng.IntN(8) == 0, h.rng.IntN(4) == 0
	h.start()
	defer func() {
		if t.Failed() { // or what is left would keep the bubble from its end
			h.life.net.kill()
			h.life.f.HandOver()
			h.life.cancel()
			h.net.each((*simFlow).reset)
			for _, r := range h.recv {
				r.Set(receiver.Behaviour{})
			}
			<-h.life.done //nolint:errcheck // the test has failed already
		}
	}()
	for range 10 + h.rng.IntN(30) {
		h.fault()
		for range h.rng.IntN(6) {
			h.write()
			h.pause(time.Duration(h.rng.IntN(300)) * time.Millisecond)
		}
		switch h.rng.IntN(300) {
		case 0:
			h.pause(time.Hour)
		case 1, 2, 3, 4, 5, 6:
			h.pause(time.Duration(h.rng.IntN(300)) * time.Second)
		default:
			if h.rng.IntN(3) == 0 {
				h.pause(time.Duration(h.rng.IntN(10000)) * time.Millisecond)
				continue
			}
			for range 1 + h.rng.IntN(5) { // what is cut then meets frames and acks on their way
				h.write()
			}
			h.pause(time.Duration(h.rng.IntN(400)) * time.Millisecond)
			h.cut()
		}
	}
	h.settle()
	sum.mu.Lock()
	defer sum.mu.Unlock()
	sum.recovered = append(sum.recovered, h.took)
	sum.virtual += time.Since(h.began)
	sum.events += h.arrived
	sum.faults += h.faults
	sum.lives += h.lives
	sum.kills += h.kills
	sum.repeats += h.repeats
}

// quickDir is a folder in memory where there is enough of it: a disk that really syncs takes most of the time, and proves nothing here,
// where no power is cut.
func quickDir(t *testing.T) string {
	t.Helper()
	const shm = "/dev/shm"
	var st unix.Statfs_t
	if err := unix.Statfs(shm, &st); err != nil || int64(st.Bavail)*st.Bsize < 1<<30 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(shm, "fairlead-histories-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (h *history) say(format string, args ...any) {
	h.said = append(h.said, fmt.Sprintf("%9.3f ", time.Since(h.began).Seconds())+fmt.Sprintf(format, args...))
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("FAIRLEAD_TEST_SEED=%d: %s\n%s\nnetwork: %v\nstatus: %+v\n%s\n%s", h.seed, fmt.Sprintf(format, args...), strings.Join(h.said, "\n"), h.net,
		h.life.f.Status(), h.where(), tailOf(h.text.String(), 6000))
}

// pause lets virtual time pass, and looks after the loops and the balancer meanwhile.
func (h *history) pause(d time.Duration) {
	h.t.Helper()
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		time.Sleep(min(left, max(d/20, 500*time.Millisecond)))
		h.net.each((*simFlow).idle)
		h.look()
		if left <= 0 || !time.Now().Before(end) {
			return
		}
	}
}

func (h *history) look() {
	h.t.Helper()
	h.monitor.Look(h.life.f.Loops())
	time.Sleep(2 * h.monitor.Chance)
	if stalls, _ := h.monitor.Look(h.life.f.Loops()); len(stalls) > 0 {
		h.fail("%v", stalls)
	}
	h.mu.Lock()
	wrong := h.wrong
	h.mu.Unlock()
	if len(wrong) > 0 {
		h.fail("%s", strings.Join(wrong, "\n"))
	}
}

func (h *history) newLog(i int) {
	id := fmt.Sprintf("%064x", i+1)
	l := &simLog{id: id, path: filepath.Join(h.dir, "containers", id, id+"-json.log"), files: []int{0}}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(l.path), "config.v2.json"), []byte(fmt.Sprintf(`{"Name":"/web-%d"}`, i)), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.logs = append(h.logs, l)
}

// write appends lines to a log, and rotates it now and then.
func (h *history) write() {
	l := h.logs[h.rng.IntN(len(h.logs))]
	n := 1 + h.rng.IntN(40)
	size := h.rng.IntN(200)
	switch k := h.rng.IntN(12); {
	case k == 0:
		n, size = 1+h.rng.IntN(400), 10
	case k == 1 && h.big:
		n, size = 200, 12<<10
	case k == 2:
		n, size = 1+h.rng.IntN(6), 12<<10
	}
	var b strings.Builder
	for range n {
		l.lines++
		b.WriteString(jsonRecord("stdout", fmt.Sprintf("event %d %s\n", l.lines, strings.Repeat("x", size)), time.Now().UnixNano()))
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	text := b.String()
	cut := h.rng.IntN(len(text))
	for _, part := range []string{text[:cut], text[cut:]} {
		if _, err := f.WriteString(part); err != nil {
			h.t.Fatal(err)
		}
		if h.rng.IntN(3) == 0 {
			time.Sleep(time.Duration(h.rng.IntN(60)) * time.Millisecond)
		}
	}
	l.files[0] = l.lines
	if h.rng.IntN(8) == 0 {
		h.rotate(l)
	}
}

// keep is how many files of a log there may be: none is deleted before it was delivered, so that nothing may be lost.
const keep = 4

func (h *history) rotate(l *simLog) {
	if len(l.files) == keep {
		h.mu.Lock()
		delivered := len(h.seen[l.id]) == l.lines
		h.mu.Unlock()
		if !delivered {
			return
		}
		l.files = l.files[:keep-1]
	}
	for i := len(l.files) - 1; i >= 0; i-- {
		from := l.path
		if i > 0 {
			from += "." + strconv.Itoa(i)
		}
		if err := os.Rename(from, l.path+"."+strconv.Itoa(i+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			h.t.Fatal(err)
		}
	}
	l.files = slices.Insert(l.files, 0, l.lines)
	if h.rng.IntN(2) == 0 {
		time.Sleep(time.Duration(h.rng.IntN(100)) * time.Millisecond)
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		h.t.Fatal(err)
	}
	_ = f.Close()
}

// ackTimeout is the default's.
var ackTimeout = fluent.DefaultConfig().AckTimeout

func (h *history) config() Config {
	cfg := DefaultConfig()
	cfg.Forward.To = []Endpoint{{Address: "logs.internal:24224"}}
	if h.seed%3 == 0 {
		cfg.Forward.To = append(cfg.Forward.To, Endpoint{Address: h.addr[0].String()})
	}
	cfg.Forward.Compress = []string{"none", "none", "gzip", "zstd"}[h.seed/3%4]
	cfg.Spool.MinFree = 0
	cfg.Spool.MaxBytes = 8 << 20
	cfg.Sources.Listen.TCP, cfg.Sources.Listen.Unix = "", ""
	// This machine's own are no part of it: a read of journalctl's pipe holds up virtual time.
	cfg.Sources.Host.Enabled, cfg.Sources.Journal.Units = false, nil
	cfg.Sources.Containers.Root = filepath.Join(h.dir, "containers")
	return cfg
}

func (h *history) start() {
	h.lives++
	l := &simLife{net: &lifeNet{simNet: h.net}, spool: filepath.Join(h.dir, fmt.Sprintf("spool-%d", h.lives)), done: make(chan error, 1)}
	cfg := h.config()
	cfg.Spool.Dir = l.spool
	f, err := New(cfg, slog.New(slog.NewTextHandler(&h.text, nil)), prometheus.NewRegistry())
	if err != nil {
		h.t.Fatal(err)
	}
	f.network = l.net
	f.newAlarm = func() (*alarm, error) { return newTimerAlarm(), nil }
	f.watcher = func() (*tail.Watcher, error) { return nil, errors.New("there is none under a virtual clock") }
	ctx, cancel := context.WithCancel(context.Background())
	l.f, l.cancel = f, cancel
	go func() {
		l.done <- f.Run(ctx)
		close(l.done)
	}()
	select {
	case <-f.Ready():
	case err := <-l.done:
		h.t.Fatal(err)
	}
	h.life = l
}

// stop ends a life in order.
func (h *history) stop() {
	if h.rng.IntN(3) == 0 {
		h.life.f.HandOver()
	}
	h.end(false)
	if err := os.Rename(h.life.spool, filepath.Join(h.dir, fmt.Sprintf("spool-%d", h.lives+1))); err != nil {
		h.t.Fatal(err)
	}
}

// end waits until a life is over and looks at its books.
func (h *history) end(killed bool) {
	h.t.Helper()
	h.life.cancel()
	select {
	case err := <-h.life.done:
		if err != nil {
			h.fail("the forwarder ended with %v", err)
		}
	case <-time.After(time.Minute):
		h.fail("the forwarder does not stop")
	}
	if st := h.life.f.Status(); !killed && (st.Ledger.Imbalance != 0 || st.Ledger.Lost != 0 || st.Ledger.SetAside != 0) {
		h.fail("the books after the stop: %+v", st.Ledger)
	}
}

// kill ends a life as kill -9 does: what its files hold at this moment is all the next one finds, and what it had written to its
// connection is delivered all the same. (What then is left of the old one goes on with its own copy of the spool, and reaches nobody.)
func (h *history) kill() {
	synctest.Wait()
	h.kills++
	h.life.net.kill()
	next := filepath.Join(h.dir, fmt.Sprintf("spool-%d", h.lives+1))
	if err := os.CopyFS(next, os.DirFS(h.life.spool)); err != nil {
		h.t.Fatal(err)
	}
	h.life.f.HandOver()
	h.end(true)
	_ = os.RemoveAll(h.life.spool)
}

// arrive is given each event that a receiver takes.
func (h *history) arrive(e *receiver.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := string(e.Field("container_id"))
	words := strings.Fields(string(e.Field("log")))
	n := 0
	if len(words) > 1 {
		n, _ = strconv.Atoi(words[1])
	}
	if n == 0 {
		h.wrong = append(h.wrong, fmt.Sprintf("odd event %.100q", e.Field("log")))
		return
	}
	name := fmt.Sprintf("%s/%d", id[60:], n)
	c := h.chunks[e.Chunk]
	if c == nil {
		c = &simChunkSeen{first: time.Now()}
		h.chunks[e.Chunk] = c
	}
	if h.seen[id] == nil {
		h.seen[id] = map[int]string{}
	}
	switch in := h.seen[id][n]; in {
	case "":
		h.arrived++
		h.seen[id][n] = e.Chunk
		c.events++
		if n < h.newest[id] && !h.drops {
			h.wrong = append(h.wrong, fmt.Sprintf("out of order: %s came first after %d", name, h.newest[id]))
		}
		h.newest[id] = max(n, h.newest[id])
		c.last = name
	case e.Chunk:
		if name == c.last { // it is complete once more
			c.times++
			h.repeats++
		}
	default:
		h.wrong = append(h.wrong, fmt.Sprintf("%s came in chunk %s and in chunk %s", name, in, e.Chunk))
	}
}

// missing is how many events have not arrived, and the first of them.
func (h *history) missing() (n int, first string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.logs {
		if len(h.seen[l.id]) == l.lines {
			continue
		}
		for i := 1; i <= l.lines; i++ {
			if h.seen[l.id][i] == "" {
				n++
				first = cmp.Or(first, fmt.Sprintf("%s/%d of %d", l.id[60:], i, l.lines))
			}
		}
	}
	return n, first
}

func (h *history) where() string {
	n, first := h.missing()
	return fmt.Sprintf("%d events are missing, the first is %s", n, first)
}
