package size

import "testing"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Bytes
	}{
		{"0", 0}, {"4096", 4096}, {"1KiB", KiB}, {"64MiB", 64 * MiB}, {"64 MiB", 64 * MiB}, {" 2GiB ", 2 * GiB}, {"3TiB", 3 * TiB},
		{"9223372036854775807", 1<<63 - 1},
	} {
		got, err := Parse(c.text)
		if err != nil || got != c.want {
			t.Errorf("Parse(%q) = %d, %v, want %d", c.text, got, err, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "MiB", "1.5GiB", "-1", "-1MiB", "64MB", "64mib", "1e3", "0x10", "1_000", "9223372036854775808", "8388608TiB", "1 KiB KiB"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %d, want an error", text, got)
		}
	}
}

func TestStringIsParsed(t *testing.T) {
	for _, n := range []Bytes{0, 1, 1023, KiB, KiB + 1, 1536 * KiB, MiB, 3 * GiB, 5 * TiB, 1<<63 - 1} {
		got, err := Parse(n.String())
		if err != nil || got != n {
			t.Errorf("Parse(%q) = %d, %v, want %d", n.String(), got, err, n)
		}
	}
	if got := (512 * MiB).String(); got != "512MiB" {
		t.Errorf("String() = %q, want 512MiB", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("64MiB")
	f.Add("-1 TiB")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(n.String()); n < 0 || err != nil || again != n {
			t.Errorf("Parse(%q) = %d, written %q, read again %d, %v", text, n, n.String(), again, err)
		}
	})
}
