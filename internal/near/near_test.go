package near

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"ack_timeout", "connect_timeout", "to", "tls", "dir", "max_bytes", "min_free", "when_full", "grace"}
	for word, want := range map[string]string{
		"ack_timeoutt": "ack_timeout", "ack-timeout": "ack_timeout", "AckTimeout": "ack_timeout", "timeout": "", "max_byte": "max_bytes", "maxbytes": "max_bytes",
		"ot": "to", "t": "to", "tsl": "tls", "foo": "", "x": "", "": "", "whenfull": "when_full", "GRACE": "grace", "directory": "",
	} {
		if got := Word(word, known); got != want {
			t.Errorf("Word(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("distance(%q, %q) = %d, and %d the other way, want %d", c.a, c.b, got, back, c.want)
		}
	}
}
