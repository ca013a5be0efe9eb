package fluent

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fairlead/fairlead/internal/receiver"
)

var forms = []string{formNone, formGzip, formZstd}

// logFrame builds a frame of lines as they are in logs, whose chunk id is made of seq.
func logFrame(b *Builder, c *Compressor, lines int, rnd *rand.Rand, seq int) {
	b.Reset("docker.web", 40)
	f := &Fields{}
	f.Add("source", "stdout")
	for i := range lines {
		text := fmt.Sprintf("I, [2025-10-09T08:53:20.%06d #%d] INFO -- : Completed 200 OK in %dms", rnd.IntN(1e6), seq, i)
		b.Add(1760000000_000000000+int64(i), [][]byte{[]byte(text)}, f, Extra{})
	}
	b.SealWith(c)
	copy(b.Frame()[b.Bytes()-IDBytes:], fmt.Sprintf("%032x", seq))
}

// What other implementations unpack is what an uncompressed frame has, and so is what we unpack ourselves.
func TestCompressor(t *testing.T) {
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			c := NewCompressor(form)
			var u unpacker
			var plain, packed Builder
			for i, n := range []int{1, 2, 3000, 10, 500, 1, 20000, 5} {
				logFrame(&plain, nil, n, rand.New(rand.NewPCG(5, uint64(i))), i)
				logFrame(&packed, c, n, rand.New(rand.NewPCG(5, uint64(i))), i)
				want, got := plain.Frame(), packed.Frame()
				if packed.Events() != n || len(got) > len(want) {
					t.Errorf("%d events in %d bytes, want %d in at most %d", packed.Events(), len(got), n, len(want))
				}
				f := &Frame{Data: got}
				var e ending
				if err := f.ending(&e); err != nil || string(e.id()) != fmt.Sprintf("%032x", i) {
					t.Fatalf("id %q, %v", e.id(), err)
				}
				if form == formNone || n < 3 {
					if e.form() != formNone || !bytes.Equal(got, want) {
						t.Errorf("%d events: form %q, want it as it was", n, e.form())
					}
					continue
				}
				if e.form() != form || len(got) > len(want)/2 {
					t.Errorf("%d events: form %q, %d of %d bytes", n, e.form(), len(got), len(want))
				}
				body, _, err := entriesOf(got)
				if err != nil {
					t.Fatal(err)
				}
				wantBody, _, _ := entriesOf(want)
				if !bytes.Equal(elsewhere(t, form, body, true), wantBody) {
					t.Errorf("%d events: others unpack something else", n)
				}
				back, err := u.unpack(f, form)
				if err != nil || !bytes.Equal(back, want) {
					t.Errorf("%d events: unpacked it is another frame, %v", n, err)
				}
			}
		})
	}
}

// elsewhere unpacks by means that are not ours: the standard library; for zstd its own program where there is one.
func elsewhere(t *testing.T, form string, body []byte, program bool) []byte {
	t.Helper()
	if form == formGzip {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if path, err := exec.LookPath("zstd"); err == nil && program {
		cmd := exec.Command(path, "-dc")
		cmd.Stdin = bytes.NewReader(body)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	r, err := zstd.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Random bytes do not get larger than they are.
func TestCompressorLeavesNoise(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, form := range forms[1:] {
		p := make([]byte, 100_000)
		for i := range p {
			p[i] = byte(rnd.IntN(256))
		}
		if got := NewCompressor(form).pack(p); got != nil {
			t.Errorf("%s: packed to %d bytes", form, len(got))
		}
	}
}

// What is not a frame of ours is an error, never a panic and never another content.
func FuzzUnpack(f *testing.F) {
	var b Builder
	for _, form := range forms {
		logFrame(&b, NewCompressor(form), 50, rand.New(rand.NewPCG(1, 1)), 7)
		f.Add(bytes.Clone(b.Frame()))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		fr := &Frame{Data: p}
		var e ending
		if fr.ending(&e) != nil || e.form() == formNone {
			return
		}
		var u unpacker
		out, err := u.unpack(fr, e.form())
		if err != nil {
			return
		}
		var again ending
		if err := (&Frame{Data: out}).ending(&again); err != nil || again.form() != formNone || string(again.id()) != string(e.id()) {
			t.Fatalf("form %q, id %q of %q, %v", again.form(), again.id(), e.id(), err)
		}
		packed, _, _ := entriesOf(p)
		plain, _, err := entriesOf(out)
		if err != nil || !bytes.Equal(plain, elsewhere(t, e.form(), packed, false)) {
			t.Fatalf("unpacked to other entries, %v", err)
		}
	})
}

// addPacked appends frames as add does, in the form given.
func (r *rig) addPacked(form string, frames, lines, bytes int) {
	r.q.packer = NewCompressor(form)
	r.add(frames, lines, bytes)
	r.q.packer = nil
}

func compressing(form string) func(*Sender) {
	return func(s *Sender) { s.cfg.Compress = form }
}

func TestCompressedDelivers(t *testing.T) {
	for _, form := range forms[1:] {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.addPacked(form, 200, 3, 500)
			r.addPacked(form, 20, 40, 5000)
			r.addPacked(form, 20, 1, 40)
			r.start(compressing(form))
			r.check(0)
			if got := r.recv.Stats(); got.Compressed != 220 || got.Connections != 1 {
				t.Errorf("%+v, want 220 compressed messages on one connection", got)
			}
			r.stop()
		})
	}
}

