package listen

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/tinylib/msgp/msgp"
)

// Messages as clients write them, put together with an independent library.

func str(s string) []byte { return msgp.AppendString(nil, s) }

func record(pairs ...string) []byte {
	b := msgp.AppendMapHeader(nil, uint32(len(pairs)/2))
	for _, p := range pairs {
		b = msgp.AppendString(b, p)
	}
	return b
}

func fixext8(sec, nsec uint32) []byte {
	return []byte{0xd7, 0, byte(sec >> 24), byte(sec >> 16), byte(sec >> 8), byte(sec), byte(nsec >> 24), byte(nsec >> 16), byte(nsec >> 8), byte(nsec)}
}

func ext8(sec, nsec uint32) []byte {
	b := fixext8(sec, nsec)
	return append([]byte{0xc7, 8, 0}, b[2:]...)
}

func array(elements ...[]byte) []byte {
	b := msgp.AppendArrayHeader(nil, uint32(len(elements)))
	return append(b, bytes.Join(elements, nil)...)
}

func options(chunk, compressed string) []byte {
	b := msgp.AppendMapHeader(nil, 3)
	b = msgp.AppendInt(msgp.AppendString(b, "size"), 1)
	b = msgp.AppendString(msgp.AppendString(b, "chunk"), chunk)
	return msgp.AppendString(msgp.AppendString(b, "compressed"), compressed)
}

func gzipped(parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		z := gzip.NewWriter(&b)
		_, _ = z.Write(p)
		_ = z.Close()
	}
	return b.Bytes()
}

func zstandard(p []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(p, nil)
}

// parse decodes a stream in pieces of n bytes, as the connection does, and writes down what it finds.
func parse(stream []byte, n int) (got []string, err error) {
	var s scanner
	var have []byte
	u := unpacker{}
	for len(stream) > 0 || len(have) > 0 {
		k := min(n, len(stream))
		have, stream = append(have, stream[:k]...), stream[k:]
		for {
			done, err := s.scan(have, maxMessage)
			if err != nil {
				return got, err
			}
			if !done {
				break
			}
			end := s.at
			s = scanner{}
			lines, err := take(&u, have[:end])
			got = append(got, lines...)
			if err != nil {
				return got, err
			}
			have = have[end:]
			if len(have) == 0 {
				break
			}
		}
		if k == 0 {
			break
		}
	}
	return got, nil
}

func take(u *unpacker, p []byte) (got []string, err error) {
	var m message
	if err := m.read(p); err != nil {
		return nil, err
	}
	if m.nothing {
		return []string{"nothing"}, nil
	}
	entries := func(p []byte) error {
		b := body{tag: m.tag, rest: p, single: m.single}
		for len(b.rest) > 0 {
			var e Entry
			err := b.next(&e)
			switch {
			case err == errEntry: //nolint:errorlint // it is returned as it is
				got = append(got, "invalid")
				continue
			case err == errPartial: //nolint:errorlint // it is returned as it is
				got = append(got, "cut")
				return nil
			case err != nil:
				return err
			}
			got = append(got, fmt.Sprintf("%s %d.%09d %v %x", e.Tag, e.Time/1e9, e.Time%1e9, e.Whole, e.Record))
		}
		return nil
	}
	switch {
	case m.invalid:
		got = append(got, "invalid")
	case m.packing != "":
		if _, err = u.check(m.packing, m.entries); err == nil {
			_, err = u.each(m.packing, m.entries, entries)
		}
	default:
		err = entries(m.entries)
	}
	if m.chunk != nil {
		got = append(got, fmt.Sprintf("ack %x", appendAck(nil, m.chunk)))
	}
	return got, err
}

