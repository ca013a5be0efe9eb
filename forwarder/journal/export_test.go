package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// encode writes fields as journalctl does: those that hold other than printable text with their length.
func encode(dst []byte, fields ...[2]string) []byte {
	for _, f := range fields {
		if strings.ContainsFunc(f[1], func(r rune) bool { return r < ' ' && r != '\t' }) || !bytes.Equal([]byte(f[1]), bytes.ToValidUTF8([]byte(f[1]), nil)) {
			dst = append(dst, f[0]+"\n"...)
			dst = binary.LittleEndian.AppendUint64(dst, uint64(len(f[1])))
			dst = append(dst, f[1]+"\n"...)
			continue
		}
		dst = append(dst, f[0]+"="+f[1]+"\n"...)
	}
	return append(dst, '\n')
}

func decode(t testing.TB, pieces ...[]byte) []string {
	t.Helper()
	d := NewDecoder()
	var got []string
	for _, p := range pieces {
		if err := d.Decode(p, func(e *Entry) { got = append(got, fmt.Sprintf("%+v", *e)+string(e.Message)) }); err != nil {
			return append(got, "refused")
		}
	}
	return got
}

func TestDecoder(t *testing.T) {
	b := encode(nil, [2]string{"__CURSOR", "s=1;i=2"}, [2]string{"__REALTIME_TIMESTAMP", "1795274925566776"}, [2]string{"PRIORITY", "6"},
		[2]string{"_TRANSPORT", "stdout"}, [2]string{"_COMM", "docker"}, [2]string{"SYSLOG_IDENTIFIER", "dockerd"}, [2]string{"MESSAGE", "hello = line"},
		[2]string{"_PID", "7"}, [2]string{"_SYSTEMD_UNIT", "docker.service"}, [2]string{"_LINE_BREAK", "line-max"}, [2]string{"X", "\x00="})
	b = encode(b, [2]string{"__CURSOR", "s=1;i=3"}, [2]string{"MESSAGE", "a\x00b\n\nMESSAGE=no\n\xff"}, [2]string{"PRIORITY", "3"}, [2]string{"N_DROPPED", "12"},
		[2]string{"UNIT", "a.service"}, [2]string{"MESSAGE_ID", dropped})
	var got []Entry
	err := NewDecoder().Decode(b, func(e *Entry) {
		c := *e
		c.Cursor, c.Message = slices.Clone(e.Cursor), slices.Clone(e.Message)
		c.Unit, c.Ident, c.PID, c.About = slices.Clone(e.Unit), slices.Clone(e.Ident), slices.Clone(e.PID), slices.Clone(e.About)
		got = append(got, c)
	})
	if err != nil || len(got) != 2 {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	e := got[0]
	if string(e.Cursor) != "s=1;i=2" || e.Time != 1795274925566776000 || string(e.Message) != "hello = line" || string(e.Unit) != "docker.service" ||
		string(e.Ident) != "dockerd" || string(e.PID) != "7" || e.Priority != -1 || !e.More || e.IsDropNotice() {
		t.Errorf("first: %+v", e)
	}
	e = got[1]
	if string(e.Message) != "a\x00b\n\nMESSAGE=no\n\xff" || e.Priority != 3 || e.Dropped != 12 || string(e.About) != "a.service" || e.More || len(e.Unit) > 0 || len(e.Ident) > 0 || e.Time != 0 {
		t.Errorf("second: %+v", e)
	}
	if !got[1].IsDropNotice() {
		t.Error("the notice is not known as such")
	}
	for _, bad := range []string{"=x\n", "A\n\xff\xff\xff\xff\xff\xff\xff\xff", "A\n\x01\x00\x00\x00\x00\x00\x00\x00xy", strings.Repeat("A", 1000)} {
		if err := NewDecoder().Decode([]byte(bad), func(*Entry) {}); err == nil {
			t.Errorf("%.20q was taken for the export format", bad)
		}
	}
}

// A message over the bound loses its end, and what follows is read on.
func TestLongMessage(t *testing.T) {
	b := encode(nil, [2]string{"MESSAGE", strings.Repeat("x", MaxMessage+7)}, [2]string{"_PID", "1"})
	b = encode(b, [2]string{"MESSAGE", "next"})
	var cut []int64
	if err := NewDecoder().Decode(b, func(e *Entry) { cut = append(cut, int64(len(e.Message)), e.Cut) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cut, []int64{MaxMessage, 7, 4, 0}) {
		t.Errorf("got %v", cut)
	}
}

// FuzzDecoder: what was encoded comes back, and any split of the stream gives the same entries, of any stream.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("__CURSOR=a\nMESSAGE=x\n\nMESSAGE\n\x02\x00\x00\x00\x00\x00\x00\x00a\n\n\n"), "line\n=\x00", "docker.service", uint16(5))
	f.Add([]byte("A\n\x00\x00\x00\x00\x00\x00\x00\x00\n\n"), "", "", uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, message, ident string, cut uint16) {
		whole := decode(t, stream)
		at := int(cut) % (len(stream) + 1)
		if got := decode(t, stream[:at], stream[at:]); !slices.Equal(got, whole) {
			t.Errorf("cut at %d: got %q, want %q", at, got, whole)
		}
		var single [][]byte
		for i := range stream {
			single = append(single, stream[i:i+1])
		}
		if got := decode(t, single...); !slices.Equal(got, whole) {
			t.Errorf("byte by byte: got %q, want %q", got, whole)
		}
		if len(ident) > maxValue {
			return
		}
		written := encode(nil, [2]string{"SYSLOG_IDENTIFIER", ident}, [2]string{"MESSAGE", message})
		n := 0
		err := NewDecoder().Decode(append(written, written...), func(e *Entry) {
			n++
			if string(e.Message) != message || string(e.Ident) != ident {
				t.Errorf("got %q by %q, want %q by %q", e.Message, e.Ident, message, ident)
			}
		})
		if err != nil || n != 2 {
			t.Errorf("%d entries of 2, %v", n, err)
		}
	})
}

func TestSame(t *testing.T) {
	const c = "s=a;i=1;b=b1;m=5;t=6;x=7"
	for _, o := range []struct {
		cursor string
		want   bool
	}{
		{c, true}, {"s=other;i=9;b=b1;m=5;t=6;x=7", true}, {"s=a;i=1;b=b1;m=5;t=6;x=8", false}, {"s=a;i=2;b=b1;m=6;t=7;x=7", false}, {"", false}, {"s=a", false},
	} {
		if got := Same(c, o.cursor); got != o.want {
			t.Errorf("%q: %v", o.cursor, got)
		}
	}
}
