package forwarder

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/receiver"
)

// TestCrashes lets containers and programs write lines and traces while their logs are rotated, packed, truncated and removed, the
// receiver misbehaves, and the forwarder is stopped and killed again and again. In the end every line that could be had has arrived,
// traces are whole, first arrivals are in order, the books balance, and nothing came again without a reason.
//
// FAIRLEAD_SEED repeats a schedule (what the processes make of it differs each time), FAIRLEAD_CRASH_SECONDS is how long it goes on.
func TestCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FAIRLEAD_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	seconds, err := strconv.Atoi(os.Getenv("FAIRLEAD_CRASH_SECONDS"))
	if err != nil {
		seconds = 6
	}
	t.Logf("FAIRLEAD_SEED=%d", seed)
	w := newCrashWorld(t, seed)
	for w.began = time.Now(); time.Since(w.began) < time.Duration(seconds)*time.Second; {
		w.step()
	}
	w.settle()
}

// crashWorld is a host with writers and what must become of what they wrote. mu guards what the receiver fills.
type crashWorld struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	recv  *receiver.Receiver
	child *child
	life  int
	began time.Time
	n     int
	logs  []*crashLog
	all   []*unit
	bad   bool // the receiver misbehaves
	quits [][2]time.Time

	mu       sync.Mutex
	byText   map[string]*unit
	byLine   map[string]*unitLine
	arrivals int
	odd      []string // events that are no whole unit
	order    map[string]*unit
	faults   []string
}

// unit is what is to arrive as one event.
type unit struct {
	log    *crashLog
	text   string
	stream string
	key    string // of its stream
	lines  []*unitLine
	ord    int // place of its last line in its stream
	wrote  time.Time
	done   bool // all its lines are written
	torn   bool // it may arrive in pieces, or together with another
	first  time.Time
	again  []time.Time
}

type unitLine struct {
	unit *unit
	text string
	file *crashFile // that its end lies in
	came bool
	lost bool // it may be lost: it was nowhere but in a deleted file, and that was not held any more
}

// crashFile is what one file holds, under whatever name.
type crashFile struct {
	lines   []*unitLine
	begun   []*unit // whose lines begin in it and may end in another
	heldBy  int     // the life that had it open when it was packed
	deleted bool
}

// crashLog is the log of a container, or a plain file.
type crashLog struct {
	path     string
	plain    bool
	keep     int // max-file
	compress bool
	inPlace  bool         // max-file=1 truncates
	files    []*crashFile // live first
	packed   []bool
	pending  []pendingRecord
	ords     map[string]int
	gone     []*crashFile
	cut      time.Time
	dropped  time.Time // when a file of it was last deleted
}

type pendingRecord struct {
	line *unitLine // nil for a piece that does not end a line
	unit *unit
	text string // as it stands in the file
}

func newCrashWorld(t *testing.T, seed uint64) *crashWorld {
	w := &crashWorld{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), dir: t.TempDir(),
		byText: map[string]*unit{}, byLine: map[string]*unitLine{}, order: map[string]*unit{},
	}
	for _, d := range []string{"containers", "app"} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.recv, err = receiver.Listen("127.0.0.1:0", func(e *receiver.Event) { w.take(string(e.Field("log"))) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.recv.Close() })
	for n := range 5 {
		w.newLog(n == 4)
	}
	t.Cleanup(func() {
		if w.child != nil {
			w.child.kill()
		}
	})
	w.start()
	return w
}

func (w *crashWorld) start() {
	w.life++
	w.child = startChild(w.t, w.dir, w.recv.Addr())
	w.child.ready()
}

func (w *crashWorld) newLog(plainFile bool) {
	w.n++
	l := &crashLog{plain: plainFile, keep: 1 + w.r.IntN(4), files: []*crashFile{{}}, packed: []bool{false}, ords: map[string]int{}}
	l.compress = l.keep > 1 && w.r.IntN(2) == 0
	l.inPlace = l.keep == 1 && w.r.IntN(2) == 0
	if plainFile {
		l.path = filepath.Join(w.dir, "app", fmt.Sprintf("p%d.log", w.n))
		l.keep, l.compress, l.inPlace = 3, w.r.IntN(2) == 0, false
	} else {
		id := fmt.Sprintf("%064x", w.n)
		dir := filepath.Join(w.dir, "containers", id)
		_ = os.Mkdir(dir, 0o700)
		_ = os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(fmt.Sprintf(`{"Name":"/web-%d"}`, w.n%3)), 0o600) // names meet again
		l.path = filepath.Join(dir, id+"-json.log")
	}
	w.create(l)
	w.logs = append(w.logs, l)
}