func TestMessages(t *testing.T) {
	r := record("log", "a", "n", "b")
	odd := msgp.AppendBytes(msgp.AppendString(msgp.AppendMapHeader(nil, 1), "bin"), []byte{1, 2}) // bin stays bin
	ev := func(time string, r []byte) string { return fmt.Sprintf("t %s %x", time, r) }
	ack := func(chunk string) string { return fmt.Sprintf("ack 81a361636b%x", str(chunk)) }
	packed := append(array(fixext8(7, 5), r), array(msgp.AppendInt(nil, 8), odd)...)
	both := []string{ev("7.000000005 false", r), ev("8.000000000 true", odd)}
	for _, c := range []struct {
		name string
		in   []byte
		want []string
		err  string
	}{
		{"message", array(str("t"), msgp.AppendInt(nil, 7), r), []string{ev("7.000000000 true", r)}, ""},
		{"message with ack", array(str("t"), fixext8(7, 9), r, options("c", "text")), []string{ev("7.000000009 false", r), ack("c")}, ""},
		{"ext 8", array(str("t"), ext8(7, 9), r), []string{ev("7.000000009 false", r)}, ""},
		{"float", array(str("t"), msgp.AppendFloat64(nil, 7.5), r), []string{ev("7.500000000 false", r)}, ""},
		{"no time that can be", array(str("t"), msgp.AppendFloat64(nil, math.NaN()), r, []byte{0xc0}), []string{ev("0.000000000 false", r)}, ""},
		{"message without record", array(str("t"), msgp.AppendInt(nil, 7), []byte{0xc0}, options("c", "text")), []string{"nothing"}, ""},
		{"message with a text for record", array(str("t"), msgp.AppendInt(nil, 7), str("x"), options("c", "text")), []string{"invalid", ack("c")}, ""},
		{"tag is no text", array(msgp.AppendInt(nil, 1), msgp.AppendInt(nil, 7), r, options("c", "text")), []string{"invalid", ack("c")}, ""},
		{"heartbeat", []byte{0xc0, 0xc0}, []string{"nothing", "nothing"}, ""},
		{"ping", array(str("t"), array(), options("c", "text")), []string{ack("c")}, ""},
		{"forward", array(str("t"), array(array(fixext8(7, 5), r), array(msgp.AppendInt(nil, 8), odd)), options("c", "text")), append(slices.Clone(both), ack("c")), ""},
		{"forward with an invalid entry", array(str("t"), array(array(str("x"), r), array(fixext8(7, 5), r), r)), []string{"invalid", both[0], "invalid"}, ""},
		{"packed in bin", array(str("t"), msgp.AppendBytes(nil, packed)), both, ""},
		{"packed in str", array(str("t"), str(string(packed)), options("c\n", "text")), append(slices.Clone(both), ack("c\n")), ""},
		{"packed, empty", array(str("t"), msgp.AppendBytes(nil, nil), options("c", "gzip")), []string{ack("c")}, ""},
		{"packed, cut off", array(str("t"), msgp.AppendBytes(nil, packed[:len(packed)-1]), options("c", "text")), []string{both[0], "cut", ack("c")}, ""},
		{"fluent bit 2", array(str("t"), msgp.AppendBytes(nil, array(array(fixext8(7, 5), record()), r)), options("c", "text")), []string{both[0], ack("c")}, ""},
		{"gzip of several members", array(str("t"), msgp.AppendBytes(nil, gzipped(packed[:30], packed[30:])), options("c", "gzip")), append(slices.Clone(both), ack("c")), ""},
		{"zstd", array(str("t"), msgp.AppendBytes(nil, zstandard(packed)), options("c", "zstd")), append(slices.Clone(both), ack("c")), ""},
		{"gzip cut off", array(str("t"), msgp.AppendBytes(nil, gzipped(packed)[:20]), options("c", "gzip")), nil, "gzip: unexpected EOF"},
		{"gzip bomb", array(str("t"), msgp.AppendBytes(nil, gzipped(bytes.Repeat([]byte{0x92, 0, 0x80}, 3<<20))), options("c", "gzip")), nil, errBomb.Error()},
		{"gzip of no events", array(str("t"), msgp.AppendBytes(nil, gzipped(make([]byte, 2000))), options("c", "gzip")), nil, errNoEvents.Error()},
		{"zstd bomb", array(str("t"), msgp.AppendBytes(nil, zstandard(bytes.Repeat([]byte{0x92, 0, 0x80}, 3<<20))), options("c", "zstd")), nil, errBomb.Error()},
		{"unknown compression", array(str("t"), msgp.AppendBytes(nil, packed), options("c", "lz4")), nil, "lz4"},
		{"http", []byte("GET / HTTP/1.1\r\n"), nil, errNotForward.Error()},
		{"json", []byte(`["t", 1, {}]`), nil, errJSON.Error()},
		{"a length of 4 GiB", []byte{0x92, 0xa1, 't', 0xc6, 0xff, 0xff, 0xff, 0xff}, nil, errTooLarge.Error()},
		{"a map of 4 G pairs", []byte{0x93, 0xa1, 't', 0, 0xdf, 0xff, 0xff, 0xff, 0xff}, nil, errTooLarge.Error()},
		{"deeply nested", bytes.Repeat([]byte{0x91}, 1000), nil, errTooDeep.Error()},
		{"a byte of no meaning", []byte{0xc1}, nil, errMalformed.Error()},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			got, err := parse(c.in, n)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want %q", c.name, err, c.err)
			}
			if c.err == "" && !slices.Equal(got, c.want) {
				t.Errorf("%s in pieces of %d:\n got %q\nwant %q", c.name, n, got, c.want)
			}
		}
	}
}

