package spool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/internal/size"
)

// play is one history.
type play struct {
	t     testing.TB
	rng   *rand.Rand
	w     *world
	d     *cutDisk
	dir   string
	dirs  int
	clock time.Time
	rules rules
	cfg   Config
	seg   int64

	cuts, damage, ticks, clients bool
	swift                        bool // the receiver takes and acks a lot
	faults                       faults
	s                            *Spool
	o                            *owner
	sent                         []sentFrame // by this life's sender, with what arrived
}

type sentFrame struct {
	seq   uint64
	lines int
}

// variant is what the histories are played with: the rules, or all but one.
type variant struct {
	rules    rules
	noMarker bool
	lies     func(op, name string) bool // syncs that do nothing
}

func history(t testing.TB, dir string, seed uint64, v variant) error {
	rng := rand.New(rand.NewPCG(seed, 0x5b001))
	p := &play{
		t: t, rng: rng, dir: dir, rules: v.rules, clock: time.Unix(1_700_000_000, 0),
		w:    &world{rng: rng, files: map[int]*logFile{}, marker: !v.noMarker, ids: map[string]string{}, order: map[[2]int]int{}, ordered: true},
		cuts: rng.IntN(3) > 0, damage: rng.IntN(4) == 0, ticks: rng.IntN(2) == 0, clients: rng.IntN(2) == 0,
		seg: 300 + rng.Int64N(1500),
	}
	p.d = newCutDisk(t, rng, p.newDir())
	p.d.lies = v.lies
	p.cfg = Config{MaxBytes: size.MiB, WhenFull: WhenFullWait, SyncAfter: 5 * time.Second}
	if rng.IntN(3) == 0 {
		p.cfg.MaxBytes = size.Bytes(8 * p.seg)
		if rng.IntN(2) == 0 {
			p.cfg.WhenFull = WhenFullDropOldest
		}
	}
	if rng.IntN(3) == 0 {
		p.faults = faults{write: 0.05, truncate: 0.3, sync: 0.03, create: 0.03, remove: 0.05}
	}
	if rng.IntN(4) == 0 { // all goes well but for the power: segments come and go
		p.swift, p.cuts, p.damage, p.ticks, p.faults = true, true, false, false, faults{}
	}
	p.w.strict = p.faults == faults{} && !p.damage && !p.ticks
	for life := range lives {
		last := life == lives-1
		ended, err := p.life(last)
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if !last {
			p.down(ended)
		}
	}
	return p.judge()
}

func (p *play) newDir() string {
	p.dirs++
	dir := filepath.Join(p.dir, fmt.Sprintf("disk%d", p.dirs))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	return dir
}

// life is one process. It reports whether it ended in the middle of something.
func (p *play) life(last bool) (ended bool, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case processEnd:
			ended = true
			if p.o != nil {
				p.o.noteDrops()
			}
		default:
			panic(r)
		}
	}()
	p.s, p.o, p.sent = nil, nil, nil
	p.d.faults = faults{}
	if !last {
		p.d.faults = p.faults
		if p.rng.IntN(2) == 0 {
			p.d.countdown = 1 + p.rng.IntN(80)
		}
	}
	p.cfg.Dir = p.d.dir
	s, err := open(p.cfg, quiet(), nil, options{
		disk: p.d, now: func() time.Time { return p.clock }, life: p.rng.Uint64, segmentBytes: p.seg, rules: p.rules,
	})
	if err != nil {
		if p.d.faults != (faults{}) {
			return false, nil
		}
		return false, err
	}
	p.s = s
	for _, r := range p.w.records { // Open has synced what a killed life left
		r.safe = r.safe || !r.alive || !p.d.haunted(r.seq)
	}
	if p.o, err = newOwner(p.w, s); err != nil {
		return false, err
	}
	if last {
		return false, p.drain()
	}
	for range 10 + p.rng.IntN(120) {
		if err := p.turn(); err != nil {
			return false, err
		}
		if err := p.check(); err != nil {
			return false, err
		}
	}
	return false, nil
}