func (w *crashWorld) create(l *crashLog) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = f.Close()
}

// compose queues the records of a unit, or of two reports that two threads write into each other, call by call.
func (w *crashWorld) compose(l *crashLog) {
	if w.r.IntN(4) > 0 || l.plain {
		l.pending = append(l.pending, w.unit(l, false)...)
		return
	}
	a, b := w.unit(l, true), w.unit(l, true)
	for calls := [2]int{4, 4}; calls[0]+calls[1] > 0; {
		r, n := &a, &calls[0]
		if w.r.IntN(calls[0]+calls[1]) >= calls[0] {
			r, n = &b, &calls[1]
		}
		call := 1
		if *n == 1 {
			call = len(*r) // the frames are one call
		}
		l.pending, *r = append(l.pending, (*r)[:call]...), (*r)[call:]
		*n--
	}
}

// unit makes a unit, a report of four logger calls if calls says so.
func (w *crashWorld) unit(l *crashLog, calls bool) (records []pendingRecord) {
	w.n++
	u := &unit{log: l, stream: "stdout"}
	if !l.plain && w.r.IntN(3) == 0 {
		u.stream = "stderr"
	}
	u.key = l.path + u.stream
	at := time.Now().UnixNano()
	id := fmt.Sprintf("a8b6d2d5-0000-4000-8000-%012d", w.n)
	head := func(kind, rest string) string {
		return fmt.Sprintf("%c, [2026-11-21T09:17:17.804514 #1] %5s -- : [%s] %s", kind[0], kind, id, rest)
	}
	var texts []string
	switch k := w.r.IntN(10); {
	case calls:
		texts = []string{head("FATAL", "  "), head("FATAL", "RuntimeError (no stock):"), head("FATAL", "  ")}
		for i := range 1 + w.r.IntN(12) {
			texts = append(texts, fmt.Sprintf("[%s] app/models/order.rb:%d:in `take'", id, 3+i))
		}
		texts[3] = head("FATAL", "app/models/order.rb:3:in `take'")
	case k == 0 && !l.plain:
		texts = []string{head("INFO", strings.Repeat("0123456789abcdef", 1024*(1+w.r.IntN(5))+w.r.IntN(1024)))}
	case k < 4:
		texts = []string{head("FATAL", "  "), "[" + id + "] RuntimeError (no stock):", "[" + id + "]   "}
		for i := range 1 + w.r.IntN(12) {
			texts = append(texts, fmt.Sprintf("[%s] app/models/order.rb:%d:in `take'", id, 3+i))
		}
	default:
		texts = []string{head("INFO", "Completed 200 OK in 1ms "+strings.Repeat("x", w.r.IntN(300)))}
	}
	u.text = strings.Join(texts, "\n")
	for _, text := range texts {
		ul := &unitLine{unit: u, text: text}
		u.lines = append(u.lines, ul)
		if l.plain {
			records = append(records, pendingRecord{ul, u, text + "\n"})
			continue
		}
		for len(text) >= 16384 {
			records = append(records, pendingRecord{nil, u, jsonRecord(u.stream, text[:16384], at)})
			text = text[16384:]
		}
		records = append(records, pendingRecord{ul, u, jsonRecord(u.stream, text+"\n", at)})
	}
	w.all = append(w.all, u)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byText[u.text] = u
	for _, ul := range u.lines {
		if same := w.byLine[ul.text]; same != nil {
			same.lost = true // a blank line of a report: the last one stands for all
		}
		w.byLine[ul.text] = ul
	}
	return records
}

