package lab

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/script"
)

func TestLedgerNotices(t *testing.T) {
	begin := time.Unix(1_800_000_000, 0)
	text := func(n int) []byte {
		return script.Numbered{Writer: "w", Stream: 'o', N: n, At: begin.Add(time.Duration(n) * time.Second).UnixNano()}.Append(nil)
	}
	const n = 20
	all := func() (texts [][]byte) {
		for i := range n {
			texts = append(texts, text(i))
		}
		return texts
	}
	tests := []struct {
		name  string
		spoil func([][]byte) [][]byte
		want  Result // without the times
	}{
		{"nothing where all is well", func(e [][]byte) [][]byte { return e }, Result{Received: n}},
		{"lost lines", func(e [][]byte) [][]byte { return append(e[:5], e[7:]...) }, Result{Received: n - 2, Lost: 2}},
		{"a lost end", func(e [][]byte) [][]byte { return e[:n-1] }, Result{Received: n - 1, Lost: 1}},
		{"everything lost", func([][]byte) [][]byte { return nil }, Result{Lost: n}},
		{"repeats", func(e [][]byte) [][]byte { return append(e, e[3], e[4], e[3]) }, Result{Received: n, Repeated: 3}},
		{"a wrong order", func(e [][]byte) [][]byte { e[3], e[4] = e[4], e[3]; return e }, Result{Received: n, Misordered: 1}},
		{"a line cut short", func(e [][]byte) [][]byte { e[3] = e[3][:len(e[3])-1]; return e }, Result{Received: n - 1, Lost: 1, Wrong: 1}},
		{"two lines glued", func(e [][]byte) [][]byte { e[3] = append(append(e[3], '\n'), e[4]...); return append(e[:4], e[5:]...) }, Result{Received: n - 2, Lost: 2, Wrong: 1}},
		{"a line that nobody wrote", func(e [][]byte) [][]byte { return append(e, text(n)) }, Result{Received: n, Wrong: 1}},
		{"nothing in foreign lines", func(e [][]byte) [][]byte { return append(e, []byte("hello")) }, Result{Received: n}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLedger()
			l.Expect("w", 'o')
			for i, text := range tt.spoil(all()) {
				l.Receive(text, begin.Add(time.Duration(i+2)*time.Second))
			}
			l.Wrote("w", 'o', n)
			began, quiet := time.Now(), 10*time.Millisecond
			if tt.want.Lost == 0 {
				quiet = time.Minute
			}
			l.Settle(t.Context(), quiet, time.Minute)
			if tt.want.Lost == 0 && time.Since(began) >= quiet {
				t.Error("Settle waited though nothing is missing")
			}
			got := l.Result(begin.Add(10 * time.Second))
			got.P50, got.P99, got.Max, got.CaughtUp = 0, 0, 0, 0
			tt.want.Written = n
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if wrong := tt.want.Lost+tt.want.Misordered+tt.want.Wrong > 0; wrong != (len(l.Problems()) > 0) {
				t.Errorf("problems: %q", l.Problems())
			}
		})
	}
}

func TestLedgerTimes(t *testing.T) {
	l := NewLedger()
	l.Expect("w", 'o')
	begin := time.Unix(1_800_000_000, 0)
	for n := range 100 { // one a second, delivered together after 60 s, the rest at once
		at := begin.Add(time.Duration(n) * time.Second)
		got := at
		if n < 60 {
			got = begin.Add(61 * time.Second)
		}
		l.Receive(script.Numbered{Writer: "w", Stream: 'o', N: n, At: at.UnixNano()}.Append(nil), got)
	}
	l.Wrote("w", 'o', 100)
	got := l.Result(begin.Add(59 * time.Second))
	want := Result{Written: 100, Received: 100, P50: 12 * time.Second, P99: 61 * time.Second, Max: 61 * time.Second, CaughtUp: 2 * time.Second}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