// turn is one random thing that happens while the process runs.
func (p *play) turn() error {
	o := p.o
	if p.swift && p.rng.IntN(2) == 0 {
		if err := p.send(); err != nil {
			return err
		}
		p.step()
	}
	switch n := p.rng.IntN(100); {
	case n < 20:
		p.write()
	case n < 23:
		p.create()
	case n < 26:
		if fs := p.w.living(); len(fs) > 0 {
			fs[p.rng.IntN(len(fs))].deleted = true
		}
	case n < 45:
		if len(o.streams) > 0 {
			o.read(o.streams[p.rng.IntN(len(o.streams))], 1+p.rng.IntN(5))
		}
	case n < 50:
		if p.ticks && len(o.streams) > 0 {
			if st := o.streams[p.rng.IntN(len(o.streams))]; st.off == int64(len(st.f.data)) {
				o.flush(st)
			}
		}
	case n < 60:
		o.seal(&o.builder[p.rng.IntN(2)])
	case n < 70:
		_, err := o.append()
		return err
	case n < 76:
		if p.clients {
			return o.burst(clientSource+p.rng.IntN(2), 1+p.rng.IntN(4))
		}
	case n < 79:
		return p.refused()
	case n < 88:
		return p.send()
	case n < 95:
		p.step()
	default:
		for _, st := range o.streams {
			if st.f.deleted {
				_, err := o.remove(st, p.step)
				return err
			}
		}
	}
	return nil
}

func (p *play) step() {
	p.clock = p.clock.Add(time.Duration(p.rng.IntN(4000)) * time.Millisecond)
	p.s.step(p.clock)
}

func (p *play) write() {
	fs := slices.DeleteFunc(p.w.living(), func(f *logFile) bool { return f.deleted })
	if len(fs) == 0 {
		p.create()
		return
	}
	f := fs[p.rng.IntN(len(fs))]
	for range 1 + p.rng.IntN(6) {
		f.data = append(f.data, p.w.lines[p.w.newLine(f.source)].text...)
	}
}

func (p *play) create() {
	f := p.w.newFile()
	if p.o != nil {
		p.o.take(f, p.s.Marks()[markKey(f)])
	}
}

// send is the sender, with a receiver that takes any part of a batch and acks any part of that.
func (p *play) send() error {
	r := p.s.Reader()
	if p.rng.IntN(6) == 0 {
		p.rewind()
	}
	frames, err := r.Next(nil, 1+p.rng.IntN(6), 1+p.rng.Int64N(400))
	if err != nil {
		return err
	}
	took := len(frames)
	if p.rng.IntN(3) == 0 {
		took = p.rng.IntN(took + 1)
	}
	for _, f := range frames[:took] {
		if err := p.deliver(f); err != nil {
			return err
		}
	}
	acks := took
	if p.rng.IntN(3) == 0 {
		acks = p.rng.IntN(acks + 1)
	}
	if acks > 0 {
		if _, err := p.s.Ack(frames[acks-1].Seq); err != nil {
			return err
		}
	}
	if acks < len(frames) {
		p.rewind()
	}
	return nil
}

// refused is a receiver that refuses the first frame: a later one may be acked by itself, and the first set aside.
func (p *play) refused() error {
	r := p.s.Reader()
	p.rewind()
	frames, err := r.Next(nil, 1, 1)
	if err != nil || len(frames) == 0 {
		return err
	}
	head := frames[0]
	p.rewind()
	f, ok, err := r.Later(head.Seq, func(_, _ []byte) bool { return p.rng.IntN(2) == 0 })
	if err != nil {
		return err
	}
	if ok {
		p.w.ordered = false
		if err := p.deliver(f); err != nil {
			return err
		}
		if p.rng.IntN(4) > 0 {
			if _, err := p.s.AckAlone(f.Seq); err != nil {
				return err
			}
		}
		p.rewind()
	}
	if p.rng.IntN(2) == 0 {
		p.w.ordered = false
		p.w.allowed += head.Events // it may be there twice
		if err := p.s.SetAside(head.Seq); err != nil && p.d.faults == (faults{}) {
			return err
		}
	}
	return nil
}

