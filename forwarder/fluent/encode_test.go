package fluent

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	logger "github.com/fluent/fluent-logger-golang/fluent"
	"github.com/tinylib/msgp/msgp"
)

// entry is an event as another implementation decodes it.
type entry struct {
	time   time.Time
	record map[string]any
}

// decodeFrame decodes a frame with the library that other Forward clients use.
func decodeFrame(t *testing.T, frame []byte) (tag string, entries []entry, options map[string]any) {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("decode: %v of %q", err, frame)
		}
	}
	n, p, err := msgp.ReadArrayHeaderBytes(frame)
	fail(err)
	if n != 3 {
		t.Fatalf("message of %d elements", n)
	}
	tag, p, err = msgp.ReadStringBytes(p)
	fail(err)
	body, p, err := msgp.ReadBytesZC(p)
	fail(err)
	options, p, err = msgp.ReadMapStrIntfBytes(p, nil)
	fail(err)
	if len(p) != 0 {
		t.Fatalf("%d bytes behind the frame", len(p))
	}
	for len(body) > 0 {
		n, body, err = msgp.ReadArrayHeaderBytes(body)
		fail(err)
		if n != 2 {
			t.Fatalf("entry of %d elements", n)
		}
		var et logger.EventTime
		body, err = msgp.ReadExtensionBytes(body, &et)
		fail(err)
		var record map[string]any
		record, body, err = msgp.ReadMapStrIntfBytes(body, nil)
		fail(err)
		entries = append(entries, entry{time.Time(et), record})
	}
	return tag, entries, options
}

func lines(text ...string) [][]byte {
	out := make([][]byte, len(text))
	for i, s := range text {
		out[i] = []byte(s)
	}
	return out
}

func TestBuilder(t *testing.T) {
	const at = 1760000000_123456789
	two := &Fields{}
	two.Add("source", "stdout")
	two.Add("container_name", "/web")
	many := &Fields{}
	for i := range 20 {
		many.Add(fmt.Sprintf("label.%d", i), strings.Repeat("v", i*20))
	}
	long := strings.Repeat("x", 70000)
	for _, c := range []struct {
		name     string
		lines    [][]byte
		fields   *Fields
		extra    Extra
		replaced int
		want     map[string]any // besides those of fields
	}{
		{"one line", lines("hello"), two, Extra{}, 0, map[string]any{"log": "hello"}},
		{"no fields", lines("hello"), nil, Extra{}, 0, map[string]any{"log": "hello"}},
		{"no line", nil, two, Extra{}, 0, map[string]any{"log": ""}},
		{"empty lines", lines("", "", ""), two, Extra{}, 0, map[string]any{"log": "\n\n"}},
		{"trace", lines("a", "  b", "c"), two, Extra{}, 0, map[string]any{"log": "a\n  b\nc"}},
		{"31 bytes", lines(long[:31]), nil, Extra{}, 0, map[string]any{"log": long[:31]}},
		{"32 bytes", lines(long[:32]), nil, Extra{}, 0, map[string]any{"log": long[:32]}},
		{"255 bytes", lines(long[:200], long[:54]), nil, Extra{}, 0, map[string]any{"log": long[:200] + "\n" + long[:54]}},
		{"256 bytes", lines(long[:256]), nil, Extra{}, 0, map[string]any{"log": long[:256]}},
		{"64 KiB", lines(long[:65536]), nil, Extra{}, 0, map[string]any{"log": long[:65536]}},
		{"more", lines(long), many, Extra{}, 0, map[string]any{"log": long}},
		{"UTF-8", lines("héllo 日本 😀"), two, Extra{}, 0, map[string]any{"log": "héllo 日本 😀"}},
		{"bad bytes", lines("a\xff\xfeb", "\xe6\x97", "ok"), two, Extra{}, 4, map[string]any{"log": "a��b\n��\nok"}},
		{"bad bytes make it longer", lines(strings.Repeat("\xff", 20)), nil, Extra{}, 20, map[string]any{"log": strings.Repeat("�", 20)}},
		{"part", lines("x"), two, Extra{Part: 1}, 0, map[string]any{"log": "x", "part": int64(1), "part_last": false}},
		{"last of many parts", lines("x"), many, Extra{Part: 300, PartLast: true, ID: []byte("0a1b")}, 0,
			map[string]any{"log": "x", "part": int64(300), "part_last": true, "_id": "0a1b"}},
		{"id", lines("x"), nil, Extra{ID: []byte(long[:64])}, 0, map[string]any{"log": "x", "_id": long[:64]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			b.Reset("docker.web", 40)
			for range 2 {
				if got := b.Add(at, c.lines, c.fields, c.extra); got != c.replaced {
					t.Errorf("replaced %d bytes, want %d", got, c.replaced)
				}
			}
			b.Seal()
			if got := len(b.Frame()); got != b.Bytes() || got != len(b.Buf)-40 {
				t.Errorf("frame of %d bytes, Bytes %d, Buf %d", got, b.Bytes(), len(b.Buf))
			}
			copy(b.Frame()[b.Bytes()-IDBytes:], "0123456789abcdef0123456789abcdef")
			tag, entries, options := decodeFrame(t, b.Frame())
			if tag != "docker.web" || len(entries) != 2 {
				t.Fatalf("tag %q with %d entries", tag, len(entries))
			}
			if got := fmt.Sprint(options); got != "map[chunk:0123456789abcdef0123456789abcdef size:2]" {
				t.Errorf("options %s", got)
			}
			want := map[string]any{}
			for k, v := range c.want {
				want[k] = v
			}
			if c.fields != nil {
				buf := msgp.AppendMapHeader(nil, uint32(c.fields.Len()))
				m, _, err := msgp.ReadMapStrIntfBytes(append(buf, c.fields.buf...), nil)
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range m {
					want[k] = v
				}
			}
			for _, e := range entries {
				if fmt.Sprint(e.record) != fmt.Sprint(want) {
					t.Errorf("record %v, want %v", e.record, want)
				}
				if e.time.UnixNano() != at {
					t.Errorf("time %v, want %v", e.time.UnixNano(), at)
				}
			}
		})
	}
}

