package script

import "testing"

func FuzzNumbered(f *testing.F) {
	f.Add("web", byte('o'), 99, int64(1), "x")
	f.Add("", byte('e'), -7, int64(-1), "w=a s=o n=1 at=2 ")
	f.Fuzz(func(t *testing.T, writer string, stream byte, n int, at int64, other string) {
		want := Numbered{writer, stream, n, at}
		for _, c := range want.Writer {
			if c == ' ' || c == 0xfffd {
				return
			}
		}
		if stream <= ' ' || stream > '~' {
			return
		}
		text := want.Append(nil)
		if got, ok := ParseNumbered(text); !ok || got != want {
			t.Errorf("%q: got %+v, %v", text, got, ok)
		}
		for _, spoilt := range []string{string(text) + "x", string(text[:len(text)-1]), "x" + string(text), other + string(text)} {
			if got, ok := ParseNumbered([]byte(spoilt)); ok && got == want && spoilt != string(text) {
				t.Errorf("%q passes for %+v", spoilt, want)
			}
		}
	})
}