// Frames keep the form in which they lie in the spool. After the configuration has changed, those of another form are
// unpacked on their way, in their order and with their ids.
func TestFormOfFormerConfiguration(t *testing.T) {
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			want := 0
			for i := range 300 {
				f := forms[i%3]
				if f == form && f != formNone {
					want++
				}
				r.addPacked(f, 1, 3, []int{500, 200, 60000}[i/3%3])
			}
			r.recv.Set(receiver.Behaviour{LacksZstd: form != formZstd})
			r.start(compressing(form))
			r.check(0)
			if got := r.recv.Stats(); got.Compressed != int64(want) || got.Refused != 0 {
				t.Errorf("%+v, want %d compressed messages", got, want)
			}
			r.stop()
		})
	}
}

// A receiver that refuses zstd is told from one that refuses everything: by what it does with the same frame uncompressed.
func TestLacksZstd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{LacksZstd: true})
	r.addPacked(formZstd, 50, 3, 500)
	r.start(compressing(formZstd))
	r.addPacked(formZstd, 50, 3, 500)
	r.check(0)
	if got := r.recv.Stats(); got.Compressed != 0 || got.Refused < refusalsToTry || got.Refused > 2*refusalsToTry {
		t.Errorf("%+v: want some refusals, and nothing taken compressed", got)
	}
	const want = "may lack zstd"
	if st := r.s.Status(); !strings.Contains(st.Warning, want) || !strings.Contains(st.Warning, "forward.compress: gzip") || st.Failures != 0 {
		t.Errorf("status %+v", st)
	}
	if n := strings.Count(r.logs.String(), "receiver may lack the compression"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, tail(r.logs.String()))
	}
	r.stop()
}

// A full receiver refuses compressed frames and others alike: that is no lack, and when it is over nothing was learned.
func TestFullIsNoLack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.recv.Set(receiver.Behaviour{Refuse: true})
	r.addPacked(formZstd, 50, 3, 500)
	r.start(compressing(formZstd))
	r.until("refusals", func() bool { return r.s.Status().Refusals >= 12 })
	r.recv.Set(receiver.Behaviour{})
	r.check(0)
	r.addPacked(formZstd, 50, 3, 500)
	r.check(0)
	// It may have become free just when a frame was tried uncompressed.
	if st := r.s.Status(); st.Warning == "" && r.recv.Stats().Compressed == 0 || st.Warning != "" && r.recv.Stats().Compressed != 0 {
		t.Errorf("status %+v, %+v", st, r.recv.Stats())
	}
	r.stop()
}

func TestPacking(t *testing.T) {
	now := time.Unix(1760000000, 0)
	var k packing
	refuse := func(n int, packed bool) {
		for range n {
			k.refuse(packed)
		}
	}
	refuse(refusalsToTry-1, true)
	if k.avoid() {
		t.Error("tried uncompressed too early")
	}
	refuse(1, true)
	if !k.avoid() {
		t.Error("not tried uncompressed")
	}
	refuse(1, false)
	if k.avoid() {
		t.Error("uncompressed was refused as well, and is still sent")
	}
	refuse(refusalsToTry, true)
	if !k.acked(false, now) || !k.avoid() {
		t.Error("the contrast was not seen")
	}
	k.begin(now.Add(relearnPacking - 1))
	refuse(5, false) // full for a while
	if !k.avoid() {
		t.Error("forgotten too early")
	}
	k.begin(now.Add(relearnPacking))
	if k.avoid() {
		t.Error("not asked again")
	}
	refuse(1, true)
	if !k.avoid() {
		t.Error("refused once more, and compressed again")
	}
	if !k.acked(false, now) || k.acked(true, now) || k.avoid() {
		t.Error("it takes them after all")
	}
	refuse(refusalsToTryLate-1, true)
	if k.avoid() {
		t.Error("what took one before is taken to lack it")
	}
	refuse(1, true)
	if !k.avoid() {
		t.Error("never tried uncompressed")
	}
}

// BenchmarkSeal packs frames of real log lines as large as the loop makes them.
func BenchmarkSeal(b *testing.B) {
	text, err := os.ReadFile("../fold/testdata/corpora/rails51-calls-tags/json.log.gz")
	if err != nil {
		b.Skip(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		b.Fatal(err)
	}
	if text, err = io.ReadAll(zr); err != nil {
		b.Fatal(err)
	}
	list := bytes.SplitAfter(text, []byte("\n"))
	for _, form := range forms {
		b.Run(form, func(b *testing.B) {
			c := NewCompressor(form)
			var plain, packed int64
			var bld Builder
			next := 0
			b.ReportAllocs()
			for range b.N {
				b.StopTimer()
				bld.Reset("docker.web", 40)
				for bld.Bytes() < 256<<10 {
					bld.Add(1760000000_000000000, list[next%len(list):next%len(list)+1], nil, Extra{})
					next++
				}
				plain += int64(bld.Bytes())
				b.StartTimer()
				bld.SealWith(c)
				packed += int64(bld.Bytes())
			}
			b.SetBytes(plain / int64(b.N))
			b.ReportMetric(float64(plain)/float64(packed), "ratio")
		})
	}
}