func TestBuilderTimes(t *testing.T) {
	for _, c := range []struct{ in, sec, nsec int64 }{
		{0, 0, 0}, {-5, 0, 0}, {1, 0, 1}, {1<<32*1e9 - 1, 1<<32 - 1, 999999999}, {1 << 62, 0, 0},
	} {
		got := appendTime(nil, c.in)
		want := []byte{0xd7, 0, byte(c.sec >> 24), byte(c.sec >> 16), byte(c.sec >> 8), byte(c.sec),
			byte(c.nsec >> 24), byte(c.nsec >> 16), byte(c.nsec >> 8), byte(c.nsec)}
		if !bytes.Equal(got, want) {
			t.Errorf("time %d: % x, want % x", c.in, got, want)
		}
	}
}

// A builder is used for frame after frame, and what its owner appended behind one must not show in the next.
func TestBuilderReuse(t *testing.T) {
	var b Builder
	for i := range 3 {
		b.Reset("t", 40)
		b.Add(1, lines(strings.Repeat("y", 1000/(i+1))), nil, Extra{})
		b.Seal()
		frame := string(b.Frame())
		b.Buf = append(b.Buf, "marks behind"...)
		if string(b.Frame()) != frame || b.Bytes() != len(frame) {
			t.Errorf("round %d: the frame changed by what was appended", i)
		}
		if !bytes.Equal(b.Buf[:40], make([]byte, 40)) {
			t.Errorf("round %d: headroom is not zero", i)
		}
		if _, entries, _ := decodeFrame(t, b.Frame()); len(entries) != 1 {
			t.Errorf("round %d: %d entries", i, len(entries))
		}
	}
}

func TestBuilderAllocatesNothing(t *testing.T) {
	var b Builder
	f := &Fields{}
	f.Add("container_id", strings.Repeat("0", 64))
	text := lines(strings.Repeat("a", 150))
	b.Reset("t", 40)
	if n := testing.AllocsPerRun(100, func() {
		b.Reset("t", 40)
		for range 100 {
			b.Add(1760000000_000000000, text, f, Extra{})
		}
		b.Seal()
	}); n > 0.5 {
		t.Errorf("%v allocations a frame, want 0", n)
	}
}

func FuzzBuilder(f *testing.F) {
	f.Add("tag", int64(1760000000_123456789), []byte("a\nb"), "key", "value", 0, false, []byte(nil))
	f.Add("", int64(0), []byte("\xff\n\xf0\x9f\x98"), "k\xff", "\xed\xa0\x80", 3, true, []byte("id"))
	f.Fuzz(func(t *testing.T, tag string, at int64, text []byte, key, value string, part int, last bool, id []byte) {
		switch key = toValid(key); key {
		case "log", "part", "part_last", "_id":
			key += "."
		}
		part &= 1<<31 - 1
		fields := &Fields{}
		fields.Add(key, value)
		var b Builder
		b.Reset(tag, 40)
		b.Add(at, bytes.Split(text, []byte("\n")), fields, Extra{Part: part, PartLast: last, ID: id})
		b.Seal()
		gotTag, entries, _ := decodeFrame(t, b.Frame())
		if gotTag != tag || len(entries) != 1 {
			t.Fatalf("tag %q with %d entries", gotTag, len(entries))
		}
		want := map[string]any{key: strings.Map(func(r rune) rune { return r }, value), "log": string([]rune(string(text)))}
		if part > 0 {
			want["part"], want["part_last"] = int64(part), last
		}
		if len(id) > 0 {
			want["_id"] = string(id)
		}
		if got := fmt.Sprintf("%q", entries[0].record); got != fmt.Sprintf("%q", want) {
			t.Fatalf("record %s, want %q", got, want)
		}
		if !utf8.ValidString(entries[0].record["log"].(string)) {
			t.Fatal("log is not UTF-8")
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	ascii := strings.Repeat("I, [2025-10-09T08:53:20.123456 #1] INFO -- : ", 4)[:150]
	for _, c := range []struct {
		name  string
		lines [][]byte
	}{
		{"ascii150", lines(ascii)},
		{"trace", lines(ascii[:80], ascii[:70], ascii[:70], ascii[:70], ascii[:70], ascii[:70])},
		{"utf8-150", lines("é" + ascii[2:])},
		{"invalid150", lines("\xff" + ascii[1:])},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := &Fields{}
			f.Add("container_id", strings.Repeat("0123456789abcdef", 4))
			f.Add("container_name", "/ecs-web-1-nginx")
			f.Add("source", "stdout")
			var bld Builder
			bld.Reset("docker.web", 40)
			n := len(bytes.Join(c.lines, []byte{'\n'}))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if bld.Bytes() > 256<<10 {
					bld.Seal()
					bld.Reset("docker.web", 40)
				}
				bld.Add(1760000000_123456789, c.lines, f, Extra{})
			}
		})
	}
}
