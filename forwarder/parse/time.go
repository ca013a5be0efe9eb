package parse

import (
	"encoding/binary"
	"time"
)

// Time reads an RFC 3339 time with up to nine digits of fraction into Unix nanoseconds. UTC in the form Docker writes is read
// by hand; anything else by the time package.
func Time(b []byte) (int64, bool) {
	// 2026-11-21T09:37:50.4659264Z
	n := len(b)
	if n < 20 || b[n-1] != 'Z' || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return slowTime(b)
	}
	year, month, day := num(b[0:4]), num(b[5:7]), num(b[8:10])
	hour, minute, sec := num(b[11:13]), num(b[14:16]), num(b[17:19])
	if year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 || uint(hour) > 23 || uint(minute) > 59 || uint(sec) > 59 {
		return slowTime(b)
	}
	nanos := 0
	if frac := b[19 : n-1]; len(frac) > 0 {
		if frac[0] != '.' || len(frac) < 2 || len(frac) > 10 {
			return slowTime(b)
		}
		nanos = num(frac[1:])
		if nanos < 0 {
			return 0, false
		}
		for range 10 - len(frac) {
			nanos *= 10
		}
	}
	// Days since 1970 by counting years from March, so that the leap day is a year's last.
	y, m := year, month
	if m <= 2 {
		y--
		m += 12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + day - 719469
	return (int64(days)*86400+int64(hour*3600+minute*60+sec))*1e9 + int64(nanos), true
}

// second is a second in both spellings.
type second struct {
	text spelling
	unix int64 // nanoseconds
}

// spelling is 2026-11-21T09:37:50 as words, which are compared at once; the last two overlap.
type spelling [3]uint64

func spellingOf(b []byte) spelling {
	_ = b[18]
	return spelling{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[11:])}
}

// time reads a time as Time does, at less cost if it lies in the same second as the one before.
func (s *second) time(b []byte) (int64, bool) {
	if n := len(b); n > 21 && n <= 30 && b[n-1] == 'Z' && b[19] == '.' && spellingOf(b) == s.text {
		if nanos := num(b[20 : n-1]); nanos >= 0 {
			return s.unix + int64(nanos)*powers[30-n], true
		}
	}
	t, ok := Time(b)
	if ok && len(b) > 19 && b[len(b)-1] == 'Z' {
		s.text = spellingOf(b)
		s.unix = t - (t%1e9+1e9)%1e9
	}
	return t, ok
}

// powers of ten, for a fraction with so many digits less than nine.
var powers = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// num reads digits; -1 or less where there is another byte.
func num(b []byte) int {
	v := 0
	for _, c := range b {
		c -= '0'
		if c > 9 {
			return -1
		}
		v = v*10 + int(c)
	}
	return v
}

func slowTime(b []byte) (int64, bool) {
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return 0, false
	}
	return t.UnixNano(), true
}