func TestLine(t *testing.T) {
	full := []string{"container_id", "c", "container_name", "/n", "source", "stdout", "log", "", "partial_message", "true",
		"partial_id", "p", "partial_ordinal", "12", "partial_last", "false", "label", "x"}
	l := ReadLine(record(full...))
	if l == nil || l.Text == nil || string(l.ContainerID) != "c" || string(l.Source) != "stdout" || string(l.PartialID) != "p" || l.Ordinal != 12 || !l.More {
		t.Fatalf("%+v", l)
	}
	var fields []string
	Fields(record(full...), func(pair []byte) {
		k, rest, _ := payload(pair)
		v, _, _ := payload(rest)
		fields = append(fields, string(k)+"="+string(v))
	})
	if want := []string{"container_id=c", "container_name=/n", "source=stdout", "label=x"}; !slices.Equal(fields, want) {
		t.Errorf("fields %q, want %q", fields, want)
	}
	// The driver writes a Go map: another order is the same line, another label is not.
	turned := append(slices.Clone(full[16:]), full[:16]...)
	if o := ReadLine(record(turned...)); o == nil || o.Fields != l.Fields {
		t.Error("another order of the pairs makes other fields")
	}
	turned[1] = "y"
	if o := ReadLine(record(turned...)); o == nil || o.Fields == l.Fields {
		t.Error("another label makes the same fields")
	}
	number := msgp.AppendInt(msgp.AppendString(msgp.AppendMapHeader(nil, 3), "log"), 1)
	number = append(number, record("container_id", "c", "source", "s")[1:]...)
	for name, r := range map[string][]byte{
		"no log": record("container_id", "c", "source", "s"), "no source": record("container_id", "c", "log", "x"),
		"two logs": record("container_id", "c", "source", "s", "log", "x", "log", "y"), "log is a number": number,
		"a part of a former fairlead": record("container_id", "c", "source", "s", "log", "x", "part", "1"), "no map": str("x"),
	} {
		if ReadLine(r) != nil {
			t.Errorf("%s: is a line", name)
		}
	}
}

// Any bytes: no panic, no more memory than the input explains, and the same messages however the bytes are split.
func FuzzStream(f *testing.F) {
	r := record("log", "a", "container_id", "c", "source", "s")
	for _, p := range [][]byte{
		array(str("t"), fixext8(7, 5), r, options("c", "text")), array(str("t"), array(array(ext8(7, 5), r))),
		array(str("t"), msgp.AppendBytes(nil, array(fixext8(7, 5), r)), options("c", "text")), {0xc0, 0xdd, 0xff},
		array(str("t"), msgp.AppendBytes(nil, gzipped(array(fixext8(7, 5), r))), options("c", "gzip")),
		array(str("t"), msgp.AppendBytes(nil, zstandard(array(fixext8(7, 5), r))), options("c", "zstd")),
	} {
		f.Add(p, uint8(3))
	}
	f.Fuzz(func(t *testing.T, p []byte, n uint8) {
		whole, err := parse(p, len(p)+1)
		pieces, perr := parse(p, int(n)+1)
		if (err == nil) != (perr == nil) || !slices.Equal(whole, pieces) {
			t.Errorf("whole: %q, %v\nin pieces of %d: %q, %v", whole, err, int(n)+1, pieces, perr)
		}
		if l := ReadLine(p); l != nil && len(l.Text)+len(l.ContainerID)+len(l.Source) > len(p) {
			t.Errorf("line larger than its record: %+v", l)
		}
	})
}

// What a client encodes is what comes out, in every mode.
func FuzzModes(f *testing.F) {
	f.Add("tag", "chunk", uint32(1), uint32(2), "key", "value")
	f.Fuzz(func(t *testing.T, tag, chunk string, sec, nsec uint32, key, value string) {
		if tag == "" || len(tag)+len(chunk)+len(key)+len(value) > 1<<16 || nsec >= 1e9 {
			t.Skip()
		}
		r := record(key, value)
		e := array(fixext8(sec, nsec), r)
		want := []string{fmt.Sprintf("%s %d.%09d false %x", tag, sec, nsec, r), fmt.Sprintf("ack 81a361636b%x", str(chunk))}
		for name, m := range map[string][]byte{
			"message": array(str(tag), fixext8(sec, nsec), r, options(chunk, "text")),
			"forward": array(str(tag), array(e), options(chunk, "text")),
			"packed":  array(str(tag), msgp.AppendBytes(nil, e), options(chunk, "text")),
			"gzip":    array(str(tag), msgp.AppendBytes(nil, gzipped(e)), options(chunk, "gzip")),
			"zstd":    array(str(tag), msgp.AppendBytes(nil, zstandard(e)), options(chunk, "zstd")),
		} {
			if got, err := parse(m, len(m)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
			}
		}
	})
}
