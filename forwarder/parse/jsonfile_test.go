package parse

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

var cases = []struct{ name, line, text, stream, time string }{
	{"escapes", `{"log":"plain \u003ca\u003e\u0026b \"q\" tab\u0009é \\ end\n","stream":"stdout","time":"2026-11-21T09:11:33.888075547Z"}`,
		"plain <a>&b \"q\" tab\té \\ end\n", "stdout", "2026-11-21T09:11:33.888075547Z"},
	{"ansi and bad bytes", `{"log":"\u001b[31mred\u001b[0m\ufffd\ufffd\n","stream":"stderr","time":"2026-11-21T09:11:33.88812Z"}`,
		"\x1b[31mred\x1b[0m\ufffd\ufffd\n", "stderr", "2026-11-21T09:11:33.88812Z"},
	{"no newline", `{"log":"no newline at end","stream":"stderr","time":"2026-11-21T09:11:33.909587887Z"}`,
		"no newline at end", "stderr", "2026-11-21T09:11:33.909587887Z"},
	{"attrs", `{"log":"line 353\n","stream":"stdout","attrs":{"STAGE":"x}\"{","tag":"fs"},"time":"2026-11-21T09:11:33Z"}`,
		"line 353\n", "stdout", "2026-11-21T09:11:33Z"},
	{"empty line", `{"log":"\n","stream":"stdout","time":"2026-02-28T23:59:59.1Z"}`, "\n", "stdout", "2026-02-28T23:59:59.1Z"},
	{"nothing at all", `{"log":"","stream":"stdout","time":"2024-02-29T00:00:00Z"}`, "", "stdout", "2024-02-29T00:00:00Z"},
	{"a quote first", `{"log":"\"","stream":"stdout","time":"2024-02-29T00:00:00Z"}`, `"`, "stdout", "2024-02-29T00:00:00Z"},
	{"backslash before the end", `{"log":"C:\\\n","stream":"stdout","time":"2024-02-29T00:00:00Z"}`, "C:\\\n", "stdout", "2024-02-29T00:00:00Z"},
	{"surrogates", `{"log":"\ud83d\ude00 \ud83d x\n","stream":"stdout","time":"2024-02-29T00:00:00Z"}`, "😀 \ufffd x\n", "stdout", "2024-02-29T00:00:00Z"},
	{"other order", `{"time":"2024-02-29T00:00:00+01:00", "stream":"stdout", "log":"x\n"}`, "x\n", "stdout", "2024-02-29T00:00:00+01:00"},
	{"other stream", `{"log":"x\n","stream":"fd3","time":"2024-02-29T00:00:00Z"}`, "x\n", "fd3", "2024-02-29T00:00:00Z"},
}

func TestJSONFile(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rec, _, ok := JSONFile([]byte(c.line), []byte("before"))
			if !ok {
				t.Fatal("refused")
			}
			text := string(rec.Text)
			if !rec.Partial {
				text += "\n"
			}
			when, err := time.Parse(time.RFC3339Nano, c.time)
			if err != nil {
				t.Fatal(err)
			}
			if text != c.text || rec.Stream != c.stream || rec.Time != when.UnixNano() {
				t.Errorf("got %q %s %d, want %q %s %d", text, rec.Stream, rec.Time, c.text, c.stream, when.UnixNano())
			}
		})
	}
}