// write writes up to n records that are queued.
func (w *crashWorld) write(l *crashLog, n int) {
	var b strings.Builder
	now := time.Now()
	w.mu.Lock()
	for ; n > 0 && len(l.pending) > 0; n-- {
		p := l.pending[0]
		l.pending = l.pending[1:]
		b.WriteString(p.text)
		if u := p.unit; !u.wrote.IsZero() && now.Sub(u.wrote) > time.Second {
			u.torn = true // we were too slow: the fold may well have ended it
		}
		p.unit.wrote = now
		if p.line == nil {
			l.files[0].begun = append(l.files[0].begun, p.unit)
		}
		if p.line != nil {
			p.line.file = l.files[0]
			l.files[0].lines = append(l.files[0].lines, p.line)
			if p.line == p.unit.lines[len(p.unit.lines)-1] {
				p.unit.done = true
				l.ords[p.unit.stream]++
				p.unit.ord = l.ords[p.unit.stream]
			}
		}
	}
	w.mu.Unlock()
	text := b.String()
	if len(text) == 0 {
		return
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	cut := len(text)
	if w.r.IntN(4) == 0 {
		cut = w.r.IntN(len(text))
	}
	_, _ = f.WriteString(text[:cut])
	if cut < len(text) {
		time.Sleep(time.Duration(w.r.IntN(20)) * time.Millisecond)
		_, _ = f.WriteString(text[cut:])
	}
}

func (w *crashWorld) step() {
	l := w.logs[w.r.IntN(len(w.logs))]
	switch k := w.r.IntN(100); {
	case k < 60:
		for len(l.pending) < 8 {
			w.compose(l)
		}
		w.write(l, 1+w.r.IntN(16))
	case k < 78:
		w.rotate(l)
	case k < 82:
		if !l.plain {
			w.remove(l)
		}
	case k < 90:
		w.misbehave()
	case k < 95 && w.child != nil:
		w.crash()
	case k < 96 && w.child != nil:
		w.halt()
	case w.child == nil:
		w.start()
	}
	if w.child == nil && w.r.IntN(6) == 0 {
		w.start()
	}
	time.Sleep(time.Duration(w.r.IntN(25)) * time.Millisecond)
}

func (w *crashWorld) misbehave() {
	now := time.Now()
	if w.bad {
		w.quits[len(w.quits)-1][1] = now
		w.recv.Set(receiver.Behaviour{})
		w.bad = false
		return
	}
	w.bad = true
	w.quits = append(w.quits, [2]time.Time{now.Add(-2 * time.Second), now.Add(time.Hour)})
	b := []receiver.Behaviour{
		{AckDelay: 100 * time.Millisecond}, {NoAcks: true}, {DropAcks: 0.2}, {Refuse: true}, {CloseAfterMessage: true},
		{AckShuffled: true, AckTwice: true}, {ResetOnClose: true, CloseAfterMessage: true}, {AckUnknown: true}, {BytesPerSecond: 100000},
	}
	w.recv.Set(b[w.r.IntN(len(b))])
	if w.r.IntN(3) == 0 {
		w.recv.DropConnections()
	}
}

// behave makes the receiver a good one.
func (w *crashWorld) behave() {
	if w.bad {
		w.misbehave()
	}
}

// crash kills the forwarder: what it alone held is lost.
func (w *crashWorld) crash() {
	w.child.kill()
	w.child = nil
	now := time.Now()
	w.quits = append(w.quits, [2]time.Time{now.Add(-2 * time.Second), now.Add(time.Second)})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.all {
		for _, f := range u.log.gone {
			f.tear()
		}
		for _, ul := range u.lines {
			if ul.file != nil && ul.file.deleted && !ul.came {
				ul.lost, u.torn = true, true
			}
		}
	}
}

// halt stops the forwarder in order: what it alone holds it brings out, finished or not.
func (w *crashWorld) halt() {
	w.mu.Lock()
	for _, u := range w.all {
		if u.first.IsZero() && time.Since(u.log.dropped) < 5*time.Second { // it holds a deleted file of the log
			u.torn = true
		}
	}
	w.mu.Unlock()
	w.child.stop()
	w.child = nil
	now := time.Now()
	w.quits = append(w.quits, [2]time.Time{now.Add(-7 * time.Second), now.Add(time.Second)})
}

// forget says that a file is about to be deleted. A forwarder that runs has it open or has read it.
func (w *crashWorld) forget(l *crashLog, i int) {
	f := l.files[i]
	path := l.name(i)
	came := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !slices.ContainsFunc(f.lines, func(ul *unitLine) bool { return !ul.came && !ul.lost })
	}
	if w.child == nil {
		w.mu.Lock()
		for _, ul := range f.lines {
			if !ul.came {
				ul.lost, ul.unit.torn = true, true
			}
		}
		w.mu.Unlock()
		f.tear()
	} else if f.heldBy != w.life {
		began := time.Now()
		st, err := os.Stat(path)
		for err == nil && !came() && !w.child.holds(st) {
			if time.Since(began) > 300*time.Millisecond {
				w.behave() // it was read, but what was read does not arrive
			}
			if time.Since(began) > time.Minute {
				w.t.Fatalf("the forwarder never opened %s\n%s", path, w.stderr())
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	f.deleted, l.dropped = true, time.Now()
	l.gone = append(l.gone, f)
}

// tear says that what did not arrive of a file may be lost, and so the beginnings of lines that end in another.
func (f *crashFile) tear() {
	for _, u := range f.begun {
		if u.first.IsZero() {
			u.torn = true
			u.lines[0].lost = true
		}
	}
}

func (l *crashLog) name(i int) string {
	name := l.path
	if i > 0 {
		name += fmt.Sprintf(".%d", i)
	}
	if l.packed[i] {
		name += ".gz"
	}
	return name
}

func (w *crashWorld) rotate(l *crashLog) {
	if l.plain && time.Since(l.cut) < 500*time.Millisecond {
		return // what was written and copied away between two looks at an empty file stands in the copy only, and nothing tells
	}
	if l.keep == 1 && !l.plain {
		if l.inPlace {
			w.truncate(l)
			return
		}
		w.forget(l, 0)
		_ = os.Remove(l.path)
		l.files[0] = &crashFile{}
		w.create(l)
		return
	}
	if len(l.files) == l.keep {
		w.forget(l, l.keep-1)
		_ = os.Remove(l.name(l.keep - 1))
		l.files, l.packed = l.files[:l.keep-1], l.packed[:l.keep-1]
	}
	first := 0
	if l.plain {
		first = 1 // copytruncate leaves the file where it is
	}
	for i := len(l.files) - 1; i >= first; i-- {
		to := fmt.Sprintf("%s.%d", l.path, i+1)
		if l.packed[i] {
			to += ".gz"
		}
		if err := os.Rename(l.name(i), to); err != nil {
			w.t.Fatal(err)
		}
	}
	l.files, l.packed = slices.Insert(l.files, 0, &crashFile{}), slices.Insert(l.packed, 0, false)
	l.cut = time.Now()
	if l.plain {
		text, err := os.ReadFile(l.path)
		if err != nil {
			w.t.Fatal(err)
		}
		_ = os.WriteFile(l.path+".1", text, 0o640)
		_ = os.Truncate(l.path, 0)
		time.Sleep(time.Duration(w.r.IntN(10)) * time.Millisecond)
	} else {
		w.create(l)
	}
	// Packed at once, or at the next rotation.
	if k := w.r.IntN(2); l.compress && len(l.files) > 1+k && !l.packed[1+k] {
		w.pack(l, 1+k)
	}
}

func (w *crashWorld) pack(l *crashLog, i int) {
	lab := lab{t: w.t}
	held := false
	if st, err := os.Stat(l.name(i)); err == nil && w.child != nil {
		held = w.child.holds(st)
	}
	lab.pack(l.name(i))
	l.packed[i] = true
	if held {
		l.files[i].heldBy = w.life
	}
}

// truncate empties the file in place, as some engines do with max-file=1: what was not read is lost.
func (w *crashWorld) truncate(l *crashLog) {
	w.mu.Lock()
	for _, p := range l.pending {
		if !p.unit.wrote.IsZero() {
			p.unit.torn = true
		}
	}
	for _, ul := range l.files[0].lines {
		if !ul.came {
			ul.lost, ul.unit.torn = true, true
		}
	}
	w.mu.Unlock()
	w.mu.Lock()
	l.files[0].tear()
	w.mu.Unlock()
	_ = os.Truncate(l.path, 0)
	l.files[0] = &crashFile{}
}

func (w *crashWorld) remove(l *crashLog) {
	w.mu.Lock()
	for _, p := range l.pending {
		p.unit.torn = true // it will never be finished
	}
	l.pending = nil
	w.mu.Unlock()
	for i := range l.files {
		w.forget(l, i)
	}
	_ = os.RemoveAll(filepath.Dir(l.path))
	i := slices.Index(w.logs, l)
	w.logs = slices.Delete(w.logs, i, i+1)
	w.newLog(false)
}

// take is given each event that arrives.
func (w *crashWorld) take(text string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrivals++
	u := w.byText[text]
	if u == nil {
		w.odd = append(w.odd, text)
		for _, line := range strings.Split(text, "\n") {
			if ul := w.byLine[line]; ul != nil {
				ul.came = true
			}
		}
		return
	}
	for _, ul := range u.lines {
		ul.came = true
	}
	if !u.first.IsZero() {
		u.again = append(u.again, now)
		return
	}
	u.first = now
	if last := w.order[u.key]; last != nil && last.ord > u.ord && u.done && !u.torn {
		w.faults = append(w.faults, fmt.Sprintf("out of order: %.150q after %.150q", text, last.text))
	} else if u.done {
		w.order[u.key] = u
	}
}

// settle lets everything come to rest and judges.
func (w *crashWorld) settle() {
	w.behave()
	if w.child == nil {
		w.start()
	}
	for _, l := range w.logs {
		w.write(l, len(l.pending))
	}
	deadline := time.Now().Add(time.Minute)
	for w.missing() != nil && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	for _, m := range w.missing() {
		w.t.Errorf("lost: %s", m)
	}
	for {
		st := w.child.status()
		if st.Ledger.Imbalance == 0 && st.Ledger.Building == 0 && st.Ledger.Spooled == 0 {
			break
		}
		if time.Now().After(deadline) {
			w.t.Errorf("the books do not balance: %+v", st)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.child.stop()
	w.mu.Lock()
	before := w.arrivals
	w.mu.Unlock()
	w.start()
	time.Sleep(500 * time.Millisecond)
	w.child.stop()
	w.child = nil
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.arrivals != before {
		w.t.Errorf("%d events came again after a stop at rest", w.arrivals-before)
	}
	for _, f := range w.faults {
		w.t.Error(f)
	}
	for _, text := range w.odd {
		w.judge(text)
	}
	again, torn, lost := 0, 0, 0
	for _, u := range w.all {
		again += len(u.again)
		if u.torn {
			torn++
		}
		for _, ul := range u.lines {
			if ul.lost && !ul.came {
				lost++
			}
		}
		for _, at := range u.again {
			if !u.log.plain && !w.excused(u.first, at) {
				w.t.Errorf("came again %v after its first arrival, without a fault in between: %.150q", at.Sub(u.first), u.text)
			}
		}
	}
	w.t.Logf("%d events, %d came again, %d may be torn, %d lines lost with deleted files, %d lives", len(w.all), again, torn, lost, w.life)
	if w.t.Failed() {
		w.t.Log(w.stderr())
	}
}

func (w *crashWorld) missing() (missing []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.all {
		if u.done && !u.torn && u.first.IsZero() {
			missing = append(missing, fmt.Sprintf("event of %s, written %v after the start: %.200q", u.log.path, u.wrote.Sub(w.began), u.text))
			continue
		}
		for _, ul := range u.lines {
			if ul.file != nil && !ul.lost && !ul.came && len(ul.text) < 16384 {
				missing = append(missing, fmt.Sprintf("line of %s, written before %v after the start: %.200q", u.log.path, u.wrote.Sub(w.began), ul.text))
			}
		}
	}
	return missing
}

// excused says whether an event that arrived at first had not been acknowledged for certain when a fault happened before again.
func (w *crashWorld) excused(first, again time.Time) bool {
	return slices.ContainsFunc(w.quits, func(q [2]time.Time) bool { return !first.Before(q[0]) && !first.After(q[1]) && again.After(q[0]) })
}

// judge looks at an event that is no whole unit: one of those that it is of must have been torn for a reason.
func (w *crashWorld) judge(text string) {
	for _, line := range strings.Split(text, "\n") {
		if ul := w.byLine[line]; ul != nil {
			if ul.unit.torn {
				return
			}
			continue
		}
		for _, u := range w.all { // a piece of a long line
			if u.torn && strings.Contains(u.text, line) {
				return
			}
		}
	}
	of := "nothing that was written"
	for _, u := range w.all {
		for _, line := range u.lines {
			if strings.Contains(text, line.text) && len(line.text) > 0 && strings.Contains(line.text, "a8b6") {
				of = fmt.Sprintf("%s (keep %d, compress %v), written %s after the start, first %s", u.log.path, u.log.keep, u.log.compress,
					u.wrote.Sub(w.began), u.first.Sub(w.began))
			}
		}
	}
	w.t.Errorf("torn or glued: %.1500q of %s", text, of)
}

func (w *crashWorld) stderr() string {
	text, _ := os.ReadFile(filepath.Join(w.dir, "stderr"))
	return "log of the forwarder:\n" + tailOf(string(text), cmp.Or(20000, len(text)))
}
