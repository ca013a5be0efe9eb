package spool

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

func TestRecordLayout(t *testing.T) {
	r := record("frame", 3, "k", "v")
	s := &Spool{life: 0x0123456789abcdef}
	s.seal(r, 0xfedcba9876543210, 0x1122334455)
	want := "fa1d0100" + hex.EncodeToString(r.Buf[4:8]) + "fedcba9876543210" + "00000008" + "00000025" + "00000003" + "00000000" +
		"0000001122334455" + hex.EncodeToString([]byte("frame0123456789abcdeffedcba9876543210")) + "0001" + "00000001" + "6b" + "76"
	if got := hex.EncodeToString(r.Buf); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	h, ok := decodeHeader(r.Buf)
	if !ok || h.seq != r.Seq || h.events != 3 || h.sealed != 0x1122334455 || h.size() != int64(len(r.Buf)) || h.crc != checksum(r.Buf) {
		t.Fatalf("decoded %+v, %v", h, ok)
	}
}

func TestMarksMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	m, want := newMarks(), map[string]string{}
	for range 2000 {
		k := string(rune('a' + rng.IntN(20)))
		v := make([]byte, rng.IntN(4)*rng.IntN(30))
		for i := range v {
			v[i] = byte(rng.Uint32())
		}
		m.set([]byte(k), v)
		if delete(want, k); len(v) > 0 {
			want[k] = string(v)
		}
		if n := len(m.appendTo(nil)); n != m.bytes {
			t.Fatalf("snapshot has %d bytes, counted %d", n, m.bytes)
		}
	}
	again := newMarks()
	if err := eachMark(m.appendTo(nil), again.set); err != nil {
		t.Fatal(err)
	}
	got := again.copy()
	if len(got) != len(want) {
		t.Fatalf("%d marks, want %d", len(got), len(want))
	}
	for k, v := range want {
		if string(got[k]) != v {
			t.Fatalf("mark %q is %q, want %q", k, got[k], v)
		}
	}
}

func TestMarksAreChecked(t *testing.T) {
	s := opened(t, testConfig(t.TempDir()), nil)
	good := record("a", 1, "k", "v")
	for name, r := range map[string]*Record{
		"marks cut off":   {Buf: good.Buf[:len(good.Buf)-1], Frame: good.Frame},
		"no frame":        {Buf: make([]byte, HeaderBytes)},
		"frame too long":  {Buf: good.Buf, Frame: len(good.Buf)},
		"no room for id":  {Buf: make([]byte, HeaderBytes+IDBytes-1), Frame: IDBytes - 1},
		"marks that lie":  {Buf: append(bytes.Clone(good.Buf), 0, 1, 0xff, 0xff, 0xff, 0xff, 'k'), Frame: good.Frame},
		"nothing at all":  {},
		"header cut off":  {Buf: make([]byte, 10), Frame: 1},
		"negative length": {Buf: good.Buf, Frame: -1},
	} {
		if n, err := s.Append([]*Record{record("x", 1), r}); err == nil || n != 0 {
			t.Errorf("%s: %d written, err %v", name, n, err)
		}
	}
	if got := s.Stats().Appended; got != 0 {
		t.Fatalf("%d events appended", got)
	}
}
