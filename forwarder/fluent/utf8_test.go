package fluent

import (
	"testing"
	"unicode/utf8"
)

// FuzzValid: valid is utf8.Valid, wherever in the text its words begin and end.
func FuzzValid(f *testing.F) {
	for _, s := range []string{"", "a", "abcdefgh", "Grüße, 31 bytes of text, a few more", "\xff", "seven b\xc3\xbc", "\xe2\x82", "eight by\xe2\x82"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, ascii uint8) {
		b := make([]byte, int(ascii), int(ascii)+len(text)+40)
		for i := range b {
			b[i] = 'x'
		}
		b = append(b, text...)
		for range 40 {
			if valid(b) != utf8.Valid(b) {
				t.Fatalf("%q: %v", b, valid(b))
			}
			b = append(b, 'y')
		}
	})
}