// replay brings everything that was set aside back.
func (p *play) replay() error {
	paths, _, err := SetAsideFiles(p.d.dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		k, err := ReadRecord(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if p.cfg.WhenFull == WhenFullDropOldest { // this could drop what nobody takes note of
			err = p.w.deliver(k.Frame)
		} else {
			_, err = p.s.Append([]*Record{k.Again()})
		}
		if err != nil {
			return err
		}
		if err := p.d.remove(path); err != nil {
			return err
		}
	}
	return nil
}

func (p *play) deliver(f Frame) error {
	b := f.Data
	if b == nil {
		b = make([]byte, f.Len)
		if _, err := f.File.ReadAt(b, f.Off); err != nil {
			return err
		}
	}
	p.sent = append(p.sent, sentFrame{f.Seq, f.Events})
	return p.w.deliver(b)
}

// rewind goes back to the first un-acked frame, and notes what may now arrive again.
func (p *play) rewind() {
	p.s.Reader().Rewind()
	p.excuse(p.s.Stats().AckedSeq)
}

func (p *play) excuse(acked uint64) {
	for i := len(p.sent) - 1; i >= 0 && p.sent[i].seq > acked; i-- {
		p.w.allowed += p.sent[i].lines
	}
}

// check takes note of what is safe now, and looks at the books.
func (p *play) check() error {
	st := p.s.Stats()
	if len(p.s.segs) > 0 {
		p.w.settled = max(p.w.settled, p.s.segs[0].first)
	}
	for i := len(p.w.records) - 1; i >= 0 && !p.w.records[i].safe; i-- {
		r := p.w.records[i]
		former := r.seq>>32 != st.LastSeq>>32
		r.safe = r.seq <= st.SyncedSeq && (!former || !p.d.haunted(r.seq))
	}
	if in, out := st.Recovered+st.Appended, st.Acked+st.PendingEvents+st.Dropped+st.SetAside+st.Lost; in != out {
		return fmt.Errorf("books do not balance: %d in, %d out: %+v", in, out, st)
	}
	if st.Lost != 0 {
		return fmt.Errorf("lost %d events", st.Lost)
	}
	return nil
}

// down is the time from the end of one process to the start of the next.
func (p *play) down(ended bool) {
	cut := p.cuts && p.rng.IntN(2) == 0
	p.d.countdown = -1
	if p.s != nil {
		p.excuse(p.s.acksSaved)
	}
	p.settle(cut)
	switch {
	case ended:
	case p.s == nil:
	case p.rng.IntN(3) == 0:
		p.d.faults = faults{}
		if p.s.Close() == nil {
			for _, r := range p.w.records {
				r.safe = r.safe || !p.d.haunted(r.seq)
			}
		}
	default:
		kill(p.s)
	}
	if cut {
		p.powerCut()
	} else if ended {
		p.d.kernelImage(p.newDir())
	}
	p.s, p.o = nil, nil
	for _, f := range p.w.living() { // the descriptors of deleted files are gone with the process
		if f.deleted {
			p.w.release(f)
		}
	}
	if p.damage && p.rng.IntN(2) == 0 {
		p.rot()
	}
	for range p.rng.IntN(4) {
		switch n := p.rng.IntN(10); {
		case n < 6:
			p.write()
		case n < 8:
			p.create()
		default:
			if fs := p.w.living(); len(fs) > 0 {
				p.w.release(fs[p.rng.IntN(len(fs))])
			}
		}
	}
}

// settle notes which lines must not be read again, for the segment with their record is gone.
func (p *play) settle(cut bool) {
	for _, r := range p.w.records {
		if r.void {
			continue
		}
		if r.seq >= p.w.settled {
			r.void = cut
			continue
		}
		for _, n := range r.nums {
			p.w.lines[n].settled = !p.w.lines[n].torn
		}
	}
}

func (p *play) powerCut() {
	p.w.ordered = false
	for _, r := range p.w.records {
		// A sync failed, the process was killed, and the next one's sync found nothing to do: it takes the frame for safe, and lets
		// the input records go whose events are in it. Nothing tells a process of that.
		if r.alive && !r.safe && p.d.haunted(r.seq) {
			for _, n := range r.nums {
				if l := &p.w.lines[n]; l.source >= clientSource {
					l.excused = true
				}
			}
		}
	}
	p.d.cutImage(p.newDir())
	for _, r := range p.w.records {
		r.alive = r.alive && r.safe
	}
	for _, f := range p.w.living() { // log files were not synced either
		if p.rng.IntN(5) == 0 {
			keep := p.rng.IntN(len(f.data) + 1)
			for keep > 0 && f.data[keep-1] != '\n' {
				keep--
			}
			f.data = f.data[:keep:keep]
			for n := range p.w.lines {
				if l := &p.w.lines[n]; l.source == f.source {
					l.torn, l.settled = true, false
				}
			}
		}
	}
}

// rot damages a file of the spool.
func (p *play) rot() {
	p.w.ordered = false
	names := slices.DeleteFunc(p.d.sorted(p.d.names), func(name string) bool { return strings.HasPrefix(name, setAsideDir) })
	if len(names) == 0 {
		return
	}
	name := names[p.rng.IntN(len(names))]
	path := filepath.Join(p.d.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(b) == 0 {
		return
	}
	at := p.rng.IntN(len(b))
	switch p.rng.IntN(4) {
	case 0:
		b = b[:at]
	case 1:
		clear(b[at:min(len(b), at+p.rng.IntN(200))])
	default:
		b[at] ^= 1 << p.rng.IntN(8)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
	*p.d.names[name] = inode{disk: b}
	first, ok := parseName(name, segmentSuffix)
	if !ok {
		return
	}
	limit := uint64(1<<64 - 1)
	for _, other := range names {
		if f, ok := parseName(other, segmentSuffix); ok && f > first {
			limit = min(limit, f)
		}
	}
	for _, r := range p.w.records {
		if r.seq >= first && r.seq < limit {
			r.alive = false
			for _, n := range r.nums {
				// A client's line may have been in this frame only: the input record it came in may go when the frame is on disk.
				if l := &p.w.lines[n]; l.source >= clientSource {
					l.excused = true
				}
			}
		}
	}
}

// drain brings everything to the receiver.
func (p *play) drain() error {
	o := p.o
	for range 2000 {
		for _, st := range slices.Clone(o.streams) {
			if st.f.deleted {
				if _, err := o.remove(st, p.step); err != nil {
					return err
				}
				continue
			}
			o.read(st, 1<<30)
			o.flush(st)
		}
		for source := clientSource; source < clientSource+2; source++ {
			o.flush(o.client(source))
		}
		o.seal(&o.builder[0])
		o.seal(&o.builder[1])
		empty, err := o.append()
		if err != nil {
			return err
		}
		if err := p.replay(); err != nil && !errors.Is(err, ErrFull) {
			return err
		}
		frames, err := p.s.Reader().Next(nil, 10, 1000)
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := p.deliver(f); err != nil {
				return err
			}
		}
		if n := len(frames); n > 0 {
			if _, err := p.s.Ack(frames[n-1].Seq); err != nil {
				return err
			}
		}
		p.step()
		if err := p.check(); err != nil {
			return err
		}
		if empty && len(frames) == 0 && p.s.Stats().PendingFrames == 0 {
			if n := p.s.Stats().Segments; n > 2 {
				return fmt.Errorf("%d segments are left though all is acked", n)
			}
			return p.s.Close()
		}
	}
	return fmt.Errorf("does not drain: %+v", p.s.Stats())
}

// judge looks for promised numbers that did not arrive.
func (p *play) judge() error {
	w := p.w
	due := map[int]string{}
	for _, f := range w.living() {
		for rest := f.data; len(rest) > 0; {
			end := slices.Index(rest, '\n') + 1
			var n int
			if _, err := fmt.Sscan(string(rest[:end]), &n); err != nil {
				return err
			}
			due[n] = fmt.Sprintf("in the file with inode %d", f.ino)
			rest = rest[end:]
		}
	}
	for _, r := range w.records {
		if r.alive {
			for _, n := range r.nums {
				due[n] = fmt.Sprintf("in record %x", r.seq)
			}
		}
	}
	for n := range w.lines {
		if where, ok := due[n]; ok && w.lines[n].arrived == 0 && !w.lines[n].excused {
			return fmt.Errorf("line %d of source %d is lost, it is %s", n, w.lines[n].source, where)
		}
	}
	if !p.cuts && !p.damage && !p.ticks && !p.clients && w.repeats > w.allowed {
		return fmt.Errorf("%d lines arrived again, faults explain %d", w.repeats, w.allowed)
	}
	return nil
}