func TestJSONFileRefuses(t *testing.T) {
	for _, line := range []string{
		"", "{", "text", `{"log":"`, `{"log":"x`, `{"log":"x\`, `{"log":"x\n"`, `{"log":"x\q\n","stream":"stdout","time":"2024-02-29T00:00:00Z"}`,
		`{"log":"x\n","stream":"stdout"}`, `{"log":"x\n","stream":"stdout","time":"yesterday"}`, `{"log":"x\u00\n","stream":"stdout","time":"2024-02-29T00:00:00Z"}`,
		`{"log":5,"stream":"stdout","time":"2024-02-29T00:00:00Z"}`, `{"log":"x\n","stream":"stdout","time":"2024-02-29T00:00:00Z"`,
		`{"log":"x\n","stream":"stdout","attrs":{"a":"b","time":"2024-02-29T00:00:00Z"}`,
	} {
		if rec, _, ok := JSONFile([]byte(line), nil); ok {
			t.Errorf("%q: taken as %q", line, rec.Text)
		}
	}
}

func TestSalvage(t *testing.T) {
	whole := `{"log":"x\n","stream":"stdout","time":"2024-02-29T00:00:00Z"}`
	for _, before := range []string{strings.Repeat("\x00", 300), `{"log":"cut li`} {
		garbage, record := Salvage([]byte(before + whole))
		if string(garbage) != before || string(record) != whole {
			t.Errorf("%.20q: got garbage %.20q, record %.20q", before, garbage, record)
		}
	}
	if garbage, record := Salvage([]byte(whole[3:])); record != nil || len(garbage) != len(whole)-3 {
		t.Errorf("found a record where there is none: %q", record)
	}
}

// What the hand-written decoder takes, encoding/json reads the same; what the engine's own encoder writes, it takes.
func FuzzJSONFile(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.line), c.text)
	}
	f.Fuzz(func(t *testing.T, line []byte, text string) {
		was := bytes.Clone(line)
		rec, _, ok := JSONFile(line, nil)
		if !bytes.Equal(line, was) {
			t.Fatal("the line was changed")
		}
		if want, wok := anyRecord(line); ok && wok {
			if string([]rune(string(rec.Text))) != string([]rune(string(want.Text))) || rec.Partial != want.Partial || rec.Time != want.Time {
				t.Fatalf("got %q, encoding/json reads %q", rec.Text, want.Text)
			}
		}
		encoded, err := json.Marshal(struct {
			Log    string `json:"log"`
			Stream string `json:"stream"`
			Time   string `json:"time"`
		}{text, "stdout", "2024-02-29T00:00:00.5Z"})
		if err != nil {
			t.Fatal(err)
		}
		rec, _, ok = JSONFile(encoded, nil)
		got := string(rec.Text)
		if !rec.Partial {
			got += "\n"
		}
		if !ok || got != strings.ToValidUTF8(text, "\ufffd") && got != string([]rune(text)) {
			t.Fatalf("ok %v: got %q, want %q", ok, got, text)
		}
	})
}

func BenchmarkJSONFile(b *testing.B) {
	for _, c := range []struct{ name, line string }{
		{"plain", `{"log":"I, [2026-11-21T09:37:48.857345 #1]  INFO -- : [f8f4a5f0-6afb-420f-8b72-18652c745d96] Completed 200 OK in 1ms (Views: 0.8ms | Allocations: 693)\n","stream":"stdout","time":"2026-11-21T09:37:51.557472455Z"}`},
		{"quotes", `{"log":"I, [2026-11-21T09:37:48.857345 #1]  INFO -- : [f8f4a5f0-6afb-420f-8b72-18652c745d96] Started GET \"/report/exception_object\" for 127.0.0.1 at 2026-11-21 09:37:48 +0000\n","stream":"stdout","time":"2026-11-21T09:37:51.557472455Z"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			line := []byte(c.line)
			scratch := make([]byte, 0, 4096)
			b.SetBytes(int64(len(line)) + 1)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, ok := JSONFile(line, scratch[:0]); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}

// A Decoder that remembers a second reads every time as one that does not.
func FuzzTime(f *testing.F) {
	for _, t := range []string{"2026-11-21T09:37:50.4659264Z", "2026-11-21T09:37:50Z", "2026-11-21T09:37:50.1Z", "2026-11-21T09:37:50.123456789Z",
		"2026-11-21T09:37:50.1234567891Z", "2026-11-21T09:37:50.Z", "2026-11-21T09:37:50.5+01:00", "2026-11-21T09:37:50.1x3Z", ""} {
		f.Add("2026-11-21T09:37:50.000000001Z", t)
	}
	f.Fuzz(func(t *testing.T, first, then string) {
		var s second
		_, _ = s.time([]byte(first))
		got, ok := s.time([]byte(then))
		want, wok := Time([]byte(then))
		if ok != wok || ok && got != want {
			t.Fatalf("%q after %q: got %d %v, want %d %v", then, first, got, ok, want, wok)
		}
	})
}
