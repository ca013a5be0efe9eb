package backfill

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func frame(stream byte, at time.Time, text string) []byte {
	b := at.UTC().Format("2006-01-02T15:04:05.000000000Z07:00") + " " + text
	return append(binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(b))), b...)
}

// TestRead takes apart what engine 20.10 answers: the last piece of a long line has no newline, nor has an unfinished last line.
func TestRead(t *testing.T) {
	at := time.Date(2026, 11, 21, 18, 25, 25, 557027146, time.UTC)
	long := strings.Repeat("L", 16384)
	answer := slices.Concat(
		frame(2, at.Add(-time.Second), "err one\n"), frame(1, at.Add(-1), "line 0\n"),
		frame(1, at, long), frame(2, at.Add(5), "between\n"), frame(1, at, long), frame(1, at, "END"),
		frame(1, at.Add(7), "\n"), frame(1, at.Add(time.Second), "no newline"))
	type line struct {
		source, text string
		at           time.Time
		more         bool
	}
	var got []line
	err := read(bytes.NewReader(answer), func(l *Line) error {
		got = append(got, line{l.Source, string(l.Text), time.Unix(0, l.Time).UTC(), l.More})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]line{
		"stderr": {{"stderr", "err one", at.Add(-time.Second), false}, {"stderr", "between", at.Add(5), false}},
		"stdout": {{"stdout", "line 0", at.Add(-1), false}, {"stdout", long, at, true}, {"stdout", long, at, true}, {"stdout", "END", at, false},
			{"stdout", "", at.Add(7), false}, {"stdout", "no newline", at.Add(time.Second), false}},
	}
	for source, lines := range want {
		mine := slices.DeleteFunc(slices.Clone(got), func(l line) bool { return l.source != source })
		if !slices.Equal(mine, lines) {
			t.Errorf("%s: got %.200v", source, mine)
		}
	}
	for n := 1; n < len(answer); n += 7 { // an answer that breaks off
		_ = read(bytes.NewReader(answer[:n]), func(*Line) error { return nil })
	}
	if err := read(strings.NewReader("2026-11-21T18:25:29.333598966Z a terminal's line\r\n"), func(*Line) error { return nil }); err == nil {
		t.Error("a terminal's answer was taken for frames")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(frame(1, time.Unix(1e9, 5), "x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := map[string]bool{}
		_ = read(bytes.NewReader(b), func(l *Line) error {
			if l.Source != "stdout" && l.Source != "stderr" || bytes.HasSuffix(l.Text, []byte("\n")) && last[l.Source] {
				t.Errorf("%+v", l)
			}
			last[l.Source] = l.More
			return nil
		})
	})
}

func TestRemote(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.v2.json":  `{"Name":"/web","State":{"StartedAt":"2026-11-21T09:15:36.5Z"},"Config":{"Tty":false,"Labels":{"team":"shop","tier":"1"},"Env":["STAGE=x","HOME=/"]}}`,
		"hostconfig.json": `{"LogConfig":{"Type":"fluentd","Config":{"labels":"team,none","env-regex":"^ST","fluentd-sub-second-precision":"true"}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := ReadRemote(dir)
	if err != nil || r.Name != "/web" || r.Driver != "fluentd" || r.Terminal || r.WholeSeconds() || r.Started.Nanosecond() != 5e8 {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := r.Extra(); !maps.Equal(got, map[string]string{"team": "shop", "STAGE": "x"}) {
		t.Errorf("extra fields: %v", got)
	}
	if _, err := ReadRemote(filepath.Join(dir, "none")); err == nil {
		t.Error("a container that is not there was read")
	}
}
