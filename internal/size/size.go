// Package size reads and writes byte counts the way configuration files spell them: 512MiB, 1GiB, 4096.
package size

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a count of bytes. In configuration it is a whole number with an optional unit of KiB, MiB, GiB or TiB.
type Bytes int64

// The units Bytes accepts.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

var units = []struct {
	name string
	n    Bytes
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// Parse reads "64MiB", "64 MiB" or "65536". It refuses fractions, negative numbers and other units.
func Parse(s string) (Bytes, error) {
	num, mul := strings.TrimSpace(s), Bytes(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(num, u.name); ok {
			num, mul = strings.TrimSpace(rest), u.n
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size: use a whole number of bytes, or one with KiB, MiB, GiB or TiB (as 512MiB)", s)
	}
	if n > int64(1<<63-1)/int64(mul) {
		return 0, fmt.Errorf("%q is too large for a size", s)
	}
	return Bytes(n) * mul, nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := Parse(string(text))
	if err != nil {
		return err
	}
	*b = n
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// String writes the count with the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && b%u.n == 0 {
			return strconv.FormatInt(int64(b/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}
